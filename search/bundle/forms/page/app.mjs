// The page: record or open a file, read the text; nothing leaves this machine.
import { load } from "./student.mjs";

const RATE = 16000, element = (id) => document.getElementById(id);
const say = (text) => { element("text").textContent = text; };
const note = (text) => { element("note").textContent = text; };

let student = null, recording = null;

async function show(samples) {
  const start = performance.now();
  say(await student.transcribe(samples));
  const ms = performance.now() - start, s = samples.length / RATE;
  note(`${ms.toFixed(0)} ms for ${s.toFixed(1)} s of audio, ${student.threads} thread(s), here`);
}

async function record() {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext({ sampleRate: RATE });
  await context.audioWorklet.addModule("./recorder.mjs");
  const node = new AudioWorkletNode(context, "recorder"), parts = [];
  const speaker = student.streaming ? student.listen() : null;
  let heard = Promise.resolve();
  node.port.onmessage = ({ data }) => {
    if (!speaker) return void parts.push(data);
    heard = heard.then(() => speaker.hear(data)).then(() => say(speaker.text));
  };
  context.createMediaStreamSource(media).connect(node);
  element("record").textContent = "Stop";
  recording = async () => {
    media.getTracks().forEach((track) => track.stop());
    await context.close();
    element("record").textContent = "Record";
    if (speaker) {
      await heard;
      await speaker.end();
      return say(speaker.text);
    }
    const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
    parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    await show(all);
  };
}

async function open(file) {
  const context = new OfflineAudioContext(1, RATE, RATE);
  const audio = await context.decodeAudioData(await file.arrayBuffer());
  const samples = new Float32Array(audio.length);
  for (let c = 0; c < audio.numberOfChannels; c++) {
    audio.getChannelData(c).forEach((value, i) => { samples[i] += value / audio.numberOfChannels; });
  }
  await show(samples);
}

const tell = (error) => note(`It failed: ${error.message ?? error}`);

element("record").onclick = () => {
  const stop = recording;
  recording = null;
  (stop ? stop() : record()).catch(tell);
};
element("file").onchange = ({ target }) => target.files[0] && open(target.files[0]).catch(tell);

load(".").then((loaded) => {
  student = loaded;
  window.student = loaded;
  element("record").disabled = element("file").disabled = false;
  note(student.streaming ? "Ready: text comes as you speak." : "Ready: text comes when you stop.");
}).catch(tell);
