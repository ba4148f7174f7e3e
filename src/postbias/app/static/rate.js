// The rating page. Text from posts is only ever set as textContent.
import { _, fill } from "./language.js";

const byId = (id) => document.getElementById(id);
const KEYS_OF_DIGITS = "0123456789-"; // the key after 9 stands for 10
const KEYS = "1234567890qwertyuiopasdfghjklzxcvbnm";

const state = {
  rater: null, rubric: null, task: null, scores: {}, axis: 0, isBusy: false, visibleMs: 0, since: null,
};

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const nonce = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(_("The server does not answer. Start `postbias rate` again; your answers so far are stored."));
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const detail = typeof answer.detail === "string" ? answer.detail : fill(_("The server refused the request (status {status})."), { status: response.status });
    throw new Error(detail);
  }
  return answer;
}

// One request at a time. One that failed is sent again as it was: its nonce keeps it from counting twice.
async function send(path, body) {
  if (state.isBusy) return;
  state.isBusy = true;
  document.body.classList.add("busy");
  try {
    const progress = await request(path, { rater: state.rater, ...body });
    show_message("");
    show(progress);
  } catch (error) {
    show_message(error.message, () => send(path, body));
  } finally {
    state.isBusy = false;
    document.body.classList.remove("busy");
  }
}

function show_message(text, retry) {
  const box = byId("message");
  box.hidden = !text;
  box.textContent = text;
  if (retry) {
    const button = element("button", { type: "button", textContent: _("Try again") });
    button.addEventListener("click", retry);
    box.append(" ", button);
  }
}

function show(progress) {
  state.task = progress.task;
  state.scores = {};
  state.axis = 0;
  byId("progress-box").hidden = false;
  byId("progress").max = Math.max(1, progress.total);
  byId("progress").value = progress.done;
  byId("progress-text").textContent = fill(_("{done} of {total}"), progress);
  for (const id of ["start", "rate", "end"]) byId(id).hidden = true;
  if (!progress.task) {
    byId("end").hidden = false;
    byId("undo-last").disabled = !progress.done;
    byId("status").textContent = _("All posts are rated.");
    return;
  }
  byId("rate").hidden = false;
  byId("undo").disabled = !progress.done;
  close_skip_menu();
  show_post(progress.task);
  show_axes();
  byId("status").textContent = fill(_("Post {n} of {total}"), { n: progress.done + 1, total: progress.total });
  byId("post").focus({ preventScroll: true });
  byId("post").scrollTop = 0;
  window.scrollTo(0, 0);
  state.visibleMs = 0;
  state.since = document.hidden ? null : performance.now();
}

function show_post(task) {
  const total = task.images.length;
  byId("images").replaceChildren(...task.images.map((isReadable, i) => {
    const label = total > 1 ? fill(_("Image {n} of {total}"), { n: i + 1, total }) : _("Image of the post");
    if (!isReadable) {
      return element("p", { className: "broken", textContent: fill(_("{image} cannot be shown."), { image: label }) });
    }
    const figure = element("figure", {}, element("img", {
      src: `/images/${task.post}/${i}`, alt: label, decoding: "async",
    }));
    if (total > 1) figure.append(element("figcaption", { textContent: label }));
    return figure;
  }));
  byId("caption").textContent = task.caption || _("(no caption)");
  byId("caption").classList.toggle("empty", !task.caption);
}

function key_of(points, i) {
  const areDigits = points.every((p) => Number.isInteger(p) && p >= 0 && p <= 10);
  return areDigits ? KEYS_OF_DIGITS[points[i]] : KEYS[i];
}

function show_axes() {
  byId("axes").replaceChildren(...state.rubric.axes.map((axis, number) => {
    const anchors = new Map(axis.anchors.map((anchor) => [anchor.score, anchor]));
    const scale = element("div", { className: "scale", role: "radiogroup" });
    scale.setAttribute("aria-label", fill(_("Score of {axis}"), { axis: axis.name }));
    axis.points.forEach((point, i) => {
      const anchor = anchors.get(point);
      const key = key_of(axis.points, i);
      const button = element("button", { type: "button", className: "score" },
        element("span", { className: "point", textContent: point }),
        element("span", { className: "meaning", textContent: anchor ? anchor.meaning : "" }));
      if (key !== undefined && key !== String(point)) {
        button.firstChild.append(element("kbd", { textContent: key }));
      }
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", "false");
      button.dataset.point = point;
      button.addEventListener("click", () => choose(number, point));
      scale.append(button);
    });
    const list = element("dl");
    for (const anchor of axis.anchors) {
      list.append(element("dt", { textContent: anchor.score }));
      for (const example of anchor.examples) list.append(element("dd", { textContent: example }));
    }
    const details = element("details", {}, element("summary", { textContent: _("Examples") }), list);
    details.open = state.areExamplesOpen === true;
    details.addEventListener("toggle", () => { state.areExamplesOpen = details.open; });
    const box = element("section", { className: "axis" },
      element("h2", { textContent: axis.name }),
      element("p", { className: "asked", textContent: axis.question }), scale, details);
    box.dataset.axis = axis.name;
    return box;
  }));
  focus_axis();
}

function focus_axis() {
  [...byId("axes").children].forEach((box, i) => box.classList.toggle("current", i === state.axis));
  if (state.axis > 0) {
    const box = byId("axes").children[state.axis];
    box.scrollIntoView({ block: "nearest" });
    byId("status").textContent = fill(_("Now {axis}"), { axis: state.rubric.axes[state.axis].name });
  }
}

function choose(number, point) {
  if (state.isBusy) return;
  const axes = state.rubric.axes;
  state.scores[axes[number].name] = point;
  for (const button of byId("axes").children[number].querySelectorAll(".score")) {
    button.setAttribute("aria-checked", String(Number(button.dataset.point) === point));
  }
  const open = axes.findIndex((axis) => !(axis.name in state.scores));
  if (open === -1) return answer("rated");
  state.axis = open;
  focus_axis();
}

function answer(outcome, note = "") {
  const { post, occasion } = state.task;
  const ms = state.visibleMs + (state.since === null ? 0 : performance.now() - state.since);
  const scores = outcome === "rated" ? state.scores : {};
  return send("/api/answers", { nonce: nonce(), post, occasion, outcome, scores, note, seconds: ms / 1000 });
}

const undo = () => send("/api/undo", { nonce: nonce() });

function open_skip_menu() {
  byId("skip-menu").hidden = false;
  byId("skip").setAttribute("aria-expanded", "true");
  byId("skip-menu").querySelector("button").focus();
}

function close_skip_menu() {
  byId("skip-menu").hidden = true;
  byId("skip").setAttribute("aria-expanded", "false");
}

function on_key(event) {
  if (byId("rate").hidden || event.ctrlKey || event.altKey || event.metaKey || state.isBusy) return;
  const menu = byId("skip-menu");
  const act = (action) => { event.preventDefault(); action(); };
  if (!menu.hidden) {
    const reason = menu.querySelectorAll("button")[Number(event.key) - 1];
    if (reason) return act(() => reason.click());
    if (event.key === "Escape") return act(() => { close_skip_menu(); byId("skip").focus(); });
    return;
  }
  if (event.key === "Backspace" && !byId("undo").disabled) return act(undo);
  if (event.key === "?") return act(() => answer("cannot_tell"));
  if (event.key === ".") return act(open_skip_menu);
  const points = state.rubric.axes[state.axis].points;
  const chosen = points.findIndex((_, i) => key_of(points, i) === event.key.toLowerCase());
  if (chosen !== -1) act(() => choose(state.axis, points[chosen]));
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && state.since !== null) {
    state.visibleMs += performance.now() - state.since;
    state.since = null;
  } else if (!document.hidden && state.since === null) {
    state.since = performance.now();
  }
});
document.addEventListener("keydown", on_key);
byId("undo").addEventListener("click", undo);
byId("undo-last").addEventListener("click", undo);
byId("cannot-tell").addEventListener("click", () => answer("cannot_tell"));
byId("skip").addEventListener("click", () => (byId("skip-menu").hidden ? open_skip_menu() : close_skip_menu()));
byId("skip-menu").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) answer("skipped", button.dataset.reason);
});
byId("start-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  state.rater = byId("rater").value.trim();
  try {
    state.rubric ??= await request("/api/rubric");
  } catch (error) {
    return show_message(error.message);
  }
  localStorage.setItem("postbias-rater", state.rater);
  await send("/api/session", {});
});
byId("rater").value = localStorage.getItem("postbias-rater") ?? "";
byId("rater").focus();
