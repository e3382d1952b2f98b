"""`search attach`: watch a study that another process runs, as if this one did."""

from __future__ import annotations

import time

import click

from search.cli.common import open_store, space_of, study_named
from search.errors import UsageFault
from search.progress import SILENT_S, LiveStatus, Snapshot
from storage.records import Study
from storage.store import Store

_LOOK_S = 1.0


@click.command("attach")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@click.pass_context
def attach_command(ctx: click.Context, name: str | None, as_json: bool, plain: bool) -> None:
    """Watch a study that runs elsewhere: from another shell, another host, or in the background
    (`search launch --detach`). Ctrl-C ends the watching, not the study.

    \b
    Examples:
      search launch --space edge.yaml --detach
      search attach edge
    """
    from search.report.terminal import open_view

    with open_store(ctx) as store:
        study = study_named(store, name)
        if not study.state.is_live:
            raise UsageFault(
                f'study "{study.name}" is {study.state}, not running; continue it with '
                "`search launch`"
            )
        space, seen = space_of(study), store.events.last_id(study.id)
        try:
            with open_view(as_json, plain) as view:
                while study.state.is_live:
                    for event in store.events.since(study.id, seen):
                        view.event(event)
                        seen = event.id
                    live = LiveStatus.of(study)
                    if live is not None:
                        view.tick(_snapshot(store, study, live, space))
                    _check_signs(study, live)
                    time.sleep(_LOOK_S)
                    study = store.studies.get(study.name)
                for event in store.events.since(study.id, seen):
                    view.event(event)
        except KeyboardInterrupt:
            click.echo(f"no longer watching; {study.name} goes on: search status {study.name}")


def _snapshot(store: Store, study: Study, live: LiveStatus, space: object) -> Snapshot:
    return Snapshot(
        study=study,
        space=space,  # type: ignore[arg-type]
        trials=store.trials.of(study.id),
        running=live.running,
        elapsed_s=live.elapsed_s,
        eta_s=live.eta_s,
        waiting=live.waiting,
        away_s=live.away_s,
    )


def _check_signs(study: Study, live: LiveStatus | None) -> None:
    """A coordinator that was killed says nothing more.

    Raises:
        UsageFault: saying how to go on.
    """
    if live is not None and time.time() - live.at > SILENT_S:
        raise UsageFault(
            f'study "{study.name}" has given no sign of life for {SILENT_S:.0f} s; continue it '
            "with `search launch`"
        )
