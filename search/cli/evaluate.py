"""`search evaluate`: word errors of exported bundles on transcribed audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.common import check_output, progress_bar
from search.errors import UsageFault

if TYPE_CHECKING:
    from search.analysis.compare import Difference
    from search.analysis.evaluation import Evaluation, Spoken
    from workers.data.corpora import ListOptions
    from workers.recognizer import Recognizer

_SHOWN_FAILED = 10


@click.command("evaluate")
@click.argument("paths", metavar="BUNDLE... LIST...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--format",
    "layout",
    type=click.Choice(["auto", "jsonl", "librispeech", "timit", "csv"]),
    default="auto",
    help="Of the lists, where their names do not tell.",
)
@click.option("--audio-column", help="Of a CSV or TSV, where it is not one of the usual names.")
@click.option("--text-column", help="The same for the transcript.")
@click.option("--speaker-column", help="The same for the speaker.")
@click.option("--keep-case", is_flag=True, help="Capitals count; else all is lower-cased.")
@click.option("--remove-punctuation", is_flag=True, help="Punctuation but the apostrophe is not.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--worst", type=click.IntRange(0), default=0, help="Show so many of the worst.")
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False), help="Write a row an utterance."
)
@click.option("--overwrite", is_flag=True, help="Of the file of --csv.")
@click.option("--json", "as_json", is_flag=True)
def evaluate_command(
    paths: tuple[str, ...],
    layout: str,
    audio_column: str | None,
    text_column: str | None,
    speaker_column: str | None,
    keep_case: bool,
    remove_punctuation: bool,
    threads: int,
    worst: int,
    csv_path: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Score bundles (folders or zips) on lists of transcribed audio, in any format that `data:` of
    a space takes: word and character errors with 95 % intervals, also by list, length and speaker;
    of several bundles how much each differs from the first, paired over utterances.

    Audio that cannot be read is named and left out. What a bundle fails on counts as nothing
    written.

    \b
    Examples:
      search evaluate student.zip test.jsonl
      search evaluate small.zip large.zip test.tsv --text-column words --worst 10
      search evaluate student.zip LibriSpeech/test-clean other.jsonl --csv errors.csv
    """
    from search.analysis.evaluation import differences, evaluate
    from search.report.evaluation import as_json as in_json
    from search.report.evaluation import utterances_frame
    from search.report.export import as_csv
    from workers.data.corpora import ListOptions
    from workers.recognizer import open_bundle

    bundles, lists = _sorted_out(paths)
    if csv_path is not None:
        check_output(Path(csv_path), overwrite)
        if not Path(csv_path).parent.is_dir():
            raise UsageFault(f"{csv_path}: no such folder {Path(csv_path).parent}")
    how = ListOptions(
        format=layout,
        audio_column=audio_column,
        text_column=text_column,
        speaker_column=speaker_column,
        lowercase=not keep_case,
        remove_punctuation=remove_punctuation,
    )
    with ExitStack() as opened, progress_bar() as progress:
        recognizers = [open_bundle(Path(bundle), threads) for bundle in bundles]
        for recognizer in recognizers:
            opened.callback(recognizer.session.close)
        spoken, faults = _read(lists, how, progress)
        written = [
            _written(bundle, recognizer, spoken, how, progress)
            for bundle, recognizer in zip(bundles, recognizers, strict=True)
        ]
    evaluations = [
        evaluate(bundle, spoken, texts) for bundle, (texts, _) in zip(bundles, written, strict=True)
    ]
    failed = [line for _, lines in written for line in lines]
    found = differences(evaluations)
    if csv_path is not None:
        Path(csv_path).write_text(as_csv(utterances_frame(spoken, evaluations)), encoding="utf-8")
    if as_json:
        click.echo(in_json(spoken, evaluations, found, faults, failed, worst))
    else:
        _print(spoken, evaluations, found, worst)
    _tell(faults, failed)
    return 1 if failed else 0


def _sorted_out(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Bundles and lists, told apart by what they are.

    Raises:
        UsageFault: when either lacks, or something is given twice.
    """
    twice = [p for i, p in enumerate(paths) if p in paths[:i]]
    if twice:
        raise UsageFault(f"{twice[0]}: is given twice")
    missing = [p for p in paths if not Path(p).exists()]
    if missing:
        raise UsageFault(f"{', '.join(missing)}: no such file or folder")
    bundles = [p for p in paths if _is_bundle(Path(p))]
    lists = [p for p in paths if p not in bundles]
    if not bundles:
        raise UsageFault(
            f"no bundle among {', '.join(paths)}: that is a .zip, or a folder with tokens.txt, as "
            "`search export` writes them"
        )
    if not lists:
        raise UsageFault("nothing to score on: name a list or folder of transcribed audio as well")
    return bundles, lists


def _is_bundle(path: Path) -> bool:
    return (path / "tokens.txt").exists() if path.is_dir() else path.suffix.lower() == ".zip"


def _read(
    lists: Sequence[str], how: ListOptions, progress: Callable[[str, int, int], None]
) -> tuple[list[Spoken], list[str]]:
    """All utterances that can be used, and the faults of the others.

    Raises:
        DataRefused: with all faults, when none can.
    """
    from search.analysis.evaluation import Spoken
    from workers.data.check import check_list, fault_lines
    from workers.errors import DataRefused

    spoken: list[Spoken] = []
    faults: list[str] = []
    for path in lists:
        good, bad = check_list(path, how, progress)
        faults += bad
        spoken += [
            Spoken(
                audio=c.listed.audio,
                source=c.listed.source,
                corpus=path,
                speaker=c.listed.speaker,
                duration_s=c.duration_s,
                reference=c.text,
                offset_s=c.listed.offset_s,
                listed_s=c.listed.duration_s,
            )
            for c in good
        ]
    if not spoken:
        lines = [f"{', '.join(lists)}: no usable utterance", *fault_lines(tuple(faults))]
        raise DataRefused("\n".join(lines))
    return spoken, faults


def _written(
    bundle: str,
    recognizer: Recognizer,
    spoken: Sequence[Spoken],
    how: ListOptions,
    progress: Callable[[str, int, int], None],
) -> tuple[list[str], list[str]]:
    """What a bundle writes of each utterance, and what it failed on.

    Raises:
        UserFault: when its files do not belong together.
        WorkError: when it fails on every utterance.
    """
    from workers.data.audio import read_audio
    from workers.data.text import normalise
    from workers.errors import BundleFault, WorkError

    texts, failed = [], []
    for done, s in enumerate(spoken, 1):
        samples = read_audio(s.audio, s.offset_s, s.listed_s)
        try:
            text = recognizer.transcribe(samples)
        except BundleFault:
            raise  # would be for every recording
        except WorkError as error:
            failed.append(f"{bundle}: {s.source}: {s.audio}: {error}")
            text = ""
        texts.append(normalise(text, how.lowercase, how.remove_punctuation))
        progress(bundle, done, len(spoken))
    if len(failed) == len(spoken):
        raise WorkError(f"{bundle}: fails on every utterance; the first: {failed[0]}")
    return texts, failed


def _print(
    spoken: Sequence[Spoken],
    evaluations: Sequence[Evaluation],
    found: Sequence[Difference],
    worst: int,
) -> None:
    from rich.console import Console

    from search.report.evaluation import (
        difference_lines,
        groups_table,
        summary_lines,
        worst_lines,
    )

    for line in summary_lines(spoken, evaluations):
        click.echo(line)
    if (table := groups_table(evaluations)) is not None:
        Console().print(table)
    for line in difference_lines(found, evaluations[0].bundle):
        click.echo(line)
    for e in evaluations if worst else ():
        click.echo(f"the worst of {e.bundle}:")
        for line in worst_lines(spoken, e, worst):
            click.echo(line)


def _tell(faults: Sequence[str], failed: Sequence[str]) -> None:
    """What was left out, and what counts as nothing written."""
    from workers.data.check import fault_lines

    if faults:
        lines = fault_lines(tuple(faults))
        click.echo("\n".join([f"left out, {lines[0]}", *lines[1:]]), err=True)
    if failed:
        more = len(failed) - _SHOWN_FAILED
        lines = [*failed[:_SHOWN_FAILED], *([f"… and {more} more"] if more > 0 else [])]
        click.echo("counted as nothing written:", err=True)
        click.echo("\n".join(f"  {line}" for line in lines), err=True)
