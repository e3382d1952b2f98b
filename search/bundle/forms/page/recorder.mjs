// Hands over what the microphone hears, as it comes.
class Recorder extends AudioWorkletProcessor {
  process([[heard]]) {
    if (heard) this.port.postMessage(heard.slice());
    return true;
  }
}
registerProcessor("recorder", Recorder);
