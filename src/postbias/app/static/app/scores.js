// Draws scores: a number, its band, and the interval on the scale.
import { element, score_text } from "./page.js";
import { TEXTS, t } from "./texts.js";

export function band_chip(band) {
  const text = band ? TEXTS.band[band] : t("no_score");
  return element("span", { className: `band ${band ?? "none"}`, textContent: text });
}

function place(part, start, end) {
  part.style.left = `${start}%`;
  if (end !== undefined) part.style.width = `${Math.max(0.5, end - start)}%`;
  return part;
}

// The interval as a line and the score as a dot on the whole scale; decoration beside the numbers.
export function scale_bar(axis, [value, lo, hi], limits = []) {
  const at = (x) => Math.min(100, Math.max(0, (100 * (x - axis.low)) / (axis.high - axis.low)));
  const bar = element("div", { className: "scale-bar", "aria-hidden": "true" });
  for (const limit of limits) bar.append(place(element("i", { className: "limit" }), at(limit)));
  if (lo !== null && hi !== null) bar.append(place(element("i", { className: "interval" }), at(lo), at(hi)));
  bar.append(place(element("i", { className: "dot" }), at(value)));
  return bar;
}

export function score_block(axis, numbers, { limits = [], band = null, question = null } = {}) {
  const [value, lo, hi] = numbers;
  const has_interval = lo !== null && lo !== undefined;
  const interval = has_interval ? t("interval", { lo: score_text(lo), hi: score_text(hi) }) : t("no_interval");
  const block = element("div", { className: `score-block ${band ?? ""}` },
    element("h3", { textContent: axis.name }),
    element("p", { className: "number" }, element("strong", { textContent: score_text(value) }),
      element("span", { className: "quiet", textContent: ` / ${axis.high} ` }), band ? band_chip(band) : null),
    scale_bar(axis, numbers, limits),
    element("p", { className: "ends quiet", "aria-hidden": "true" },
      element("span", { textContent: axis.low }), element("span", { textContent: axis.high })),
    element("p", { className: "quiet", textContent: interval }));
  if (question) block.append(element("p", { className: "asked", textContent: question }));
  return block;
}
