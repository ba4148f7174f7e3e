// What all sections share. Text from posts and files is only ever set as textContent.
import { language } from "../language.js";
import { t } from "./texts.js";

export const byId = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const button = (text, action, className = "") => {
  const made = element("button", { type: "button", textContent: text, className });
  made.addEventListener("click", action);
  return made;
};

export async function request(path, body, method) {
  const options = { method: method ?? (body === undefined ? "GET" : "POST") };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(t("no_server"));
  }
  return read_answer(response.status, await response.text());
}

export function read_answer(status, text) {
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch { /* a plain text */ }
  if (status === 200) return answer;
  const detail = typeof answer?.detail === "string" ? answer.detail : null;
  throw new Error(detail ? `${detail[0].toUpperCase()}${detail.slice(1)}.` : t("refused", { status }));
}

export function show_error(error) {
  const box = byId("message");
  box.hidden = !error;
  box.replaceChildren();
  if (!error) return;
  box.append(error.message ?? String(error), " ", button(t("close"), () => show_error(null)));
  box.scrollIntoView({ block: "nearest" });
}

// Runs an action of the user: its errors are shown, and those from before are removed.
export const guarded = (action) => async (...given) => {
  show_error(null);
  try {
    return await action(...given);
  } catch (error) {
    show_error(error);
    return undefined;
  }
};

export const say = (text) => { byId("status").textContent = text; };

const whole = new Intl.NumberFormat(language);
export const count_text = (n) => whole.format(n);
export const score_text = (x) => (x === null || x === undefined ? "–" : x.toFixed(1));
export const percent_text = (share) => `${share < 0.0995 && share > 0 ? (100 * share).toFixed(1) : Math.round(100 * share)}%`;

// A labelled control; the label is the first child.
export function labelled(text, control, hint) {
  const id = control.id || `c${Math.random().toString(36).slice(2)}`;
  control.id = id;
  const box = element("div", { className: "field" }, element("label", { htmlFor: id, textContent: text }), control);
  if (hint) {
    box.append(element("p", { className: "hint", id: `${id}-hint`, textContent: hint }));
    control.setAttribute("aria-describedby", `${id}-hint`);
  }
  return box;
}

export function list_of(texts) {
  return element("ul", {}, ...texts.map((text) => element("li", { textContent: text })));
}

export async function download(corpus, body) {
  const path = body ? `/api/corpora/${corpus}/exports` : `/api/corpora/${corpus}/rejects/exports`;
  const file = await request(path, body ?? {});
  const link = element("a", { href: file.address, download: file.name });
  document.body.append(link);
  link.click();
  link.remove();
  say(t("exported", { n: count_text(file.rows), name: file.name }));
}

export function drop_zone(zone, take) {
  const mark = (is_over) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", is_over);
  };
  zone.addEventListener("dragover", mark(true));
  zone.addEventListener("dragleave", mark(false));
  zone.addEventListener("drop", (event) => {
    mark(false)(event);
    take([...event.dataTransfer.files]);
  });
}
