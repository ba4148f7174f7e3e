// Explore a scored corpus: filters, a summary, cards of posts, one post in full, and exports.
import { build_filters, read_filter, show_topics } from "./filters.js";
import { button, byId, count_text, download, element, guarded, labelled, request, say, score_text } from "./page.js";
import { open_post } from "./post.js";
import { band_chip, scale_bar } from "./scores.js";
import { TEXTS, t } from "./texts.js";

const PAGE_POSTS = 60;
const DEBOUNCE_MS = 250;
const TOPICS_MS = 1500;
const state = { student: null, corpus: null, options: null, posts: [], total: 0, query: 0, timer: 0 };

export function build_explore(view, student) {
  state.student = student;
  view.append(element("h1", { textContent: t("explore_title") }), element("div", { id: "explore-body" }));
}

export async function show_explore(wanted) {
  const corpora = await request("/api/corpora");
  const body = byId("explore-body");
  if (!corpora.length) {
    body.replaceChildren(element("p", { className: "card", textContent: t("explore_none") }));
    state.corpus = null;
    return;
  }
  const ids = corpora.map((corpus) => corpus.id);
  const chosen = ids.includes(wanted) ? wanted : (ids.includes(state.corpus) ? state.corpus : ids[0]);
  if (chosen === state.corpus && byId("corpus")?.options.length === corpora.length) return;
  state.corpus = chosen;
  body.replaceChildren(element("p", { className: "quiet", textContent: t("opening") }));
  say(t("opening"));
  state.options = await request(`/api/corpora/${chosen}`);
  body.replaceChildren(...layout(corpora));
  await refresh();
  await watch_topics(chosen);
}

function layout(corpora) {
  const corpus = element("select", { id: "corpus" }, ...corpora.map(({ id, name }) => element("option", { value: id, textContent: name })));
  corpus.value = state.corpus;
  corpus.addEventListener("change", () => { location.hash = `#explore/${corpus.value}`; });
  const orders = Object.entries(TEXTS.order).filter(([key]) =>
    (state.options.labels || !key.startsWith("disagreement")) && (state.options.period || !key.startsWith("date"))
    && (state.options.has_intervals || !key.startsWith("uncertainty")));
  const sort = element("select", { id: "sort" }, ...orders.map(([value, textContent]) => element("option", { value, textContent })));
  sort.addEventListener("change", guarded(() => refresh()));
  const exports = ["csv", "xlsx", "parquet"].map((format) => {
    const made = button(format.toUpperCase(), guarded(() => download(state.corpus, { ...read_query(), format })));
    made.id = `export-${format}`;
    return made;
  });
  const views = element("div", { className: "row views", role: "group", "aria-label": t("views") }, ...["grid", "list"].map((name) => {
    const made = button(t(`view_${name}`), () => show_view(name));
    made.dataset.view = name;
    return made;
  }));
  const filters = build_filters(state.options, () => {
    clearTimeout(state.timer);
    state.timer = setTimeout(guarded(() => refresh()), DEBOUNCE_MS);
  });
  const more = button(t("show_more"), guarded(() => load_more()));
  more.id = "show-more";
  queueMicrotask(() => show_view(matchMedia("(max-width: 40rem)").matches ? "list" : "grid"));
  return [element("div", { className: "explore" },
    filters,
    element("div", { className: "found" },
      element("div", { className: "row bar" }, labelled(t("corpus"), corpus), labelled(t("sort"), sort), views),
      element("section", { className: "card summary", id: "summary" }),
      element("div", { className: "row exports", role: "group", "aria-label": t("export") }, element("span", { textContent: t("export") }), ...exports),
      element("ul", { id: "posts", className: "posts" }), more))];
}

function show_view(name) {
  byId("posts")?.classList.toggle("as-list", name === "list");
  for (const each of document.querySelectorAll("[data-view]")) each.setAttribute("aria-pressed", String(each.dataset.view === name));
}

function read_query() {
  const [by, descending] = byId("sort").value.split(":");
  return { filter: read_filter(), order: { by, descending: descending === "true" } };
}

async function refresh() {
  const number = ++state.query;
  byId("posts").setAttribute("aria-busy", "true");
  const found = await request(`/api/corpora/${state.corpus}/selection`, { ...read_query(), offset: 0, limit: PAGE_POSTS });
  if (number !== state.query) return; // a later answer is already shown
  state.posts = found.posts;
  state.total = found.summary.posts;
  byId("posts").removeAttribute("aria-busy");
  byId("posts").replaceChildren(...(found.posts.length ? found.posts.map(card) : [element("li", { className: "quiet", textContent: t("nothing") })]));
  show_summary(found.summary);
  show_rest();
}

async function load_more() {
  const number = state.query;
  const found = await request(`/api/corpora/${state.corpus}/selection`, { ...read_query(), offset: state.posts.length, limit: PAGE_POSTS });
  if (number !== state.query) return;
  const first = state.posts.length;
  state.posts.push(...found.posts);
  byId("posts").append(...found.posts.map((post, i) => card(post, first + i)));
  byId("posts").children[first]?.querySelector("button")?.focus();
  show_rest();
}

function show_rest() {
  byId("show-more").hidden = state.posts.length >= state.total;
  for (const each of document.querySelectorAll(".exports button")) each.disabled = !state.total;
}

function show_summary({ posts, axis, mean, bands, histogram }) {
  const text = t("selected", { n: count_text(posts), total: count_text(state.options.posts) });
  const { low, high, counts } = histogram;
  const most = Math.max(1, ...counts);
  const chart = element("div", { className: "histogram", role: "img", "aria-label": t("histogram_label", { low, high }) },
    ...counts.map((n) => { const bar = element("i"); bar.style.height = `${(100 * n) / most}%`; return bar; }));
  const is_main = axis === state.options.axes[0];
  byId("summary").replaceChildren(
    element("div", {}, element("p", { className: "total", id: "selected", textContent: text }),
      mean === null ? null : element("p", { className: "quiet", textContent: t("pair", { name: axis, value: t("selected_mean", { mean: score_text(mean) }) }) }),
      is_main ? element("p", { className: "bands" }, ...Object.entries(bands).map(([band, n]) =>
        element("span", {}, band_chip(band), ` ${count_text(n)} `))) : null),
    element("div", {}, chart, element("p", { className: "ends quiet", "aria-hidden": "true" },
      element("span", { textContent: low }), element("span", { textContent: high }))),
    element("p", { className: "hint", textContent: t("raw_mean") }));
  say(text);
}

function card(post, i) {
  const axis = state.student.axes.find(({ name }) => name === state.options.axes[0]) ?? { low: 0, high: 10 };
  const numbers = post.scores[state.options.axes[0]];
  const made = element("button", { type: "button", className: "post", "aria-label": t("open_post", { id: post.post_id }) });
  made.addEventListener("click", guarded(() => open_post(state, i, load_more)));
  if (post.n_images) {
    const image = element("img", { src: `/api/corpora/${state.corpus}/posts/${post.row}/images/0`, alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(element("span", { className: "no-image" })));
    made.append(image);
  } else {
    made.append(element("span", { className: "no-image", textContent: "Aa", "aria-hidden": "true" }));
  }
  const has_score = numbers[0] !== null;
  made.append(element("span", { className: "about" },
    element("span", { className: "line" }, element("strong", { textContent: has_score ? score_text(numbers[0]) : "–" }), band_chip(post.band),
      has_score && numbers[1] !== null ? element("span", { className: "quiet", textContent: t("interval_short", { lo: score_text(numbers[1]), hi: score_text(numbers[2]) }) }) : null),
    has_score ? scale_bar(axis, numbers) : null,
    element("span", { className: "caption", dir: "auto", textContent: post.caption || t("no_caption") })));
  return element("li", {}, made);
}

async function watch_topics(corpus) {
  if (state.corpus !== corpus) return;
  const topics = await request(`/api/corpora/${corpus}/topics`);
  if (state.corpus !== corpus) return;
  show_topics(topics);
  if (topics.state === "running") setTimeout(guarded(() => watch_topics(corpus)), TOPICS_MS);
}
