"""`search attach`: watch a study that another process runs, as if this one did."""

from __future__ import annotations

import time

import click

from search.cli.common import check_signs, open_store, running_study, space_of
from search.progress import LiveStatus, Snapshot
from spaces.space import Space
from storage.records import Study, Trial

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
        study = running_study(store, name)
        space, seen = space_of(study), store.events.last_id(study.id)
        trials, began = store.trials.of(study.id), time.time()
        try:
            with open_view(as_json, plain) as view:
                while study.state.is_live:
                    events = store.events.since(study.id, seen)
                    for event in events:
                        view.event(event)
                        seen = event.id
                    if events:  # of ten thousand trials reading takes two seconds
                        trials = store.trials.of(study.id)
                    live = LiveStatus.of(study)
                    if live is not None:
                        view.tick(_snapshot(study, trials, live, space))
                    check_signs(study, began)
                    time.sleep(_LOOK_S)
                    study = store.studies.get(study.name)
                for event in store.events.since(study.id, seen):
                    view.event(event)
        except KeyboardInterrupt:
            click.echo(f"no longer watching; {study.name} goes on: search status {study.name}")


def _snapshot(study: Study, trials: list[Trial], live: LiveStatus, space: Space) -> Snapshot:
    return Snapshot(
        study=study,
        space=space,
        trials=trials,
        running=live.running,
        elapsed_s=live.elapsed_s,
        eta_s=live.eta_s,
        waiting=live.waiting,
        away_s=live.away_s,
    )
