// Score a file: choose, check the columns, score, and look at the result.
import { button, byId, count_text, download, drop_zone, element, guarded, labelled, list_of, percent_text, read_answer, request, say } from "./page.js";
import { fill } from "../language.js";
import { TEXTS, feature_text, reason_text, t } from "./texts.js";

const POLL_MS = 400;
// `turn` numbers what the person does on the page of columns: answers to earlier requests are ignored.
const state = { view: null, upload: null, examined: null, job: null, turn: 0 };

export function build_files(view) {
  state.view = view;
  view.append(element("h1", { textContent: t("file_title") }), element("p", { className: "intro", textContent: t("file_intro") }),
    element("ol", { className: "steps", id: "file-steps" }), element("div", { id: "file-step", tabIndex: -1 }));
  show_choice();
}

function show_step(number, ...content) {
  byId("file-steps").replaceChildren(...TEXTS.file_step.map((name, i) => {
    const step = element("li", { textContent: name, className: i < number ? "past" : "" });
    if (i === number) step.setAttribute("aria-current", "step");
    return step;
  }));
  const box = byId("file-step");
  box.replaceChildren(...content);
  say(t("step_of", { n: number + 1, total: TEXTS.file_step.length, name: TEXTS.file_step[number] }));
  if (!state.view.hidden && number) box.focus({ preventScroll: true });
}

function show_choice() {
  state.turn += 1;
  if (state.upload && !state.job) request(`/api/uploads/${state.upload}`, undefined, "DELETE").catch(() => {});
  Object.assign(state, { upload: null, examined: null, job: null });
  const choose = (is_folder) => {
    const input = element("input", { type: "file", multiple: true, className: "visually-hidden", tabIndex: -1, "aria-hidden": "true" });
    input.id = is_folder ? "file-folder" : "file-files";
    if (is_folder) input.webkitdirectory = true;
    input.addEventListener("change", () => send([...input.files]));
    return input;
  };
  const files = choose(false);
  const folder = choose(true);
  const zone = element("div", { className: "drop large" },
    element("p", { textContent: t("drop_files") }),
    element("div", { className: "row" }, button(t("choose_files"), () => files.click(), "primary"),
      button(t("choose_folder"), () => folder.click(), "wide-only")),
    element("p", { className: "hint", textContent: t("file_hint") }), files, folder);
  drop_zone(zone, (dropped) => send(dropped));
  show_step(0, element("div", { className: "card" }, zone));
}

const path_of = (file) => file.webkitRelativePath || file.name;
const is_visible = (file) => !path_of(file).split("/").some((part) => part.startsWith("."));

const send = guarded(async (chosen) => {
  const files = chosen.filter(is_visible);
  if (!files.length) return;
  const bar = element("progress", { max: 1, value: 0, "aria-label": TEXTS.file_step[0] });
  const text = element("p", { textContent: "" });
  show_step(0, element("div", { className: "card" }, text, bar));
  try {
    state.upload = (await request("/api/uploads", {})).upload;
    const total = files.reduce((sum, file) => sum + file.size, 0) || 1;
    let before = 0;
    for (const file of files) {
      await send_file(file, (sent) => {
        bar.value = (before + sent) / total;
        text.textContent = t("sending", { name: file.name, percent: Math.floor(100 * bar.value) });
      });
      before += file.size;
    }
    text.textContent = t("reading");
    bar.removeAttribute("value");
    await examine(null);
  } catch (error) {
    show_choice();
    throw error;
  }
});

// Not fetch, which says nothing about how much is sent.
function send_file(file, on_progress) {
  return new Promise((resolve, reject) => {
    const sender = new XMLHttpRequest();
    sender.open("PUT", `/api/uploads/${state.upload}/file?name=${encodeURIComponent(path_of(file))}`);
    sender.setRequestHeader("Content-Type", "application/octet-stream");
    sender.upload.addEventListener("progress", (event) => on_progress(event.loaded));
    sender.addEventListener("error", () => reject(new Error(t("no_server"))));
    sender.addEventListener("load", () => {
      try {
        resolve(read_answer(sender.status, sender.responseText));
      } catch (error) {
        reject(error);
      }
    });
    sender.send(file);
  });
}

async function examine(columns) {
  state.examined = await request(`/api/uploads/${state.upload}/examination`, { columns });
  show_columns();
}

function show_columns() {
  const { layout, evidence, names, fields } = state.examined;
  const again = button(t("other_file"), show_choice);
  const start = button(t("start_scoring"), guarded(() => start_job()), "primary");
  start.id = "start-scoring";
  if (layout !== "table") {
    const text = layout === null ? t("found_shards") : t("found_export", { evidence });
    show_step(1, element("div", { className: "card" }, element("p", { textContent: text }), element("div", { className: "row" }, start, again)));
    return;
  }
  const selects = fields.map((field) => {
    const select = element("select", { id: `column-${field}` },
      element("option", { value: "", textContent: t(field === "post_id" ? "number_rows" : "no_column") }),
      ...names.filter((name) => name).map((name) => element("option", { value: name, textContent: name })));
    select.addEventListener("change", guarded(() => change_columns()));
    return labelled(TEXTS.field[field], select, TEXTS.field_hint[field]);
  });
  show_step(1, element("div", { className: "card" },
    element("p", { textContent: t("found_table", { n: names.length }) }),
    element("div", { className: "grid-fields" }, ...selects),
    element("div", { id: "columns-preview" }),
    element("div", { className: "row" }, start, again)));
  show_preview();
}

// The fields and the button stay: a click on them while the preview is renewed is not lost.
function show_preview() {
  const { columns, rows, fields } = state.examined;
  for (const field of fields) byId(`column-${field}`).value = columns[field] ?? "";
  const has_content = Boolean(columns.caption || columns.images);
  byId("start-scoring").disabled = !has_content;
  const table = preview_table(rows, fields.filter((field) => columns[field]));
  const warning = has_content ? null : element("p", { className: "warning", textContent: t("need_content") });
  byId("columns-preview").replaceChildren(...[table, warning].filter(Boolean));
}

function preview_table(rows, fields) {
  if (!rows.length || !fields.length) return null;
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": t("preview") }, element("table", {},
    element("caption", { textContent: t("preview") }),
    element("thead", {}, element("tr", {}, ...fields.map((field) => element("th", { scope: "col", textContent: TEXTS.field[field] })))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...fields.map((field) => element("td", { textContent: row[field] ?? "", dir: "auto" })))))));
}

const chosen_columns = () => Object.fromEntries(state.examined.fields.map((field) => [field, byId(`column-${field}`).value]));

async function change_columns() {
  const turn = ++state.turn;
  state.examined.columns = { ...state.examined.columns, ...chosen_columns() };
  const { columns } = state.examined;
  if (!columns.caption && !columns.images) {
    state.examined.rows = [];
  } else {
    const examined = await request(`/api/uploads/${state.upload}/examination`, { columns });
    if (turn !== state.turn) return;
    state.examined = examined;
  }
  show_preview();
}

async function start_job() {
  state.turn += 1;
  const columns = state.examined.layout === "table" ? { ...state.examined.columns, ...chosen_columns() } : null;
  state.job = (await request(`/api/uploads/${state.upload}/job`, { columns })).job;
  show_progress();
}

function show_progress() {
  const bar = element("progress", { "aria-label": TEXTS.file_step[2] });
  const text = element("p", { id: "job-state", role: "status" });
  const action = (name) => guarded(async () => { await request(`/api/jobs/${state.job}/${name}`, {}); show_progress(); });
  const cancel = button(t("cancel"), action("cancel"));
  cancel.id = "job-cancel";
  const row = element("div", { className: "row" }, cancel);
  show_step(2, element("div", { className: "card" }, text, bar, row));
  const job = state.job;
  const poll = guarded(async () => {
    if (state.job !== job || !bar.isConnected) return;
    const status = await request(`/api/jobs/${job}`);
    if (status.state === "done") { show_done(status); return; }
    const key = status.state === "running" ? status.phase : status.state;
    text.textContent = fill(TEXTS.state[key], { done: count_text(status.done), total: count_text(status.total) });
    if (status.total) { bar.max = status.total; bar.value = status.done; } else bar.removeAttribute("value");
    if (status.state === "cancelled" || status.state === "failed") {
      bar.hidden = true;
      if (status.state === "failed") text.textContent = t("pair", { name: TEXTS.state.failed, value: status.message });
      row.replaceChildren(button(t("resume"), action("resume"), "primary"), button(t("other_file"), show_choice));
      return;
    }
    setTimeout(poll, POLL_MS);
  });
  poll();
}

function show_done({ summary, corpus, name }) {
  const imported = summary.import ?? { rejected: 0, missing_images: 0, notes: [], address_posts: 0 };
  const fact = (number, text) => element("div", {}, element("dt", { textContent: text }), element("dd", { textContent: number }));
  const bands = ["low", "moderate", "high"].map((band) => fact(percent_text(summary.band_share[band] ?? 0), TEXTS.share_band[band]));
  const explore = element("a", { className: "button primary", href: `#explore/${corpus}`, textContent: t("explore_result"), id: "explore-result" });
  const whole = { filter: { status: "all" }, order: { by: "input", descending: false } };
  const formats = ["csv", "xlsx", "parquet"].map((format) => button(format.toUpperCase(), guarded(() => download(corpus, { ...whole, format }))));
  const rejects = element("section", { className: "card" }, element("h2", { textContent: t("rejects_title") }));
  const notes = [...imported.notes];
  if (imported.address_posts) notes.push(t("addresses", { n: count_text(imported.address_posts) }));
  const features = summary.differs.map(feature_text).join(", ");
  const caveats = features ? [t("differs", { features }), ...TEXTS.caveats] : TEXTS.caveats;
  show_step(3,
    element("section", { className: "card" }, element("h2", { textContent: t("done_title", { name }) }),
      element("dl", { className: "facts" }, fact(count_text(summary.scored), t("scored_posts")),
        fact(count_text(summary.rejected), t("without_score")), fact(count_text(imported.rejected), t("not_imported")),
        imported.missing_images ? fact(count_text(imported.missing_images), t("missing_images")) : null, ...bands),
      element("div", { className: "row" }, explore),
      element("h3", { textContent: t("download") }), element("div", { className: "row" }, ...formats),
      element("p", { className: "hint", textContent: t("download_hint") })),
    element("section", { className: "card caveats" }, element("h2", { textContent: t("caveats_title") }), list_of(caveats)),
    rejects,
    notes.length ? element("section", { className: "card" }, element("h2", { textContent: t("notes_title") }), list_of(notes)) : "",
    element("div", { className: "row" }, button(t("more_files"), show_choice)));
  show_rejects(corpus, rejects).catch(() => {});
}

async function show_rejects(corpus, box) {
  const { total, rows } = await request(`/api/corpora/${corpus}/rejects`);
  if (!total) { box.append(element("p", { textContent: t("rejects_none") })); return; }
  const cell = (text) => element("td", { textContent: text ?? "" });
  if (rows.length < total) box.append(element("p", { textContent: t("rejects_more", { n: rows.length, total: count_text(total) }) }));
  box.append(element("div", { className: "scroll short", tabIndex: 0, role: "region", "aria-label": t("rejects_title") }, element("table", {},
    element("thead", {}, element("tr", {}, ...TEXTS.rejects_columns.map((name) => element("th", { scope: "col", textContent: name })))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, cell(row.post_id), cell(row.source), cell(reason_text(row.reason)), cell(row.detail)))))),
  element("div", { className: "row" }, button(t("rejects_download"), guarded(() => download(corpus)))));
}
