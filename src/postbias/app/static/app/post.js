// One post in full, in a dialog.
import { button, element, guarded, request, score_text } from "./page.js";
import { explain_button } from "./explanation.js";
import { score_block } from "./scores.js";
import { date_text } from "../language.js";
import { TEXTS, reason_text, t } from "./texts.js";

// `state` is that of the list: the dialog walks through it.
export async function open_post(state, index, load_more) {
  const opener = document.activeElement;
  const dialog = element("dialog", { className: "detail" });
  dialog.setAttribute("aria-labelledby", "detail-title");
  const show = async (i) => {
    if (i >= state.posts.length && state.posts.length < state.total) await load_more();
    if (i < 0 || i >= state.posts.length) return;
    const post = await request(`/api/corpora/${state.corpus}/posts/${state.posts[i].row}`);
    dialog.replaceChildren(...content(state, post, i, guarded(show), () => dialog.close()));
    dialog.querySelector("h2").focus();
  };
  dialog.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      dialog.querySelector(steps[event.key] < 0 ? ".previous" : ".next").click();
    }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { dialog.remove(); opener?.focus(); });
  document.body.append(dialog);
  dialog.showModal();
  await show(index);
}

function content(state, post, i, show, close) {
  const previous = button(t("previous"), () => show(i - 1), "previous");
  const next = button(t("next"), () => show(i + 1), "next");
  previous.disabled = i === 0;
  next.disabled = i + 1 >= state.total;
  const title = element("h2", { id: "detail-title", tabIndex: -1, textContent: t("post_title", { id: post.post_id }) });
  const addresses = Array.from({ length: post.images }, (_, n) => `/api/corpora/${state.corpus}/posts/${post.row}/images/${n}?size=large`);
  const images = addresses.map((src, n) => {
    const image = element("img", { src, alt: t("image_n", { n: n + 1 }) });
    image.addEventListener("error", () => image.replaceWith(element("p", { className: "no-image", textContent: t("broken_image") })));
    return image;
  });
  const { student } = state;
  const blocks = post.scores[state.options.axes[0]][0] === null
    ? [element("p", { className: "no-answer" }, element("strong", { textContent: t("no_answer") })), element("p", { textContent: t("no_answer_why", { reason: reason_text(post.status) }) })]
    : state.options.axes.map((name, n) => {
      const axis = student.axes.find((each) => each.name === name) ?? { name, low: 0, high: 10 };
      return score_block({ ...axis, name }, post.scores[name], n ? {} : { limits: student.band_limits, band: post.band });
    });
  if (post.status === "ok") blocks.push(explain_button(`/api/corpora/${state.corpus}/posts/${post.row}/explanation`, {}, addresses));
  const facts = [[t("posted"), post.posted ? date_text(post.posted) : t("unknown")], [t("author"), post.author], [t("sponsored"), TEXTS.sponsorship[post.sponsored]],
    [t("modalities"), post.modalities ? TEXTS.modality[post.modalities] : "–"]];
  if (post.label !== null) facts.push([t("label"), score_text(post.label)]);
  return [
    element("div", { className: "row detail-bar" }, title, element("span", { className: "row" }, previous, next, button(t("close"), close))),
    element("div", { className: "columns" },
      element("div", {}, element("div", { className: "images" }, ...images),
        element("p", { className: `full-caption${post.caption ? "" : " quiet"}`, dir: "auto", textContent: post.caption || t("no_caption") })),
      element("div", {}, ...blocks,
        element("dl", { className: "about-post" }, ...facts.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })])))),
  ];
}
