"""Studies and progress: what runs, what it came to, what happened."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.caching import costs, frame, space_of, stage_runs
from dashboard.context import store
from dashboard.parts.address import chosen_trial, close_trial, open_trial
from dashboard.parts.answer import answer_card
from dashboard.parts.choice import study_or_stop
from dashboard.parts.control import steer_study, write_notes
from dashboard.parts.pulse import pulse
from dashboard.parts.trial import no_such_trial, show_trial
from dashboard.queries import events, is_alive
from search.analysis.front import hypervolumes, reference_point
from search.progress import LiveStatus
from search.report.charts import over_time
from search.report.labels import clock
from search.report.page import write_report
from search.report.redaction import file_name, markdown, redact
from spaces.metrics import MetricRef
from storage.records import Study, TrialState

_MOST_FAILED = 8
_LIVE_S = 10.0


def page() -> None:
    study = study_or_stop()
    st.title(markdown(study.name))
    trials = frame(study)
    if len(trials):
        answer = answer_card(study, space_of(study), trials)
        _opened(study, trials, None if answer is None else answer.number)
        st.download_button(
            "Report",
            lambda: _report(study),
            f"{file_name(study.name)}.html",
            "text/html",
            on_click="ignore",
            icon=":material/description:",
            help="Answer, front, recipes and all figures as one page that needs no server",
        )
    _progress(study, trials)
    _failures(study, trials)
    steer_study(study)
    _history(study, trials)
    write_notes(study, None)
    _all_studies()


def _report(study: Study) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        write_report(path, store(), study, space_of(study))
        return path.read_bytes()


def _opened(study: Study, trials: pd.DataFrame, ship: int | None) -> None:
    """A trial that was opened from here, in sight."""
    number = chosen_trial(trials["number"])
    no_such_trial(study, trials)
    if number is not None:
        with st.container(border=True, key="trial-here"):
            st.button("Close", on_click=close_trial, icon=":material/close:", key="close-trial")
            show_trial(study, space_of(study), number, trials, ship)


def _progress(study: Study, trials: pd.DataFrame) -> None:
    """How far the study is."""
    counts = trials["state"].value_counts() if len(trials) else pd.Series(dtype=int)
    finals = sum(counts.get(s, 0) for s in TrialState if s.is_final)
    compute = float(trials["compute_s"].sum()) if len(trials) else 0.0
    compute += sum(float(str(r.result.get("cpu_s", 0))) for r in stage_runs(study, None))
    tiles = {
        "State": _state(study),
        "Trials": f"{finals} of {study.trials_wanted}",
        "On the front": str(int(trials["on_front"].sum()) if len(trials) else 0),
        "Time so far": clock(study.elapsed_s),
        "CPU time spent": clock(compute),
    }
    with st.container(horizontal=True, gap="large"):
        for name, told in tiles.items():
            st.metric(name, told, width="content")
    st.progress(min(1.0, finals / max(1, study.trials_wanted)), _eta(study))
    if len(counts):
        counted = [f"{n} {str(s).replace('_', ' ')}" for s, n in counts.items()]
        st.caption(" · ".join(counted))
    every_s = _LIVE_S if is_alive(study) else None
    st.fragment(_running, run_every=every_s)(study.name)
    if (live := LiveStatus.of(study)) is not None and is_alive(study):
        _devices(study, live)
    if study.state.value == "failed":
        last = [e for e in store().events.of(study.id, 20) if e.kind == "fault"]
        st.error("The study could not go on.")
        st.text(redact(last[-1].message if last else "its log says why"))


def _state(study: Study) -> str:
    if study.state.is_live and not is_alive(study):
        return "not running"
    return str(study.state)


def _eta(study: Study) -> str:
    if not is_alive(study):
        hint = "continue it with search launch" if study.state.is_live else ""
        return hint or f"{study.state}"
    live = LiveStatus.of(study)
    eta_s = None if live is None else live.eta_s
    return "time to go: not known yet" if eta_s is None else f"about {clock(eta_s)} to go"


def _running(name: str) -> None:
    """Workers at work, and devices that are waited for: from what all sessions share."""
    live = pulse(name).live
    if live is None:
        return
    rows = []
    for running in live.running:
        far = running.progress
        rows.append(
            {
                "who": "study" if running.trial is None else f"trial {running.trial}",
                "stage": running.stage,
                "how far": f"{far.what} {far.done} of {far.of}" if far else "",
                "since": clock(running.elapsed_s),
            }
        )
    st.subheader(f"Workers on {markdown(live.host, 60)}")
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="What each worker does now")
    else:
        st.caption("none is at work")
    for waits in live.waiting:
        st.warning(markdown(waits))


def _devices(study: Study, live: LiveStatus) -> None:
    """Each target: what it has measured, and whether it can be reached."""
    trials, space = frame(study), space_of(study)
    at_work = {running.stage.partition("@")[2] for running in live.running}
    rows = []
    for name, target in space.targets.items():
        plain = MetricRef("latency_p50_ms")
        column = plain if name == space.first_target else plain.on(name)
        away_s = live.away_s.get(name)
        count = int(trials[column].notna().sum()) if column in trials else 0
        state = "measures" if name in at_work else "answers" if count else "not asked yet"
        rows.append(
            {
                "target": name,
                "where": "device" if target.is_remote else "this machine",
                "runtime": target.backend,
                "trials measured": count,
                "now": state if away_s is None else f"away for {clock(away_s)}",
            }
        )
    st.subheader("Devices")
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Targets, and which can be reached")


def _failures(study: Study, trials: pd.DataFrame) -> None:
    """Why trials failed, without being asked; a row opens the trial."""
    failed = trials[trials["state"] == "failed"].iloc[::-1]
    if failed.empty:
        return
    st.subheader(f"{len(failed)} failed")
    numbers = failed["number"].tolist()
    table = pd.DataFrame(
        {
            "trial": numbers,
            "why": [
                redact(why, 400) if isinstance(why, str) else "its log says why"
                for why in failed["reason"]
            ],
            "student": failed["label"].tolist(),
        }
    )
    key = f"failed-{study.id}-{len(failed)}"

    def opened() -> None:
        for place in st.session_state[key]["selection"]["rows"]:
            open_trial(int(numbers[place]))

    st.dataframe(
        table,
        hide_index=True,
        key=key,
        on_select=opened,
        selection_mode="single-row",
        height="content" if len(failed) < _MOST_FAILED else 320,
        alt="Trials that failed, with the reason; choosing a row opens the trial",
    )


def _history(study: Study, trials: pd.DataFrame) -> None:
    """Trials and hypervolume over time, and the events."""
    done = trials.dropna(subset=["finished_at"]).sort_values("finished_at")
    if len(done):
        _grown(study, done)
    if st.toggle("Compute by stage", key=f"costs of {study.id}"):
        _compute(study)
    st.subheader("Events")
    happened = events(store(), study)
    if happened.empty:
        st.caption("none yet")
        return
    happened["message"] = happened["message"].map(lambda m: redact(m, 1000))
    st.dataframe(
        happened,
        hide_index=True,
        height=320,
        column_config={"time": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss")},
        alt="The last events of the study, newest first",
    )


def _compute(study: Study) -> None:
    """Where the CPU time went: data, teacher and supernets, rungs and trainings, exports, scores
    and measurements."""
    found = costs(study)
    whole_s = sum(cost.cpu_s for cost in found) or 1.0
    rows = [
        {
            "of": "trials" if cost.of_trials else "study",
            "stage": cost.stage,
            "CPU time": clock(cost.cpu_s),
            "share": f"{cost.cpu_s / whole_s:.0%}",
            "done": cost.n_done,
            "found done": cost.n_found_done,
            "failed": cost.n_failed,
        }
        for cost in found
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Compute by stage")


def _grown(study: Study, done: pd.DataFrame) -> None:
    """Finished trials over time, and what they came to together."""
    trials = frame(study)
    passed_s = done["finished_at"] - study.created_at
    unit, length_s = ("hours", 3600) if passed_s.max() > 7200 else ("minutes", 60)
    passed = passed_s / length_s
    charts = st.columns(3)
    series = {}
    for state in done["state"].unique():
        is_state = done["state"] == state
        counts = list(range(int(is_state.sum()) + 1))
        series[str(state).replace("_", " ")] = (
            [0.0, *passed[is_state], passed.max()],
            [*counts, counts[-1]],
        )
    charts[0].plotly_chart(
        over_time(series, f"{unit} of the study", "trials"),
        key="trials-over-time",
        alt="Finished trials by state over time",
    )
    objectives = space_of(study).objectives
    known = [o for o in objectives if o in trials]
    if len(known) == len(objectives):
        grown = hypervolumes(trials, known, reference_point(trials, known, study.teacher_metrics))
        ends = (grown["finished_at"] - study.created_at) / length_s
        for chart, x, axis in (
            (charts[1], grown["trials"], "complete trials"),
            (charts[2], ends, f"{unit} of the study"),
        ):
            chart.plotly_chart(
                over_time(
                    {"hypervolume": (list(x), list(grown["hypervolume"]))}, axis, "hypervolume"
                ),
                key=f"hypervolume over {axis}",
                alt=f"Hypervolume over {axis}",
            )
        now = float(grown["hypervolume"].iloc[-1]) if len(grown) else 0.0
        st.caption(
            f"Hypervolume {now:.3f}: the share of what could be had (1 is no errors at no cost, 0 "
            "the teacher's cost with every word wrong) that some student reaches. It levels off "
            "when more trials bring little."
        )


def _all_studies() -> None:
    studies = store().studies.all()
    if len(studies) < 2:
        return
    st.subheader("All studies in this store")
    rows = [
        {
            "study": s.name,
            "state": _state(s),
            "trials wanted": s.trials_wanted,
            "begun": time.strftime("%Y-%m-%d %H:%M", time.localtime(s.created_at)),
        }
        for s in studies
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Every study of the store")


page()
