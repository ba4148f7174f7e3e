// Try a post: a caption and images, the score, and what it means.
import { button, byId, count_text, drop_zone, element, guarded, labelled, list_of, request, say, score_text } from "./page.js";
import { score_block } from "./scores.js";
import { explain_button } from "./explanation.js";
import { TEXTS, reason_text, t } from "./texts.js";

const MAX_IMAGES = 10;
const SHOWN = /^image\/(jpeg|png|webp|gif|bmp|avif)$/;
const state = { images: [], student: null };

export function build_try(view, student) {
  state.student = student;
  const caption = element("textarea", { id: "try-caption", rows: 5, maxLength: 20000, dir: "auto" });
  const input = element("input", { type: "file", accept: "image/*", multiple: true, id: "try-files", className: "visually-hidden" });
  const camera = element("input", { type: "file", accept: "image/*", capture: "environment", id: "try-camera", className: "visually-hidden" });
  for (const each of [input, camera]) {
    each.tabIndex = -1;
    each.setAttribute("aria-hidden", "true");
    each.addEventListener("change", () => { add_images([...each.files]); each.value = ""; });
  }
  const zone = element("div", { className: "drop", id: "try-drop" },
    element("p", { textContent: t("drop_images") }),
    element("div", { className: "row" },
      button(t("choose_images"), () => input.click()),
      button(t("take_photo"), () => camera.click(), "touch-only")),
    input, camera, element("ul", { id: "try-images", className: "thumbs" }));
  drop_zone(zone, add_images);
  const form = element("form", { id: "try-form" },
    labelled(t("caption"), caption, t("caption_hint")),
    element("fieldset", {}, element("legend", { textContent: t("images") }), zone),
    element("div", { className: "row" },
      element("button", { type: "submit", className: "primary", textContent: t("score_button"), id: "try-score" }),
      button(t("clear"), clear)));
  form.addEventListener("submit", guarded(async (event) => { event.preventDefault(); await score(); }));
  view.append(
    element("h1", { textContent: t("try_title") }), element("p", { className: "intro", textContent: t("try_intro") }),
    element("div", { className: "columns" },
      element("div", { className: "card" }, form),
      element("div", {},
        element("section", { className: "card", id: "try-result", tabIndex: -1, "aria-live": "polite" },
          element("h2", { textContent: t("result") }), element("p", { className: "quiet", textContent: t("result_empty") })),
        meaning(student))));
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!view.hidden && files.length) { event.preventDefault(); add_images(files); }
  });
}

export function meaning(student) {
  const card = element("section", { className: "card meaning" },
    element("h2", { textContent: t("meaning_title") }), list_of(TEXTS.meaning),
    element("h2", { textContent: t("must_not_title") }), list_of(TEXTS.must_not));
  for (const axis of student.rubric_axes) {
    card.append(element("details", {}, element("summary", { textContent: t("pair", { name: t("scale_title"), value: axis.name }) }),
      element("p", { textContent: axis.question }),
      element("dl", {}, ...axis.anchors.flatMap((anchor) => [
        element("dt", { textContent: anchor.score }), element("dd", { textContent: anchor.meaning })]))));
  }
  const named = { digest: student.digest.slice(0, 12), n: count_text(student.n_train), rubric: student.rubric };
  card.append(element("p", { className: "hint", textContent: t("trained_on", named) }));
  return card;
}

function add_images(files) {
  const images = files.filter((file) => file.type.startsWith("image/"));
  const other = files.find((file) => !file.type.startsWith("image/"));
  state.images = [...state.images, ...images];
  if (other) say(t("not_an_image", { name: other.name }));
  if (state.images.length > MAX_IMAGES) {
    state.images.length = MAX_IMAGES;
    say(t("too_many_images"));
  }
  show_images();
}

function show_images() {
  byId("try-images").replaceChildren(...state.images.map((file, i) => {
    const remove = button("×", () => { state.images.splice(i, 1); show_images(); });
    remove.setAttribute("aria-label", t("remove_image", { n: i + 1 }));
    // Only formats that browsers draw without running anything.
    if (!SHOWN.test(file.type)) return element("li", {}, element("span", { textContent: t("no_preview") }), remove);
    const address = URL.createObjectURL(file);
    const image = element("img", { src: address, alt: t("image_n", { n: i + 1 }) });
    image.addEventListener("load", () => URL.revokeObjectURL(address));
    return element("li", {}, image, remove);
  }));
}

function clear() {
  state.images = [];
  byId("try-caption").value = "";
  show_images();
  byId("try-result").replaceChildren(element("h2", { textContent: t("result") }),
    element("p", { className: "quiet", textContent: t("result_empty") }));
  byId("try-caption").focus();
}

const to_base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

async function read_post() {
  const images = await Promise.all(state.images.map(to_base64));
  return { caption: byId("try-caption").value, images };
}

async function score() {
  const submit = byId("try-score");
  submit.disabled = true;
  submit.textContent = t("scoring");
  try {
    const post = await read_post();
    const files = [...state.images];
    show_result(await request("/api/score", post), post, files);
  } finally {
    submit.disabled = false;
    submit.textContent = t("score_button");
  }
}

function show_result(answer, post, files) {
  const { student } = state;
  const box = byId("try-result");
  box.replaceChildren(element("h2", { textContent: t("result") }));
  if (answer.status !== "ok") {
    box.append(element("p", { className: "no-answer" }, element("strong", { textContent: t("no_answer") })),
      element("p", { textContent: t("no_answer_why", { reason: reason_text(answer.status) }) }));
  } else {
    student.axes.forEach((axis, i) => {
      const numbers = [answer[axis.name], answer[`${axis.name}_lo`], answer[`${axis.name}_hi`]];
      box.append(score_block(axis, numbers, i ? {} : { limits: student.band_limits, band: answer.band }));
    });
    box.append(element("p", { className: "looked" }, element("strong", { textContent: t("pair", { name: t("looked_at"), value: "" }) }), looked_at(answer)));
  }
  if (answer.sent > student.max_images && student.reads_images) {
    box.append(element("p", { className: "hint", textContent: t("limit_images", { max: student.max_images }) }));
  }
  if (!student.reads_images) box.append(element("p", { className: "hint", textContent: t("model_text") }));
  if (!student.reads_text) box.append(element("p", { className: "hint", textContent: t("model_image") }));
  for (const detail of answer.detail ? answer.detail.split("; ") : []) {
    const [reason, ...rest] = detail.split(": ");
    const text = rest.length ? `${reason_text(reason)} (${rest.join(": ")})` : detail;
    box.append(element("p", { className: "hint", textContent: t("unread", { detail: text }) }));
  }
  if (answer.status === "ok") box.append(explain_button("/api/explanation", post, files.map((file) => (SHOWN.test(file.type) ? file : null))));
  const main = student.axes[0].name;
  say(answer.status === "ok" ? `${main} ${score_text(answer[main])}, ${TEXTS.band[answer.band]}` : t("no_answer"));
  box.focus({ preventScroll: true });
  box.scrollIntoView({ block: "nearest" });
}

function looked_at(answer) {
  const { n_images: n, sent } = answer;
  const whole = n === 1 ? TEXTS.of_images.one : TEXTS.of_images.other.replace("{n}", n);
  const images = n < sent ? t("of_sent", { n, sent }) : whole;
  return TEXTS.looked[answer.modalities].replace("{images}", images);
}
