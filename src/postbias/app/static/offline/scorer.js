// Scores captions with the graphs of a student, as postbias does in Python.
import * as ort from "./ort.wasm.min.mjs";
import { Tokenizer } from "./tokenizers.min.mjs";

// Padded to a multiple of this, as in `postbias.scoring.graphs`.
const LENGTH_STEP = 2;
const PADDING_TOKENS = ["[PAD]", "<pad>", "<|endoftext|>"];
// What Python's `str.strip` removes; `trim` differs in control characters and U+FEFF.
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const ENDS = new RegExp(`^${SPACE}|${SPACE}$`, "gu");

// One thread: more need headers that simple servers of static files do not send.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;

export function clean(caption) {
  return caption.toWellFormed().replaceAll("\0", "").replace(/\r\n?/g, "\n").replace(ENDS, "");
}

export class Scorer {
  static async load() {
    const get = async (name) => {
      const answer = await fetch(name);
      if (!answer.ok) throw new Error(`${name} cannot be loaded: status ${answer.status}`);
      return answer;
    };
    const [student, tokenizer, text, head] = await Promise.all([
      get("student.json").then((x) => x.json()), get("tokenizer.json").then((x) => x.json()),
      get("text.onnx").then((x) => x.arrayBuffer()), get("head.onnx").then((x) => x.arrayBuffer()),
    ]);
    const scorer = new Scorer();
    scorer.student = student;
    scorer.tokenizer = new Tokenizer(tokenizer, {});
    const pad = PADDING_TOKENS.map((token) => scorer.tokenizer.token_to_id(token)).find((id) => id !== undefined);
    scorer.pad = pad ?? 0;
    [scorer.text, scorer.head] = [await ort.InferenceSession.create(text), await ort.InferenceSession.create(head)];
    return scorer;
  }

  tokenize(caption) {
    const whole = this.tokenizer.encode(caption).ids;
    const limit = this.student.max_tokens;
    if (whole.length <= limit) return whole;
    // Special tokens at the end are kept, as truncation in Python does.
    const inner = this.tokenizer.encode(caption, { add_special_tokens: false }).ids.length;
    const empty = this.tokenizer.encode("").ids.length;
    const start = whole.length === inner ? 0 : first_special(whole, this.tokenizer.encode("").ids);
    const end = whole.length === inner ? 0 : empty - start;
    return [...whole.slice(0, limit - end), ...whole.slice(whole.length - end)];
  }

  // Returns null for a caption without content, else { scores, band }.
  async score(caption) {
    const cleaned = clean(caption);
    if (!cleaned) return null;
    const { max_tokens, image_size, axes, intervals, bands } = this.student;
    const ids = this.tokenize(cleaned);
    const length = Math.max(ids.length, Math.min(Math.ceil(ids.length / LENGTH_STEP) * LENGTH_STEP, max_tokens));
    const padded = BigInt64Array.from({ length }, (_, i) => BigInt(ids[i] ?? this.pad));
    const mask = BigInt64Array.from({ length }, (_, i) => (i < ids.length ? 1n : 0n));
    const { embedding } = await this.text.run({
      input_ids: new ort.Tensor("int64", padded, [1, length]), attention_mask: new ort.Tensor("int64", mask, [1, length]),
    });
    const feeds = { text: embedding, has_text: new ort.Tensor("float32", [1], [1, 1]) };
    if (image_size) {
      feeds.image = new ort.Tensor("float32", new Float32Array(image_size), [1, image_size]);
      feeds.has_image = new ort.Tensor("float32", [0], [1, 1]);
    }
    const raw = (await this.head.run(feeds)).scores.data;
    if (!raw.every(Number.isFinite)) throw new Error("the student gives no finite score for this caption");
    const scores = axes.map(({ name, low, high }, i) => {
      const clip = (x) => Math.min(Math.max(x, low), high);
      const value = clip(raw[i]);
      const interval = intervals[name];
      return { name, value, lo: interval ? clip(value + interval.lo) : null, hi: interval ? clip(value + interval.hi) : null };
    });
    return { scores, band: bands.find(({ below }) => below === null || scores[0].value < below).name };
  }
}

// Number of special tokens before the text: those that the empty text starts with, too.
function first_special(whole, empty) {
  let n = 0;
  while (n < empty.length - 1 && whole[n] === empty[n]) n += 1;
  return n;
}
