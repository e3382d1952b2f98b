"""`search send`: the record of a study, handed to another tool through its own client."""

from __future__ import annotations

import click

from search.cli.common import open_store, progress_bar, space_of, study_named


@click.command("send")
@click.argument("name", metavar="STUDY")
@click.argument("tool", type=click.Choice(["optuna", "mlflow", "wandb", "traces"]))
@click.argument("where", required=False)
@click.pass_context
def send_command(ctx: click.Context, name: str, tool: str, where: str | None) -> None:
    """Hand the trials of a study to Optuna, MLflow or Weights & Biases, or its stages as traces to
    OpenTelemetry. What was sent before is not sent again, so that a running study may be sent
    now and then.

    \b
    Examples:
      search send edge optuna sqlite:///optuna.db     then: optuna-dashboard sqlite:///optuna.db
      search send edge mlflow http://mlflow:5000
      search send edge wandb my-project
      search send edge traces http://collector:4318
    """
    from search.errors import UsageFault
    from search.observing import receivers

    if where is None and tool in ("optuna", "mlflow"):
        raise UsageFault(f"search send {name} {tool} WHERE: to which storage or server?")
    with open_store(ctx) as store, progress_bar() as progress, receivers.in_words(tool):
        study = study_named(store, name)
        trials = store.trials.of(study.id)
        if tool == "optuna":
            assert where is not None
            n = receivers.to_optuna(study, space_of(study), trials, where, progress)
        elif tool == "mlflow":
            assert where is not None
            n = receivers.to_mlflow(study, trials, where, progress)
        elif tool == "wandb":
            n = receivers.to_wandb(study, trials, where or study.name, progress)
        else:
            n = receivers.to_traces(study, store.stage_runs.of(study.id), where)
    click.echo(f"{study.name}: sent {n} {'traces' if tool == 'traces' else 'trials'} to {tool}")
