"""Transcribes with a student that NVIDIA Triton serves: pip install tritonclient[http]
kaldi-native-fbank soundfile; python client.py SERVER:8000 MODEL recording.wav …

Triton batches only requests of one shape, so features are filled up to the next of a few lengths;
the model is told how much of them counts.
"""

import json
import pathlib
import sys

import numpy as np

BUCKET = 128  # frames: 1.28 s
SAMPLE_RATE = 16_000


def features_of(samples: np.ndarray, told: dict) -> np.ndarray:
    """Kaldi filter banks float32 [T, mels] of samples float32 [n] at 16 kHz, as features.json
    says."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = told["n_mels"]
    options.mel_opts.low_freq = told["low_freq_hz"]
    options.mel_opts.high_freq = told["high_freq_hz"]
    options.energy_floor = 0.0
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE, samples.astype(np.float32).tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


def request_of(features: np.ndarray) -> tuple:
    """Inputs of the model: x float32 [1, T, mels] filled up, x_lens int64 [1, 1]."""
    n_frames = len(features)
    padded = np.zeros((1, -(-n_frames // BUCKET) * BUCKET, features.shape[1]), np.float32)
    padded[0, :n_frames] = features
    return padded, np.array([[n_frames]], np.int64)


def text_of(log_probs: np.ndarray, n_frames: int, symbols: list) -> str:
    """CTC, greedily: log_probs float32 [T', V] of which n_frames count; symbol 0 is the blank."""
    best = log_probs[:n_frames].argmax(-1)
    kept = [int(s) for i, s in enumerate(best) if s and (i == 0 or s != best[i - 1])]
    return "".join(symbols[s] for s in kept).replace("\u2581", " ").strip()


def read_symbols(path: pathlib.Path) -> list:
    """tokens.txt: a symbol and its id on each line."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        symbol, _, number = line.rpartition(" ")
        found[int(number)] = symbol or " "
    return [found[i] for i in range(len(found))]


def main(server: str, model: str, *recordings: str) -> None:
    """Transcribe recordings, one request each."""
    import soundfile
    import tritonclient.http as triton

    folder = pathlib.Path(__file__).parent
    symbols = read_symbols(folder / "tokens.txt")
    told = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    client = triton.InferenceServerClient(server)
    for name in recordings:
        samples, rate = soundfile.read(name, dtype="float32", always_2d=True)
        if rate != SAMPLE_RATE:
            sys.exit(f"{name}: has {rate} Hz; resample it to {SAMPLE_RATE}")
        x, x_lens = request_of(features_of(samples.mean(1), told))
        inputs = [
            triton.InferInput("x", list(x.shape), "FP32"),
            triton.InferInput("x_lens", list(x_lens.shape), "INT64"),
        ]
        inputs[0].set_data_from_numpy(x)
        inputs[1].set_data_from_numpy(x_lens)
        answer = client.infer(model, inputs)
        n_frames = int(answer.as_numpy("log_probs_lens").ravel()[0])
        print(f"{name}\t{text_of(answer.as_numpy('log_probs')[0], n_frames, symbols)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
