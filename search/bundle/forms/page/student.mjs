// The student of this folder: samples in, text out, all on this machine.
//
//   import { load } from "./student.mjs";
//   const student = await load(".");
//   await student.transcribe(samples);            // Float32Array at 16 kHz
//   const speaker = student.listen();             // of a student for live speech
//   await speaker.hear(samples); await speaker.end(); speaker.text;

import * as ort from "./ort/ort.wasm.min.mjs";
import { fbank } from "./fbank.mjs";

const SHIFT = 160, REACH = 280, MARGIN = 2, TAIL_FRAMES = 40, SILENT_END = 640;

export async function load(folder, threads = 0) {
  const read = async (name, how) => {
    const answer = await fetch(`${folder}/${name}`);
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
    return answer[how]();
  };
  ort.env.wasm.wasmPaths = new URL(`${folder}/ort/`, document.baseURI).href;
  ort.env.wasm.numThreads = threads || (self.crossOriginIsolated ? navigator.hardwareConcurrency : 1);
  const [told, tokens, model] = await Promise.all([
    read("features.json", "json"), read("tokens.txt", "text"), read("model.onnx", "arrayBuffer"),
  ]);
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return new Student(session, symbolsOf(tokens), told);
}

function symbolsOf(text) {
  const found = [];
  for (const line of text.split("\n").filter(Boolean)) {
    const cut = line.lastIndexOf(" ");
    found[Number(line.slice(cut + 1))] = line.slice(0, cut) || " ";
  }
  return found;
}

class Student {
  constructor(session, symbols, told) {
    this.session = session;
    this.symbols = symbols;
    this.mels = told.n_mels ?? 80;
    this.streaming = told.streaming ?? null;
    this.threads = ort.env.wasm.numThreads;
  }

  // Text of a whole utterance.
  async transcribe(samples) {
    if (this.streaming) {
      const speaker = this.listen();
      await speaker.hear(samples);
      await speaker.end();
      return speaker.text;
    }
    const x = fbank(samples, this.mels), frames = x.length / this.mels;
    const [xName, lengthsName] = this.session.inputNames;
    const out = await this.session.run({
      [xName]: new ort.Tensor("float32", x, [1, frames, this.mels]),
      [lengthsName]: new ort.Tensor("int64", BigInt64Array.of(BigInt(frames)), [1]),
    });
    return this.textOf(best(out[this.session.outputNames[0]]));
  }

  listen() {
    if (!this.streaming) throw new Error("this student hears whole utterances");
    return new Speaker(this);
  }

  // CTC, greedily; symbol 0 is the blank.
  textOf(ids) {
    let text = "", last = 0;
    for (const id of ids) {
      if (id && id !== last) text += this.symbols[id];
      last = id;
    }
    return text.replaceAll("\u2581", " ").trim();
  }

  // Milliseconds that an utterance takes, the median of so many runs.
  async time(samples, runs = 10) {
    const taken = [];
    for (let i = 0; i <= runs; i++) {
      const start = performance.now();
      await this.transcribe(samples);
      taken.push(performance.now() - start);
    }
    return taken.slice(1).sort((a, b) => a - b)[runs >> 1];
  }
}

function best(logProbs) {
  const [, frames, symbols] = logProbs.dims, values = logProbs.data, ids = [];
  for (let f = 0; f < frames; f++) {
    let at = f * symbols;
    for (let i = at + 1; i < (f + 1) * symbols; i++) if (values[i] > values[at]) at = i;
    ids.push(at - f * symbols);
  }
  return ids;
}

class Speaker {
  constructor(student) {
    const { chunk_ms: chunk, look_ahead_ms: ahead } = student.streaming;
    this.student = student;
    this.shift = chunk / 10;
    this.window = (chunk + ahead) / 10;
    this.samples = new Float32Array(0); // from `begin` on: what was heard is forgotten
    this.begin = 0;
    this.next = 0; // the frame at which the next window begins
    this.ids = [];
    this.state = null;
  }

  get text() { return this.student.textOf(this.ids); }

  get heard() { return this.begin + this.samples.length; }

  async hear(samples) {
    const all = new Float32Array(this.samples.length + samples.length);
    all.set(this.samples);
    all.set(samples, this.samples.length);
    this.samples = all;
    while (this.heard >= (this.next + this.window - 1) * SHIFT + REACH) await this.step();
  }

  async end() {
    const frames = Math.floor((this.heard + SILENT_END + SHIFT / 2) / SHIFT);
    const windows = Math.ceil((frames + TAIL_FRAMES) / this.shift);
    const wanted = ((windows - 1) * this.shift + this.window) * SHIFT + REACH;
    const last = (windows - 1) * this.shift;
    await this.hear(new Float32Array(Math.max(0, wanted - this.heard)));
    while (this.next <= last) await this.step();
  }

  async step() {
    const { session, mels } = this.student, end = this.next + this.window;
    const first = Math.max(0, this.next - MARGIN);
    const until = (end + MARGIN) * SHIFT - this.begin;
    const part = this.samples.subarray(first * SHIFT - this.begin, until);
    const from = (this.next - first) * mels;
    const x = fbank(part, mels).slice(from, from + this.window * mels);
    const [xName, ...names] = session.inputNames;
    if (!this.state) this.state = firstState(session);
    const feed = { [xName]: new ort.Tensor("float32", x, [1, this.window, mels]) };
    names.forEach((name, i) => { feed[name] = this.state[i]; });
    const out = await session.run(feed);
    const [logProbs, ...after] = session.outputNames.map((name) => out[name]);
    this.state = after;
    this.ids.push(...best(logProbs));
    this.next += this.shift;
    const kept = Math.max(0, this.next - MARGIN) * SHIFT;
    this.samples = this.samples.slice(kept - this.begin);
    this.begin = kept;
  }
}

function firstState(session) {
  return session.inputMetadata.slice(1).map(({ type, shape }) => {
    const dims = shape.map((size) => (typeof size === "number" ? size : 1));
    const n = dims.reduce((a, b) => a * b, 1);
    const data = type === "int64" ? new BigInt64Array(n) : new Float32Array(n);
    return new ort.Tensor(type, data, dims);
  });
}

