// What moved a score: marked words, framed image regions, shares, and similar labelled posts.
import { button, element, guarded, request, say } from "./page.js";
import { TEXTS, t } from "./texts.js";

const MAX_REGIONS = 3;
const points = (x) => `${x > 0 ? "+" : x < 0 ? "−" : ""}${Math.abs(x).toFixed(1)}`;

// `images` are files or addresses that a browser can show, or null in their places.
export function explain_button(path, post, images) {
  const box = element("div", { className: "explanation" });
  const start = button(t("explain"), guarded(async () => {
    start.disabled = true;
    start.textContent = t("explaining");
    try {
      const found = await request(path, post);
      box.replaceChildren(...content(found, images));
      say(t("explain_title"));
      box.querySelector("h3").focus();
    } finally {
      start.disabled = false;
      start.textContent = t("explain");
    }
  }));
  start.className = "explain";
  box.append(start);
  return box;
}

function content(found, images) {
  const parts = [element("h3", { textContent: t("explain_title"), tabIndex: -1 }),
    element("p", { className: "hint", textContent: t("explain_how", { axis: found.axis }) })];
  if (found.words.length) parts.push(element("h4", { textContent: t("explain_words") }), marked_text(found));
  const regions = strongest(found.regions);
  if (regions.length) parts.push(element("h4", { textContent: t("explain_regions") }), ...framed(regions, images));
  if (!found.words.length && !regions.length) parts.push(element("p", { textContent: t("explain_empty") }));
  if (found.shares) {
    parts.push(element("h4", { textContent: t("explain_shares") }), element("dl", { className: "about-post" },
      ...Object.entries(found.shares).flatMap(([name, value]) => [
        element("dt", { textContent: TEXTS.share[name] }), element("dd", { textContent: name === "baseline" ? value.toFixed(1) : points(value) })])));
  }
  if (found.nearest.length) parts.push(element("h4", { textContent: t("explain_nearest") }), element("ul", {}, ...found.nearest.map(nearest)));
  return [...parts, ...found.notes.map((note) => element("p", { className: "hint", textContent: note }))];
}

function nearest(post) {
  const labels = Object.entries(post.labels).map(([axis, value]) => `${axis} ${value.toFixed(1)}`).join(", ");
  return element("li", { dir: "auto", textContent: t("similar", { similarity: post.similarity.toFixed(2), labels, reason: post.reason }) });
}

// The text, with words that move the score marked; positions count characters, as in Python.
function marked_text({ text, words }) {
  const characters = [...text];
  const most = Math.max(...words.map((word) => Math.abs(word.contribution)), 0.5);
  const box = element("p", { className: "full-caption", dir: "auto" });
  let at = 0;
  for (const word of words) {
    box.append(characters.slice(at, word.start).join(""));
    const part = characters.slice(word.start, word.end).join("");
    if (Math.abs(word.contribution) >= 0.05) {
      const mark = element("mark", { className: word.contribution > 0 ? "raises" : "lowers" }, part,
        element("sup", { dir: "ltr", textContent: points(word.contribution) }));
      mark.style.setProperty("--strength", `${Math.round((60 * Math.abs(word.contribution)) / most)}%`);
      box.append(mark);
    } else {
      box.append(part);
    }
    at = word.end;
  }
  box.append(characters.slice(at).join(""));
  return box;
}

const strongest = (regions) => regions.filter((region) => Math.abs(region.contribution) >= 0.05)
  .sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution)).slice(0, MAX_REGIONS);

function framed(regions, images) {
  return [...new Set(regions.map((region) => region.image))].map((number) => {
    const own = regions.filter((region) => region.image === number);
    const figure = element("figure", { className: "framed" });
    const given = images[number];
    if (given) {
      const src = typeof given === "string" ? given : URL.createObjectURL(given);
      const image = element("img", { src, alt: t("image_n", { n: number + 1 }) });
      if (src !== given) image.addEventListener("load", () => URL.revokeObjectURL(src));
      figure.append(element("div", { className: "frame" }, image, ...own.map(frame)));
    }
    figure.append(element("figcaption", { className: "hint", textContent:
      t("region_of", { points: own.map((region) => points(region.contribution)).join(", "), n: number + 1 }) }));
    return figure;
  });
}

function frame(region) {
  const box = element("i", { className: region.contribution > 0 ? "raises" : "lowers", "aria-hidden": "true" }, points(region.contribution));
  const share = (x) => `${100 * x}%`;
  Object.assign(box.style, { left: share(region.left), top: share(region.top), width: share(region.right - region.left), height: share(region.bottom - region.top) });
  return box;
}
