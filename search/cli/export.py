"""`search export`: write the package of one student."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.common import check_output, home_of, open_store, space_of, study_named, whole_number
from search.errors import UsageFault

if TYPE_CHECKING:
    from spaces.space import Space
    from storage.records import Study
    from storage.store import Store

_FOLDERS = ("triton", "browser")  # forms that are made of a bundle for ONNX Runtime


@click.command("export")
@click.argument("target", metavar="OUT", type=click.Path())
@click.option("--study", "name", help="Needed when there are several.")
@click.option("--trial", help="Number of the trial, or teacher.")
@click.option("--ship", is_flag=True, help="Instead: the one that `search front` says to ship …")
@click.option("--best", metavar="METRIC", help="… or the trial best in this metric …")
@click.option("--front", is_flag=True, help="… or several, and a policy that chooses …")
@click.option("--where", help='… among those, e.g. "size_mb<=15 and latency_p95_ms<=50".')
@click.option("--target", "measured_on", help="For this target's runtime [default: the first].")
@click.option(
    "--form",
    type=click.Choice(["onnx", "openvino", "litert", "executorch", "ncnn", "mnn", *_FOLDERS]),
    help="For this runtime, or a folder: Triton's repository, a page for browsers.",
)
@click.option("--half", is_flag=True, help="Of a checkpoint: matrices in 16 bits.")
@click.option("--overwrite", is_flag=True)
@click.pass_context
def export_command(
    ctx: click.Context,
    target: str,
    name: str | None,
    trial: str | None,
    ship: bool,
    best: str | None,
    front: bool,
    where: str | None,
    measured_on: str | None,
    form: str | None,
    half: bool,
    overwrite: bool,
) -> None:
    """Write model, tokens, recipe, measurements and card to the folder OUT, or to OUT.zip; to
    OUT.safetensors the network as a checkpoint, which can be a teacher (`teacher: {checkpoint:
    …}`) or be made smaller (`search compress`).

    \b
    Examples:
      search export --study edge --trial 17 student/
      search export --ship --where "size_mb<=15 and latency_p95_ms<=50" student.zip
      search export --best wer student.zip
      search export --front --where "size_mb<=15" front/        for `search serve front/`
      search export --ship --form browser page/
      search export --trial teacher teacher.zip
      search export --trial teacher --half teacher.safetensors
    """
    from search.analysis.answer import trial_to_ship
    from search.analysis.pick import best_trial
    from search.analysis.trial_frame import study_frame
    from search.bundle.checkpoint import SUFFIX, write_checkpoint
    from search.bundle.forms.make import make_form
    from search.bundle.subject import TEACHER, of_teacher, of_trial
    from search.bundle.verify import manifest_digest
    from search.bundle.write import write_bundle
    from storage.artifacts import ArtifactStore

    if (trial is not None) + (best is not None) + ship + front != 1:
        raise UsageFault(
            "name the student: either --trial NUMBER, --ship, --best METRIC or --front"
        )
    if where is not None and trial is not None:
        raise UsageFault("--where goes with --ship, --best and --front")
    is_checkpoint = Path(target).suffix == SUFFIX
    if half and not is_checkpoint:
        raise UsageFault(f"--half goes with a checkpoint: an OUT that ends in {SUFFIX}")
    if is_checkpoint and measured_on is not None:
        raise UsageFault("--target: a checkpoint is made for no runtime")
    if front and (is_checkpoint or measured_on is not None or form is not None):
        raise UsageFault("--front is for the first target, and no checkpoint or other form")
    if form is not None and (is_checkpoint or measured_on is not None):
        raise UsageFault("--form: a checkpoint is no form, and --target says one already")
    with open_store(ctx) as store:
        study = study_named(store, name)
        if front:
            _export_front(ctx, store, study, where, Path(target), overwrite)
            return
        number = None
        if ship:
            frame = study_frame(store, study, space_of(study))
            number = trial_to_ship(frame, where, measured_on or "")
        elif best is not None:
            number = best_trial(study_frame(store, study, space_of(study)), best, where)
        elif trial is not None and trial != TEACHER:
            number = whole_number(trial, "--trial")
        record = None if number is None else store.trials.get(study.id, number)
        artifacts = ArtifactStore(home_of(ctx).artifacts_url)
        space, out = space_of(study), Path(target)
        if form is not None and form not in _FOLDERS:
            measured_on = _target_of(space, form)
        if is_checkpoint:
            subject = (
                of_teacher(store, study, space)
                if record is None
                else of_trial(store, study, record)
            )
            check_output(out, overwrite)
            written = write_checkpoint(subject, artifacts, out, half)
        elif form in _FOLDERS:
            with tempfile.TemporaryDirectory() as work:
                bundle = Path(work) / "bundle"
                write_bundle(store, artifacts, study, space, record, bundle, measured_on=None)
                written = make_form(form, bundle, out, overwrite)
        else:
            written = write_bundle(
                store, artifacts, study, space, record, out, overwrite, measured_on
            )
    who = TEACHER if number is None else f"trial {number}"
    click.echo(f"{who} of {study.name}: wrote {written}")
    if not is_checkpoint and form not in _FOLDERS:
        click.echo(f"its digest, by which `search verify` knows it: {manifest_digest(written)}")


def _target_of(space: Space, form: str) -> str:
    """The target whose runtime has that form."""
    backend = "onnxruntime" if form == "onnx" else form
    found = [name for name, target in space.targets.items() if target.backend == backend]
    if not found:
        raise UsageFault(
            f"--form {form}: no target of the study runs {backend}, so nothing was measured in "
            "that form; add one: search measure --target-file"
        )
    return found[0]


def _export_front(
    ctx: click.Context,
    store: Store,
    study: Study,
    where: str | None,
    target: Path,
    overwrite: bool,
) -> None:
    from search.analysis.trial_frame import study_frame
    from search.bundle.several import members_of_front, write_several
    from search.bundle.write import write_bundle
    from storage.artifacts import ArtifactStore

    space = space_of(study)
    artifacts = ArtifactStore(home_of(ctx).artifacts_url)
    frame = study_frame(store, study, space)
    members = members_of_front(frame, where)

    def write(number: int, path: Path) -> Path:
        record = store.trials.get(study.id, number)
        return write_bundle(store, artifacts, study, space, record, path)

    written = write_several(frame, space, members, write, target, overwrite)
    told = ", ".join(map(str, members))
    click.echo(f"trials {told} of {study.name}, fewest errors first: wrote {written}")
