"""Try it: speak or upload, and read what students and teacher make of it, and how fast."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.caching import frame, results, space_of
from dashboard.context import artifacts, store
from dashboard.parts.choice import study_or_stop
from search.errors import UsageFault
from search.report.redaction import plain, redact
from search.results import model_of
from storage.errors import ArtifactError
from storage.records import Study
from workers.data.audio import read_audio
from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import WorkError
from workers.recognizer import Recognizer, open_model

_MOST_S = 60.0
_TEACHER = -1


def page() -> None:
    study = study_or_stop()
    st.title("Try it")
    trials = frame(study)
    best = trials[trials["on_front"]] if len(trials) else trials
    if best.empty:
        st.info("There is no measured student yet.")
        return
    order = best.sort_values("wer")["number"].tolist() if "wer" in best else best["number"].tolist()
    labels = dict(zip(trials["number"], trials["label"], strict=True))
    choices = [*order, _TEACHER]
    key = f"listeners-{study.id}"
    if key not in st.session_state:
        st.session_state[key] = order[:2] + [_TEACHER] * _has_teacher(study)
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
    rows = []
    for number in chosen:
        name = "teacher" if number == _TEACHER else f"trial {number}"
        try:
            recognizer = _recognizer(study.name, number)
            recognizer.transcribe(samples)  # the first time is slower: caches, memory
            start = time.perf_counter()
            text = recognizer.transcribe(samples)
            spent_ms = (time.perf_counter() - start) * 1000
        except (WorkError, UsageFault, ArtifactError) as error:
            rows.append({"who": name, "text": redact(error, 300), "time here": "–"})
            continue
        rows.append({"who": name, "text": plain(text, 2000), "time here": f"{spent_ms:.1f} ms"})
    seconds = len(samples) / SAMPLE_RATE_HZ
    st.caption(f"{seconds:.1f} s of audio; one thread of this machine, samples to text")
    st.dataframe(pd.DataFrame(rows), hide_index=True, row_height=60, alt="Who wrote what")


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
        return open_model(at, artifacts().fetch(tokens, Path(folder) / "tokens.txt"))


page()
