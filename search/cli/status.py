"""`search status`: how the studies of a home stand."""

from __future__ import annotations

import json
from collections import Counter

import click

from search.cli.common import home_of, open_store, study_named


@click.command("status")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--json", "as_json", is_flag=True)
@click.option("--events", type=click.IntRange(0), default=8, show_default=True)
@click.pass_context
def status_command(ctx: click.Context, name: str | None, as_json: bool, events: int) -> None:
    """What the studies are doing: state, trials by state, last events."""
    from search.report.labels import clock
    from storage.records import Study, StudyState
    from storage.store import Store

    def facts(store: Store, study: Study) -> dict[str, object]:
        trials = store.trials.of(study.id)
        is_alive = _is_held(home_of(ctx).study_lock(study.name))
        state = study.state
        if state in (StudyState.RUNNING, StudyState.PAUSED) and not is_alive:
            state = StudyState.STOPPED
        return {
            "study": study.name,
            "state": str(state),
            "interrupted": state != study.state,
            "trials": len(trials),
            "trials_wanted": study.trials_wanted,
            "by_state": dict(Counter(str(t.state) for t in trials)),
            "elapsed_s": study.elapsed_s,
            "compute_s": sum(t.compute_s for t in trials),
            "teacher": dict(study.teacher_metrics) or None,
        }

    with open_store(ctx) as store:
        studies = store.studies.all() if name is None else [study_named(store, name)]
        rows = [facts(store, s) for s in studies]
        if as_json:
            click.echo(json.dumps(rows, indent=1))
            return
        for study, row in zip(studies, rows, strict=True):
            states = row["by_state"]
            assert isinstance(states, dict)
            counts = ", ".join(f"{n} {s.replace('_', ' ')}" for s, n in states.items())
            note = " (interrupted: `search launch` continues it)" if row["interrupted"] else ""
            click.echo(
                f"{row['study']}: {row['state']}{note}, "
                f"{row['trials']}/{row['trials_wanted']} trials ({counts or 'none yet'}), "
                f"{clock(float(str(row['elapsed_s'])))} so far"
            )
            for event in store.events.of(study.id, last=events):
                click.echo(f"  {event.message}")


def _is_held(path: object) -> bool:
    """Whether a coordinator holds the study's lock on this host."""
    from pathlib import Path

    from filelock import FileLock, Timeout

    if not Path(str(path)).exists():
        return False
    lock = FileLock(str(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
