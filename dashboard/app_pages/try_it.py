"""Try it: speak or upload, and read what students and teacher make of it, and how fast."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.caching import frame, results, space_of
from dashboard.context import artifacts, store
from dashboard.parts.address import LISTENERS, listeners
from dashboard.parts.choice import study_or_stop
from search.analysis.answer import answer_of
from search.errors import UsageFault
from search.report.redaction import markdown, plain, redact
from search.results import model_of
from spaces.front_end import FrontEnd
from storage.errors import ArtifactError
from storage.records import Study
from workers.data.audio import read_audio
from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import WorkError
from workers.recognizer import Recognizer, open_model

_MOST_S = 60.0
_TEACHER = -1
_RUNS = 9
_HEARD = "heard-last"


def page() -> None:
    study = study_or_stop()
    st.title(f"{markdown(study.name, 60)}: try it")
    trials = frame(study)
    best = trials[trials["on_front"]] if len(trials) else trials
    if best.empty:
        st.info("There is no measured student yet.")
        return
    order = best.sort_values("wer")["number"].tolist() if "wer" in best else best["number"].tolist()
    labels = dict(zip(trials["number"], trials["label"], strict=True))
    choices = [*dict.fromkeys([*listeners(trials["number"]), *order]), _TEACHER]
    key = f"listeners-{study.id}-{st.query_params.get(LISTENERS, '')}"
    if key not in st.session_state:
        st.session_state[key] = _first(trials, order) + [_TEACHER] * _has_teacher(study)
    st.session_state[key] = [n for n in st.session_state[key] if n in choices]
    chosen = st.multiselect(
        "Who listens",
        choices,
        key=key,
        format_func=lambda n: "teacher" if n == _TEACHER else f"trial {n}: {labels[n]}",
    )
    left, right = st.columns(2)
    spoken = left.audio_input("Speak", sample_rate=SAMPLE_RATE_HZ, on_change=_heard, args=(True,))
    given = right.file_uploader(
        "Or give a recording",
        ["wav", "flac", "ogg", "mp3", "aiff"],
        key="recording",
        on_change=_heard,
        args=(False,),
    )
    source = (spoken or given) if st.session_state.get("spoke_last") else (given or spoken)
    if source is None:
        st.caption("Nothing leaves this machine: the students run here, on its processor.")
        return
    samples = _read(source.getvalue(), Path(source.name).suffix)
    if samples is not None:
        _listen(study, chosen, samples)


def _first(trials: pd.DataFrame, order: list[int]) -> list[int]:
    """Who listens at first: whom the address names, or the one to ship and the fewest errors."""
    if asked := listeners(trials["number"]):
        return asked
    answer = answer_of(trials)
    ships = [] if answer is None else [answer.number]
    return list(dict.fromkeys([*ships, *order]))[:2]


def _heard(is_spoken: bool) -> None:
    st.session_state["spoke_last"] = is_spoken


def _has_teacher(study: Study) -> bool:
    return results(study, None).export is not None or "model" in (study.imported or {})


def _read(content: bytes, suffix: str) -> np.ndarray | None:
    """Samples of what was given; None, with the reason on the page, where it is not audio."""
    safe = suffix if suffix.lstrip(".").isalnum() and len(suffix) < 8 else ".wav"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"recording{safe}"
        path.write_bytes(content)
        try:
            samples = read_audio(str(path), duration_s=_MOST_S + 1)  # no more, however long it is
        except WorkError as error:
            st.error("This recording cannot be read.")
            st.text(redact(error))
            return None
    if len(samples) > _MOST_S * SAMPLE_RATE_HZ:
        st.warning(f"Only the first {_MOST_S:.0f} seconds are heard.")
    return samples[: round(_MOST_S * SAMPLE_RATE_HZ)]


def _listen(study: Study, chosen: list[int], samples: np.ndarray) -> None:
    """Who wrote what, and how long it took: taken once, however often the page is drawn."""
    asked = (study.id, tuple(chosen), hashlib.sha256(samples.tobytes()).hexdigest())
    if st.session_state.get(_HEARD, (None, None))[0] != asked:
        st.session_state[_HEARD] = (asked, _heard_by(study, chosen, samples))
    rows: list[_Heard] = st.session_state[_HEARD][1]
    seconds = len(samples) / SAMPLE_RATE_HZ
    st.caption(
        f"{seconds:.1f} s of audio, samples to text: the median of {_RUNS} runs here and "
        "the quarter below and above, taken in turn; what else runs on this machine is in it"
    )
    for row in rows:
        with st.container(border=True):
            st.markdown(f"**{row.who}** · {row.spent}")
            st.text(row.text or "(nothing)")


@dataclass(frozen=True)
class _Heard:
    who: str
    text: str
    spent: str


def _heard_by(study: Study, chosen: list[int], samples: np.ndarray) -> list[_Heard]:
    opened: dict[str, Recognizer] = {}
    texts: dict[str, str] = {}
    for number in chosen:
        name = "teacher" if number == _TEACHER else f"trial {number}"
        try:
            recognizer = _recognizer(study.name, number)
            texts[name] = plain(recognizer.transcribe(samples), 2000)
            opened[name] = recognizer
        except (WorkError, UsageFault, ArtifactError) as error:
            texts[name] = redact(error, 300)
    spent_ms = _times_ms(opened, samples)
    return [
        _Heard(who, text, _spread(spent_ms[who]) if who in spent_ms else "–")
        for who, text in texts.items()
    ]


def _times_ms(opened: Mapping[str, Recognizer], samples: np.ndarray) -> dict[str, list[float]]:
    """By who listens, of runs in turn: what disturbs the machine disturbs all of them."""
    spent_ms: dict[str, list[float]] = {name: [] for name in opened}
    for _ in range(_RUNS):
        for name, recognizer in opened.items():
            start = time.perf_counter()
            recognizer.transcribe(samples)
            spent_ms[name].append((time.perf_counter() - start) * 1000)
    return spent_ms


def _spread(spent_ms: list[float]) -> str:
    low, middle, high = np.percentile(spent_ms, [25, 50, 75])
    return f"{middle:.1f} ms ({low:.1f} to {high:.1f})"


@st.cache_resource(show_spinner="Loading …", max_entries=12)
def _recognizer(name: str, number: int) -> Recognizer:
    """A student or the teacher in ONNX Runtime."""
    study = store().studies.get(name)
    space = space_of(study)
    who = None if number == _TEACHER else number
    made = results(study, who)
    brought = (study.imported or {}) if who is None else {}
    with tempfile.TemporaryDirectory() as folder:
        onnx, tokens = model_of(space, None, made, brought)
        model = onnx.files[onnx.main]
        at = artifacts().fetch(model, Path(folder) / "model.onnx")
        written = artifacts().fetch(tokens, Path(folder) / "tokens.txt")
        recipe = None if who is None else store().trials.get(study.id, who).recipe
        return open_model(at, written, front_end=FrontEnd.of_recipe(recipe))


page()
