// The report, the runs in MLflow, and the rating page.
import { button, element, guarded, request } from "./page.js";
import { meaning } from "./try.js";
import { t } from "./texts.js";

export function build_more(view, student) {
  view.append(element("h1", { textContent: t("more_title") }), element("div", { className: "cards", id: "more-cards" }), meaning(student));
}

export async function show_more() {
  const pages = await request("/api/pages");
  const host = location.hostname;
  const link = (text, href) => element("a", { className: "button primary", href, target: "_blank", rel: "noopener", textContent: text });
  const hint = (text) => element("p", { className: "hint", textContent: text });
  const card = (name, is_open, href) => element("section", { className: "card" },
    element("h2", { textContent: t(`${name}_title`) }), element("p", { textContent: t(`${name}_text`) }),
    is_open ? link(t(`${name}_open`), href) : hint(pages.is_repository ? t(`${name}_none`) : t("no_repository")));
  const rating = card("rating", pages.rating.is_open, `http://${host}:${pages.rating.port}/`);
  if (!pages.rating.is_open && pages.can_start_rating) rating.lastChild.replaceWith(start_rating());
  document.getElementById("more-cards").replaceChildren(
    card("report", pages.has_report, "/report"),
    card("runs", pages.runs.is_open, `http://${host}:${pages.runs.port}${pages.runs.path}`),
    rating);
}

function start_rating() {
  const start = button(t("rating_start"), guarded(async () => {
    start.disabled = true;
    start.textContent = t("rating_starting");
    try {
      await request("/api/pages/rating", {});
    } finally {
      await show_more();
    }
  }));
  start.id = "start-rating";
  return start;
}
