"""`search compress`: one model, made smaller step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search.cli.common import home_of, progress_bar
from search.errors import UsageFault

if TYPE_CHECKING:
    from search.compress.run import Outcome, Stage
    from spaces.space import Search

_STAGE_TIMEOUT_S = 7200.0


@click.command("compress")
@click.argument("target", metavar="OUT", type=click.Path())
@click.option(
    "--model", required=True, type=click.Path(), help="ONNX, checkpoint, bundle, HF folder."
)
@click.option("--tokens", type=click.Path(), help="Of an ONNX file [default: tokens.txt beside].")
@click.option("--as-recorded", is_flag=True, help="It hears samples that are not normalised.")
@click.option("--data", "judged_by", required=True, type=click.Path(), help="What judges it.")
@click.option("--train", type=click.Path(), help="To train on after pruning, and to calibrate.")
@click.option("--steps", default="quantize", show_default=True, help="In their order.")
@click.option("--loss-limit", default="1", show_default=True, help="Points of WER; or one a step.")
@click.option("--epochs", type=click.IntRange(1), default=12, show_default=True)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1, min_open=True),
    default=2e-3,
    show_default=True,
    help="Of training after pruning.",
)
@click.option("--target-file", type=click.Path(), help="Settings of this machine as a target.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--overwrite", is_flag=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def compress_command(
    ctx: click.Context,
    target: str,
    model: str,
    tokens: str | None,
    as_recorded: bool,
    judged_by: str,
    train: str | None,
    steps: str,
    loss_limit: str,
    epochs: int,
    learning_rate: float,
    target_file: str | None,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Take steps one after another, each checked on the audio of --data before the next, and write
    the smallest model that held to the folder OUT, or to OUT.zip.

    A step is quantize (8 bits, as suits the network), fp16, int8_dynamic, int8_static, int4, or
    prune:0.3 (a share of every width goes, then it is trained again on --train, taught by the
    model that was brought). A limit is how many points of WER above the model as it was brought a
    step may end; the first that ends above its limit is not taken, and nothing after it. Without
    --train one utterance in ten of --data calibrates 8-bit ranges and judges nothing.

    Times are taken on this machine; --target-file names a YAML file with the target's settings:
    threads, filter_bank, how long and how often.

    A model on raw samples (a CTC model of Hugging Face, in its folder, or exported to ONNX) becomes
    a package that hears samples.

    What is done is kept in the home: the same command goes on from there.

    \b
    Examples:
      search compress --model teacher.onnx --data dev.jsonl small.zip
      search compress --model wav2vec2-base-960h/ --data dev.jsonl --steps int8_dynamic small.zip
      search compress --model net.safetensors --data dev.jsonl --train train.jsonl \\
          --steps prune:0.2,quantize,int4 --loss-limit 1,1,2 small.zip
    """
    import json
    import tempfile
    from contextlib import closing
    from functools import partial

    from search.bundle.write import check_target
    from search.compress.brought import bring, data_of
    from search.compress.package import log_of, write_package
    from search.compress.run import Plan, check_steps, compress
    from search.compress.steps import parse_steps
    from search.executors.local import LocalExecutor
    from search.study.host import host_digest, runtime_versions
    from search.study.place import place_of
    from spaces.recipe import Training
    from storage.artifacts import ArtifactStore
    from workers.probe.machine import usable_cores

    parsed = parse_steps(steps, loss_limit)
    check_target(Path(target), overwrite)
    place = place_of(_search(device), deterministic=False)
    timed_on = _timed_on(target_file)
    if Path(model).exists():
        check_steps(parsed, model.endswith(".safetensors"), train is not None)
    home = home_of(ctx)
    workspace, artifacts = home.workspace(), ArtifactStore(home.artifacts_url)
    with tempfile.TemporaryDirectory() as work:
        brought = bring(
            Path(model),
            Path(tokens) if tokens else None,
            Path(work),
            artifacts,
            as_recorded=as_recorded,
        )
    plan = Plan(
        brought=brought,
        steps=parsed,
        data=data_of(
            judged_by,
            train,
            workspace.work / "compress",
            is_trained=any(step.is_pruning for step in parsed),
        ),
        training=Training(epochs=epochs, learning_rate=learning_rate),
        threads=usable_cores(),
        host=host_digest(runtime_versions(("onnxruntime",))),
        workspace=workspace,
        place=place,
        **timed_on,
    )
    executor = LocalExecutor(workspace, _STAGE_TIMEOUT_S)
    with closing(executor), progress_bar() as progress:
        outcome = compress(plan, executor, progress, partial(_tell, err=as_json))
    if len(outcome.stages) == 2 and outcome.broken is not None:
        raise UsageFault(
            f'the first step, "{outcome.broken.name}", breaks its limit: nothing was written; give '
            "another step, more --epochs where it is pruned, or a wider --loss-limit"
        )
    written = write_package(plan, outcome, artifacts, Path(target), overwrite)
    if as_json:
        click.echo(json.dumps(log_of(outcome.stages), indent=1))
    else:
        click.echo(_verdict(outcome, written))


def _timed_on(file: str | None) -> dict[str, Any]:
    """Name and settings of the target of a file.

    Raises:
        UsageFault: when it names several, or one of another device or runtime.
        SpaceError: when it cannot be read.
    """
    from spaces.target_file import load_targets

    if file is None:
        return {}
    targets = load_targets(file)
    if len(targets) > 1:
        raise UsageFault(
            f"--target-file: {file}: names {len(targets)} targets ({', '.join(targets)}); a model "
            "is made smaller for one"
        )
    ((name, target),) = targets.items()
    if target.is_remote:
        raise UsageFault(
            f"--target-file: {file}: {name} is another device; steps are timed on this machine. A "
            "study is measured there, also one of the teacher alone: students: {teacher: {}}"
        )
    if target.backend != "onnxruntime":
        raise UsageFault(
            f"--target-file: {file}: {name} is of {target.backend}; the steps are those of ONNX "
            "Runtime, so its target has to be of it"
        )
    return {"target_name": name, "target": target}


def _search(device: str) -> Search:
    from pydantic import ValidationError

    from spaces.space import Search

    try:
        return Search(device=device)
    except ValidationError as error:
        raise UsageFault(f'--device: "{device}" is none of auto, cpu, cuda, cuda:1, mps') from error


def _tell(stage: Stage, err: bool) -> None:
    click.echo(_line(stage), err=err)


def _line(stage: Stage) -> str:
    """One step in a line."""
    from search.report.labels import format_metric

    size, p50, wer = (
        format_metric(m, stage.value(m)) for m in ("size_mb", "latency_p50_ms", "wer")
    )
    unsteady = " (times unsteady)" if stage.value("unsteady") else ""
    figures = f"{stage.name}: {size}, p50 {p50}{unsteady}, WER {wer}"
    if (loss := stage.loss) is None:
        return figures
    value, low, high = (100 * share for share in (loss.value, loss.low, loss.high))
    points = f"{value:+.2f} points (95 %: {low:+.2f} to {high:+.2f}), limit {100 * loss.limit:g}"
    verdict = "BROKEN" if loss.is_broken else "held"
    doubt = "" if loss.is_told else ", not told for sure by this audio"
    return f"{figures}; {points}: {verdict}{doubt}"


def _verdict(outcome: Outcome, written: Path) -> str:
    first, kept = outcome.stages[0], outcome.kept
    share = first.value("size_mb") / kept.value("size_mb")
    stopped = f'; stopped before "{outcome.broken.name}"' if outcome.broken else ""
    return f'wrote {written}: the model after "{kept.name}", {share:.1f} times smaller{stopped}'
