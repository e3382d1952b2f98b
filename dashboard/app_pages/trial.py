"""One trial: how it was made, how it learned, where its time and its errors are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
import pandas as pd
import streamlit as st
import yaml

from dashboard.caching import dev_set, frame, results, space_of, stage_runs, texts
from dashboard.context import store
from dashboard.parts.address import chosen_trial, open_trial
from dashboard.parts.choice import study_or_stop
from dashboard.parts.control import cancel_trial, write_notes
from dashboard.parts.export import export_trial
from dashboard.parts.trial import by_target, compare_it, no_such_trial, trial_head
from dashboard.queries import samples
from search.analysis.answer import answer_of
from search.report.charts import bars, distribution, learning_curves, spectrogram, waveform
from search.report.labels import clock
from search.report.redaction import markdown, plain, redact
from spaces.space import Space
from storage.records import MEASURED, Study
from workers.data.features import FRAMES_PER_SECOND, SAMPLE_RATE_HZ
from workers.data.utterances import Utterance
from workers.results import Epoch, MeasureResult

_WORST = 20
_ASKED = "trial-asked"
_OTHERS = 12  # learning curves beside this one


@dataclass(frozen=True)
class _Of:
    """Whose parts are shown."""

    study: Study
    space: Space
    number: int
    trials: pd.DataFrame


def page() -> None:
    study = study_or_stop()
    space, trials = space_of(study), frame(study)
    st.title(f"{markdown(study.name, 60)}: trial")
    if trials.empty:
        st.info("This study has no trials yet.")
        return
    no_such_trial(study, trials)
    number = _choose(trials)
    trial_head(study, space, number, trials)
    row = trials.loc[trials["number"] == number].iloc[0]
    is_measured = row["state"] in MEASURED
    if is_measured:
        export_trial(study, space, number, str(row["state"]))
    kind = st.segmented_control(
        "Show",
        list(_PARTS),
        default="Errors" if is_measured else "Stages",
        required=True,
        key="part" if is_measured else "part-of-unmeasured",
        bind="query-params",
    )
    _PARTS[kind](_Of(study, space, number, trials))
    with st.container(horizontal=True):
        compare_it(number, trials)
        cancel_trial(study, number)
    with st.expander("All figures, by target"):
        by_target(row, space)
    write_notes(study, number)


def _choose(trials: pd.DataFrame) -> int:
    """The trial of the address, at first the one to ship."""
    labels = dict(zip(trials["number"].tolist(), trials["label"], strict=True))
    numbers = list(labels)
    number = chosen_trial(numbers)
    if number is None:
        answer = answer_of(trials)
        number = numbers[0] if answer is None else answer.number
    st.session_state[_ASKED] = number
    asked = st.selectbox(
        "Trial",
        numbers,
        key=_ASKED,
        format_func=lambda n: f"{n}: {labels[n]}",
        on_change=lambda: open_trial(int(st.session_state[_ASKED])),
    )
    return int(asked)


def _recipe(of: _Of) -> None:
    trial = store().trials.get(of.study.id, of.number)
    left, right = st.columns(2)
    left.caption("Recipe")
    left.code(yaml.safe_dump(dict(trial.recipe), sort_keys=False), language=None, wrap_lines=True)
    right.caption("Budgets and gates")
    limits = [
        {"limit": text, "verdict": "met" if excess <= 0 else f"broken by {excess:.3g}"}
        for text, excess in trial.constraints.items()
    ]
    if limits:
        right.dataframe(pd.DataFrame(limits), hide_index=True, alt="Budgets and gates")
    else:
        right.caption("none in this space")
    exported = results(of.study, of.number).export
    if exported is not None and exported.sizes:
        frame = pd.DataFrame([size.model_dump() for size in exported.sizes])
        frame["bytes"] = frame["bytes"] / 1e6
        right.caption("Size by part and number format (MB)")
        right.dataframe(
            frame.rename(columns={"bytes": "MB"}), hide_index=True, alt="Size by part and format"
        )


def _learning(of: _Of) -> None:
    mine = _history(of.study, of.number)
    if not mine:
        st.info("It was not trained, or its training has not ended.")
        return
    done = of.trials[(of.trials["state"] == "complete") & (of.trials["number"] != of.number)]
    others = [int(n) for n in done["number"].tail(_OTHERS)]
    curves = {f"trial {of.number}": mine}
    curves |= {f"trial {n}": h for n in others if (h := _history(of.study, n))}
    keys = [k for k in ("dev_wer", "train_ctc") if any(getattr(e, k) is not None for e in mine)]
    key = st.selectbox("Figure", keys, format_func=lambda k: str(k).replace("_", " "))
    st.plotly_chart(
        learning_curves(curves, str(key)),
        key="learning",
        alt=f"{key} of every epoch, this trial against {len(others)} others",
    )


def _history(study: Study, number: int) -> list[Epoch]:
    """Training, what followed pruning, and that with rounded numbers, one after the other."""
    made = results(study, number)
    stages = [stage for stage in (made.train, made.compress, made.qat) if stage is not None]
    epochs = [epoch for stage in stages for epoch in stage.history]
    return [e.model_copy(update={"epoch": i}) for i, e in enumerate(epochs, 1)]


def _stages(of: _Of) -> None:
    runs = stage_runs(of.study, of.number)
    failed = [r for r in runs if r.error]
    if failed:
        st.error(f"{failed[-1].stage} failed, attempt {failed[-1].attempt}:")
        st.text(redact(failed[-1].error, 2000))
    rows = [
        {
            "stage": r.stage,
            "attempt": r.attempt,
            "state": r.state,
            "time": clock(r.duration_s),
            "CPU s": round(float(str(r.result.get("cpu_s", 0))), 1),
            "error": redact(r.error or "", 300),
        }
        for r in runs
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The stages of the trial")
    for r in runs:
        if r.log:
            is_last = bool(failed) and r is failed[-1]
            with st.expander(f"Log of {r.stage}, attempt {r.attempt}", expanded=is_last):
                st.code(redact(r.log, 20_000, is_end=True), language=None, wrap_lines=True)


def _times(of: _Of) -> None:
    mine, teacher = (samples(store(), of.study, n, "latency_p50_ms") for n in (of.number, None))
    if not mine:
        st.info("No raw samples: it was not measured.")
    for target, values in mine.items():
        drawn = {f"trial {of.number}": values}
        if target in teacher:
            drawn["teacher"] = teacher[target]
        st.caption(f"On {markdown(target)}: whole pipeline, samples to text, {len(values)} runs")
        st.plotly_chart(
            distribution(drawn, "time of one utterance (ms)"),
            key=f"times-{target}",
            alt=f"Distribution of the raw latency samples on {target}",
        )
        found = results(of.study, of.number).measure(target)
        if found is not None:
            _measured(target, found)


def _measured(target: str, result: MeasureResult) -> None:
    machine = result.machine
    runtimes = machine.get("runtimes")
    where = [machine.get("processor"), *(runtimes if isinstance(runtimes, list | tuple) else ())]
    st.text("Measured on " + plain(", ".join(str(w) for w in where if w), 300))
    if result.unsteady:
        reasons = markdown("; ".join(result.unsteady), 600)
        st.warning(f"Unsteady: {reasons}", icon=":material/warning:")
    if not result.profile:
        return
    spent: dict[str, float] = {}
    for o in result.profile:
        spent[o.kind] = spent.get(o.kind, 0.0) + o.time_ms
    left, right = st.columns(2)
    left.plotly_chart(
        bars(spent, f"{target}: time by kind of operator (ms)", percent=False),
        key=f"kinds-{target}",
        alt="Milliseconds by kind of operator",
    )
    operators = [{"time (ms)": o.time_ms, "kind": o.kind, "name": o.name} for o in result.profile]
    right.dataframe(
        pd.DataFrame(operators),
        hide_index=True,
        height=320,
        alt="Milliseconds of each operator",
    )


def _errors(of: _Of) -> None:
    made = results(of.study, of.number)
    labels = [r.label for r in of.space.runtimes() if made.score(r.label) is not None]
    if not labels:
        st.info("It has not been scored.")
        return
    name = labels[0] if len(labels) == 1 else st.selectbox("Decoded by", labels)
    scored = made.score(str(name))
    dev, written = dev_set(of.study), texts(of.study, of.number, str(name))
    if written is None:
        st.info("What it wrote is no longer kept.")
        return
    if len(dev) != len(written):
        st.info("The prepared data of this study are no longer here, so texts cannot be aligned.")
        return
    theirs = texts(of.study, None, of.space.runtimes()[0].label)
    theirs = theirs if theirs and len(theirs) == len(dev) else None
    table = _by_utterance(dev, written, theirs, scored.errors if scored else ())
    worst = table.sort_values("errors", ascending=False).head(_WORST).reset_index(drop=True)
    st.caption(f"The {len(worst)} worst of {len(table)} utterances; choose one to hear it")
    event = st.dataframe(
        worst.drop(columns="place"),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"worst-{of.number}",
        alt="Utterances with the most word errors",
    )
    rows = event["selection"]["rows"]
    place = int(worst["place"].iloc[rows[0] if rows else 0])
    _utterance(dev[place], written[place], theirs[place] if theirs else None)


def _by_utterance(
    dev: list[Utterance], written: list[str], theirs: list[str] | None, errors: Sequence[int]
) -> pd.DataFrame:
    counts = errors if len(errors) == len(dev) else [0] * len(dev)
    columns: dict[str, Sequence[object]] = {
        "errors": counts,
        "alignment": [plain(e.text, 300) for e in dev],
        "student": [plain(t, 300) for t in written],
    }
    if theirs:
        columns["teacher"] = [plain(t, 300) for t in theirs]
    columns["seconds"] = [round(e.seconds, 1) for e in dev]
    columns["place"] = range(len(dev))
    return pd.DataFrame(columns)


def _utterance(utterance: Utterance, student: str, teacher: str | None) -> None:
    """Its sound, and what was made of it."""
    _sound(utterance)
    for who, text in (("student", student), ("teacher", teacher)):
        if text is not None and utterance.text:
            aligned = jiwer.process_words(plain(utterance.text, 2000), plain(text, 2000))
            st.caption(f"{who}: {aligned.wer:.0%} of the words wrong")
            aligned_text = jiwer.visualize_alignment(
                aligned, show_measures=False, skip_correct=False
            )
            st.code(
                aligned_text.partition("\n")[2].strip("\n") or text, language=None, wrap_lines=True
            )


def _sound(utterance: Utterance) -> None:
    from workers.data.audio import read_audio
    from workers.data.features import fbank
    from workers.errors import WorkError

    try:
        recording = read_audio(utterance.audio, utterance.offset_s, utterance.duration_s)
    except (WorkError, OSError):
        st.caption("Its audio is no longer here.")
        return
    st.audio(np.asarray(recording), sample_rate=SAMPLE_RATE_HZ)
    st.plotly_chart(waveform(recording, SAMPLE_RATE_HZ), key="waveform", alt="Waveform")
    st.plotly_chart(
        spectrogram(fbank(recording), FRAMES_PER_SECOND), key="spectrogram", alt="Spectrogram"
    )


_PARTS = {
    "Errors": _errors,
    "Times": _times,
    "Learning": _learning,
    "Recipe": _recipe,
    "Stages": _stages,
}

page()
