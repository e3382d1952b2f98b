"""`search transcribe`: text of recordings by an exported student."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.common import progress_bar
from search.errors import UsageFault

if TYPE_CHECKING:
    from workers.transcript import Form

_STDIN = "-"


@click.command("transcribe")
@click.argument("bundle", type=click.Path())
@click.argument("audio", nargs=-1, required=True, type=click.Path())
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "srt", "vtt"]),
    help="Text (as it is without), or words with times: JSON, SubRip, WebVTT.",
)
@click.option("--json", "as_json", is_flag=True, help="--format json: one object a recording.")
@click.option("--output", type=click.Path(), help="A folder: a file a recording, of its name.")
def transcribe_command(
    bundle: str,
    audio: tuple[str, ...],
    threads: int,
    form: Form | None,
    as_json: bool,
    output: str | None,
) -> int:
    """Transcribe recordings with a bundle (a folder or its zip); `-` is one from standard input. A
    recording that cannot be read is named; the others are transcribed all the same.

    Audio of 4 to 384 kHz, any channel count and any length, which is heard in the memory of half a
    minute: WAV, FLAC, OGG, MP3, AIFF, NIST SPHERE.
    """
    from workers.errors import DataFault, UserFault, WorkError
    from workers.long_audio import words_of
    from workers.recognizer import open_bundle
    from workers.transcript import written

    if as_json and form not in (None, "json"):
        raise UsageFault(f"--json and --format {form}: choose one")
    wanted: Form = "json" if as_json else form or "text"
    folder = None if output is None else _folder(Path(output), audio)
    recognizer = open_bundle(Path(bundle), threads)
    code = 0
    with progress_bar() as step:
        for path in audio:

            def heard(done_s: float, of_s: float, path: str = path) -> None:
                step(path, round(done_s), max(1, round(of_s)))

            try:
                with _as_file(path) as file:
                    text = written(words_of(recognizer, file, heard), wanted, path)
            except DataFault as fault:
                click.echo(f"search: {fault}", err=True)
                code = code or 2
            except UserFault:
                raise  # the bundle is at fault, and would be for every recording
            except WorkError as error:
                click.echo(f"search: {path}: {error}", err=True)
                code = 1
            else:
                _give(text, path, wanted, folder, is_alone=len(audio) == 1)
    return code


@contextmanager
def _as_file(path: str) -> Iterator[str]:
    """What comes from standard input lies in a file while it is heard: formats are read by going
    to and fro."""
    if path != _STDIN:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="standard-input-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield file.name


def _folder(folder: Path, audio: tuple[str, ...]) -> Path:
    """Where transcripts are written, made if it is not there.

    Raises:
        UsageFault: when it is no folder, or two of the recordings would be written to one file.
    """
    names = [_name_of(path) for path in audio]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageFault(
            f'--output: two recordings are called "{twice}" and would be one file; transcribe them '
            "into two folders"
        )
    if folder.exists() and not folder.is_dir():
        raise UsageFault(f"--output {folder}: is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _name_of(path: str) -> str:
    return "stdin" if path == _STDIN else Path(path).stem


def _give(text: str, path: str, form: Form, folder: Path | None, *, is_alone: bool) -> None:
    """To a file of the folder, or to standard output, with its name where there are several."""
    if folder is None:
        named = form == "text" and not is_alone
        click.echo(f"{path}\t{text}" if named else text, nl=False)
        return
    suffix = "txt" if form == "text" else form
    (folder / f"{_name_of(path)}.{suffix}").write_text(text, encoding="utf-8")
