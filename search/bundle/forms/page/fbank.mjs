// Kaldi filter banks, as the student was trained on: 25 ms windows every 10 ms, povey window,
// pre-emphasis, log of mel energies (Kaldi: feat/feature-window.cc, feat/mel-computations.cc).

const RATE = 16000, SIZE = 400, SHIFT = 160, FFT = 512;
const LOW_HZ = 20, HIGH_HZ = RATE / 2 - 400, PREEMPHASIS = 0.97;
const LEAST_ENERGY = 1.1920929e-7; // of float32


const mel = (hz) => 1127 * Math.log1p(hz / 700);
const WINDOW = Float64Array.from({ length: SIZE },
  (_, i) => (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (SIZE - 1))) ** 0.85);
const COS = Float64Array.from({ length: FFT / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / FFT));
const SIN = Float64Array.from({ length: FFT / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / FFT));

function banks(mels) {
  const low = mel(LOW_HZ), step = (mel(HIGH_HZ) - low) / (mels + 1), found = [];
  for (let m = 0; m < mels; m++) {
    const left = low + m * step, weights = [];
    let first = -1;
    for (let bin = 0; bin < FFT / 2; bin++) {
      const at = mel((bin * RATE) / FFT);
      const weight = Math.min((at - left) / step, (left + 2 * step - at) / step);
      if (weight > 0) {
        if (first < 0) first = bin;
        weights.push(weight);
      }
    }
    found.push({ first, weights });
  }
  return found;
}

function powerOf(re, im) { // in place, radix 2
  for (let i = 1, j = 0; i < FFT; i++) {
    let bit = FFT >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j]] = [re[j], re[i]];
  }
  for (let half = 1; half < FFT; half <<= 1) {
    const step = FFT / (2 * half);
    for (let i = 0; i < FFT; i += 2 * half) {
      for (let k = 0; k < half; k++) {
        const c = COS[k * step], s = -SIN[k * step], a = i + k, b = a + half;
        const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x; im[b] = im[a] - y;
        re[a] += x; im[a] += y;
      }
    }
  }
  for (let i = 0; i < FFT / 2; i++) re[i] = re[i] * re[i] + im[i] * im[i];
  return re;
}

const known = new Map();

// Float32Array [frames * mels] of Float32Array samples in [-1, 1] at 16 kHz; beyond its ends a
// signal goes on as its mirror image.
export function fbank(samples, mels) {
  if (!known.has(mels)) known.set(mels, banks(mels));
  const filters = known.get(mels), n = samples.length;
  const frames = Math.floor((n + SHIFT / 2) / SHIFT);
  const features = new Float32Array(frames * mels);
  const re = new Float64Array(FFT), im = new Float64Array(FFT), part = new Float64Array(SIZE);
  for (let f = 0; f < frames; f++) {
    const begin = f * SHIFT - (SIZE - SHIFT) / 2;
    let mean = 0;
    for (let i = 0; i < SIZE; i++) {
      let at = begin + i;
      while (at < 0 || at >= n) at = at < 0 ? -at - 1 : 2 * n - 1 - at;
      part[i] = samples[at];
      mean += part[i];
    }
    mean /= SIZE;
    re.fill(0);
    im.fill(0);
    for (let i = SIZE - 1; i >= 0; i--) {
      const before = part[Math.max(0, i - 1)] - mean;
      re[i] = (part[i] - mean - PREEMPHASIS * before) * WINDOW[i];
    }
    const power = powerOf(re, im);
    for (let m = 0; m < mels; m++) {
      const { first, weights } = filters[m];
      let energy = 0;
      for (let i = 0; i < weights.length; i++) energy += weights[i] * power[first + i];
      features[f * mels + m] = Math.log(Math.max(energy, LEAST_ENERGY));
    }
  }
  return features;
}
