// The filters of a corpus.
import { button, byId, count_text, element, labelled } from "./page.js";
import { language } from "../language.js";
import { TEXTS, t } from "./texts.js";

const names = new Intl.DisplayNames([language], { type: "language" });
let changed = () => {};

export function build_filters(options, on_change) {
  changed = on_change;
  const number = (id, text) => labelled(text, element("input", { type: "number", step: "0.1", id, inputMode: "decimal" }));
  const month = (id, text) => labelled(text, element("input", { type: "month", id, min: options.period?.[0] ?? "", max: options.period?.[1] ?? "", pattern: "\\d{4}-\\d{2}" }));
  const axis = element("select", { id: "f-axis" }, ...options.axes.map((value) => element("option", { value, textContent: value })));
  const status = element("select", { id: "f-status" }, ...Object.entries(TEXTS.status_choice).map(([value, textContent]) => element("option", { value, textContent })));
  const form = element("form", { id: "filters" },
    labelled(t("search_text"), element("input", { type: "search", id: "f-text", maxLength: 200 })),
    group(t("score_of"), options.axes.length > 1 ? labelled(t("axis"), axis) : axis_only(axis),
      element("div", { className: "pair" }, number("f-min", t("from")), number("f-max", t("to")))),
    checkboxes("bands", t("bands"), options.bands, TEXTS.band),
    checkboxes("sponsored", t("sponsored"), options.sponsored, TEXTS.sponsorship),
    options.period ? group(t("months"), element("div", { className: "pair" }, month("f-first", t("from")), month("f-last", t("to")))) : null,
    element("div", { id: "topics" }),
    options.has_intervals ? group(t("uncertainty"), element("div", { className: "pair" }, number("f-min-width", t("from")), number("f-max-width", t("to")))) : null,
    options.labels ? number("f-disagreement", t("disagreement")) : null,
    checkboxes("modalities", t("modalities"), options.modalities, TEXTS.modality),
    labelled(t("status_filter"), status),
    button(t("clear_filters"), () => { form.reset(); changed(); }));
  form.addEventListener("input", () => changed());
  form.addEventListener("submit", (event) => event.preventDefault());
  const box = element("details", { className: "card filters" }, element("summary", { textContent: t("filters") }), form);
  box.open = !matchMedia("(max-width: 62rem)").matches;
  return box;
}

const axis_only = (axis) => { axis.hidden = true; return axis; };

function group(title, ...content) {
  return element("fieldset", {}, element("legend", { textContent: title }), ...content);
}

// Only what occurs; one kind alone is no choice.
function checkboxes(name, title, counts, texts) {
  const kinds = Object.entries(counts).filter(([, n]) => n > 0);
  if (kinds.length < 2) return null;
  return group(title, element("div", { className: "checks" }, ...kinds.map(([value, n]) =>
    element("label", { className: "check" }, element("input", { type: "checkbox", name, value }),
      element("span", { textContent: typeof texts === "function" ? texts(value) : texts[value] ?? value }),
      element("span", { className: "quiet", textContent: count_text(n) })))));
}

function language_name(code) {
  if (code === "unknown") return t("unknown_language");
  try {
    return names.of(code) ?? code;
  } catch {
    return code;
  }
}

export function show_topics(topics) {
  const box = byId("topics");
  if (!box) return;
  if (topics.state === "running") {
    box.replaceChildren(element("p", { className: "hint", textContent: t("languages_wait", { done: count_text(topics.done), total: count_text(topics.total) }) }));
  } else if (topics.state === "failed") {
    box.replaceChildren(element("p", { className: "hint", textContent: t("languages_failed", { message: topics.message }) }));
  } else {
    const brands = Object.keys(topics.brands).length > 1 ? checkboxes("brands", t("brands"), topics.brands, (name) => name)
      : group(t("brands"), element("p", { className: "hint", textContent: t("no_brands") }));
    box.replaceChildren(...[checkboxes("languages", t("languages"), topics.languages, language_name), brands].filter(Boolean));
  }
}

export function read_filter() {
  const filter = { axis: byId("f-axis").value, status: byId("f-status").value, text: byId("f-text").value };
  const numbers = { min_score: "f-min", max_score: "f-max", min_width: "f-min-width", max_width: "f-max-width", min_disagreement: "f-disagreement" };
  for (const [key, id] of Object.entries(numbers)) {
    const value = byId(id)?.valueAsNumber;
    if (Number.isFinite(value)) filter[key] = value;
  }
  for (const [key, id] of Object.entries({ first_month: "f-first", last_month: "f-last" })) {
    const value = byId(id)?.value ?? "";
    if (/^\d{4}-(0[1-9]|1[0-2])$/.test(value)) filter[key] = value;
  }
  for (const key of ["bands", "sponsored", "modalities", "languages", "brands"]) {
    filter[key] = [...byId("filters").querySelectorAll(`input[name=${key}]:checked`)].map((box) => box.value);
  }
  return filter;
}

