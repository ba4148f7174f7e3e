// The language of the page, and the translations of its texts; English needs none.
export const language = document.documentElement.lang;

async function load_translations() {
  if (language === "en") return {};
  try {
    return await (await fetch("/texts.json")).json();
  } catch {
    return {}; // the page works in English
  }
}

const translations = await load_translations();

export const _ = (message) => translations[message] ?? message;

export function fill(template, values = {}) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

// A date of the server, `2025-01-31`: as it is in English.
export function date_text(date) {
  if (language === "en") return date;
  return new Intl.DateTimeFormat(language, { dateStyle: "long", timeZone: "UTC" }).format(new Date(date));
}
