// Starts the page and shows one section at a time, by the address after #.
import { build_explore, show_explore } from "./explore.js";
import { build_files } from "./files.js";
import { build_more, show_more } from "./more.js";
import { byId, guarded, request, show_error } from "./page.js";
import { build_try } from "./try.js";
import { t } from "./texts.js";

let SECTIONS = ["try", "file", "explore", "more"];

for (const each of document.querySelectorAll("[data-text]")) each.textContent = t(each.dataset.text);
for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", t(each.dataset.label));

const show_section = guarded(async (is_first) => {
  const [wanted, argument] = location.hash.slice(1).split("/");
  const section = SECTIONS.includes(wanted) ? wanted : "try";
  document.querySelector("dialog[open]")?.close();
  for (const each of SECTIONS) byId(`view-${each}`).hidden = each !== section;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(`tab_${section}`)} · postbias`;
  if (!is_first) byId("main").focus({ preventScroll: true });
  if (section === "explore") await show_explore(argument);
  if (section === "more") await show_more();
});

byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("main").focus(); });
try {
  const student = await request("/api/student");
  byId("demo").hidden = !student.is_demo;
  build_try(byId("view-try"), student);
  if (student.has_posts_only) {
    SECTIONS = ["try"];
    for (const link of document.querySelectorAll("nav a:not([href='#try'])")) link.remove();
  } else {
    build_files(byId("view-file"));
    build_explore(byId("view-explore"), student);
    build_more(byId("view-more"), student);
  }
  addEventListener("hashchange", () => show_section(false));
  await show_section(true);
} catch (error) {
  show_error(error);
}
