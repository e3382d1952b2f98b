"""The embedded spoken corpus: numbers and commands by espeak-ng, made once and cached.

espeak-ng keeps global state, so a corpus is spoken in a process of its own.
"""

from __future__ import annotations

import ctypes
import json
import random
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from spaces.recipe import digest_of
from spaces.space import Synthetic
from workers.atomic import new_folder, whole_or_removed
from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import WorkError
from workers.isolated_call import Request, call

_VERSION = 3
_VOICE_NOISE_SEED = 1
_ACCENTS = ("en-us", "gmw/en", "gmw/en-GB-scotland", "gmw/en-GB-x-rp", "gmw/en-US-nyc")
_VARIANTS = (
    tuple(f"m{i}" for i in range(1, 9))
    + tuple(f"f{i}" for i in range(1, 6))
    + (
        "klatt2",
        "klatt3",
        "croak",
        "whisper",
    )
)
_DIGITS = "zero one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_COMMANDS = (
    "turn {on_off} the {device}",
    "set the {device} to {number}",
    "set {what} to {number} percent",
    "{move} {number} steps",
    "call {digits}",
    "enter {digits}",
    "play track {number}",
    "{short}",
    "{digits}",
    "{short} {number}",
)
_WORDS = {
    "on_off": ("on", "off"),
    "device": ("light", "heater", "fan", "radio", "window", "door", "alarm", "camera"),
    "what": ("volume", "speed", "power", "brightness", "pressure"),
    "move": ("left", "right", "forward", "back", "up", "down"),
    "short": ("stop", "go", "yes", "no", "start", "help", "repeat", "cancel", "next", "open"),
}


def synthetic_corpus(config: Synthetic, cache: Path) -> dict[str, Path]:
    """The list of each split of the corpus (train, dev, and test where it is asked for), spoken
    first if not cached.

    The same settings give the same samples; no speaker is in two splits. A test set changes
    nothing of the others.

    Raises:
        WorkError: when the synthesiser fails.
    """
    folder = cache / "synthetic" / digest_of([_VERSION, config.model_dump(mode="json")])[:32]
    if not whole_or_removed(folder):
        with new_folder(folder) as partial:
            call("speak", {"config": config.model_dump_json(), "folder": str(partial)})
    splits = ("train", "dev", "test") if config.test_utterances else ("train", "dev")
    return {split: folder / f"{split}.jsonl" for split in splits}


def speak(request: Request) -> None:
    """Speak all splits into a folder; called in a process of its own."""
    config = Synthetic.model_validate_json(request["config"])
    make_corpus(config, Path(request["folder"]))


class Espeak:
    """libespeak-ng from pip's espeakng-loader, one per process."""

    _AUDIO_OUTPUT_SYNCHRONOUS = 2
    _RATE, _PITCH, _RANGE = 1, 3, 4
    _UTF8 = 1

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate_hz: int = self._library.espeak_Initialize(
            self._AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0
        )
        if self.rate_hz <= 0:
            raise WorkError("espeak-ng did not start")
        self._chunks: list[np.ndarray] = []
        callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = callback(self._receive)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: object, count: int, _events: object) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())  # type: ignore[call-overload]
        return 0

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> np.ndarray:
        """float32 [n_samples] at `rate_hz`."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise WorkError(f"espeak-ng has no voice {voice}")
        self._library.espeak_SetParameter(self._RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(self._PITCH, pitch, 0)
        self._chunks = []
        # Breathy voices have noise in them, seeded with the time unless told otherwise.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_VOICE_NOISE_SEED))
        raw = text.encode()
        self._library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, self._UTF8, None, None)
        return np.concatenate(self._chunks).astype(np.float32) / 32768


def _number(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(_DIGITS)
    if kind < 0.5:
        return rng.choice(_TEENS)
    tens = rng.choice(_TENS)
    return tens if kind < 0.7 else f"{tens} {rng.choice(_DIGITS[1:])}"


def sentence(rng: random.Random) -> str:
    """One command or number."""
    text = rng.choice(_COMMANDS)
    for name, words in _WORDS.items():
        text = text.replace(f"{{{name}}}", rng.choice(words))
    digits = " ".join(rng.choice(_DIGITS) for _ in range(rng.randint(2, 5)))
    return text.replace("{digits}", digits).replace("{number}", _number(rng))


_Speaker = tuple[str, int, int]  # voice, words per minute, pitch


def _shuffled_voices(rng: random.Random) -> list[str]:
    voices = [f"{accent}+{variant}" for accent in _ACCENTS for variant in _VARIANTS]
    rng.shuffle(voices)
    return voices


def _speakers(voices: list[str], rng: random.Random) -> list[_Speaker]:
    return [(v, rng.randint(110, 170), rng.randint(25, 75)) for v in voices]


def _noisy(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(len(samples)).astype(np.float32)
    power = float(np.mean(samples**2)) / 10 ** (snr_db / 10)
    mixed = samples + noise * np.sqrt(power)
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max()) / 0.95), np.float32)


def make_corpus(config: Synthetic, folder: Path) -> None:
    """Speak all splits into `folder`."""
    espeak = Espeak()
    rng = random.Random(config.seed)
    noise = np.random.default_rng(config.seed)
    voices = _shuffled_voices(rng)
    speakers = _speakers(voices[: config.speakers], rng)
    n_dev = config.n_dev_speakers
    speak_split = partial(_speak_split, config, folder, espeak, rng, noise)
    speak_split("train", speakers[n_dev:], config.train_utterances)
    speak_split("dev", speakers[:n_dev], config.dev_utterances)
    if config.test_utterances:  # last, so that what is drawn for it changes nothing before it
        further = _speakers(voices[config.speakers : config.speakers + n_dev], rng)
        speak_split("test", further, config.test_utterances)


def _speak_split(
    config: Synthetic,
    folder: Path,
    espeak: Espeak,
    rng: random.Random,
    noise: np.random.Generator,
    split: str,
    speakers: list[_Speaker],
    count: int,
) -> None:
    with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as manifest:
        for i in range(count):
            voice, speed, pitch = speakers[i % len(speakers)]
            text = sentence(rng)
            speech = espeak.speak(text, voice, speed + rng.randint(-10, 10), pitch)
            speech = soxr.resample(speech, espeak.rate_hz, SAMPLE_RATE_HZ)
            speech = _noisy(speech * 0.5, rng.uniform(*config.noise_snr_db), noise)
            name = f"{split}-{i:05d}.flac"
            soundfile.write(folder / name, speech, SAMPLE_RATE_HZ)
            entry = {
                "audio_filepath": name,
                "duration": round(len(speech) / SAMPLE_RATE_HZ, 3),
                "text": text,
                "speaker": voice,
            }
            manifest.write(json.dumps(entry) + "\n")
