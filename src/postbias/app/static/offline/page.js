// The page: one caption at a time.
import { Scorer } from "./scorer.js";

const find = (id) => document.getElementById(id);

function show(result) {
  find("scores").hidden = !result;
  find("band").textContent = result ? `The score is ${result.band}.` : "No answer: there is no caption.";
  find("scores").tBodies[0].replaceChildren(...(result?.scores ?? []).map(({ name, value, lo, hi }) => {
    const row = document.createElement("tr");
    for (const text of [name, value.toFixed(2), lo === null ? "not known" : `${lo.toFixed(2)} to ${hi.toFixed(2)}`]) {
      row.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    return row;
  }));
}

try {
  const scorer = await Scorer.load();
  find("student").textContent = `Student ${scorer.student.digest}, rubric ${scorer.student.rubric}`;
  find("languages").hidden = !scorer.student.has_other_intervals;
  find("message").hidden = true;
  find("form").hidden = false;
  find("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      show(await scorer.score(find("caption").value));
    } catch (error) {
      find("band").textContent = error.message;
    }
  });
  globalThis.postbias = scorer;
} catch (error) {
  find("message").textContent = `The model cannot be loaded: ${error.message}`;
}
