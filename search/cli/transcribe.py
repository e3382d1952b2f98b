"""`search transcribe`: text of recordings by an exported student."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("transcribe")
@click.argument("bundle", type=click.Path())
@click.argument("audio", nargs=-1, required=True, type=click.Path())
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a recording.")
def transcribe_command(bundle: str, audio: tuple[str, ...], threads: int, as_json: bool) -> int:
    """Transcribe recordings with a bundle (a folder or its zip). A recording that cannot be read
    is named; the others are transcribed all the same.

    Audio of 4 to 384 kHz and any channel count, up to an hour a recording: WAV, FLAC, OGG, MP3,
    AIFF, NIST SPHERE.
    """
    from workers.data.audio import read_audio
    from workers.errors import DataFault, UserFault, WorkError
    from workers.recognizer import open_bundle

    recognizer = open_bundle(Path(bundle), threads)
    code = 0
    for path in audio:
        try:
            samples = read_audio(path)
        except DataFault as fault:
            click.echo(f"search: {fault}", err=True)
            code = code or 2
            continue
        try:
            text = recognizer.transcribe(samples)
        except UserFault:
            raise  # the bundle is at fault, and would be for every recording
        except WorkError as error:
            click.echo(f"search: {path}: {error}", err=True)
            code = 1
            continue
        if as_json:
            click.echo(json.dumps({"audio": path, "text": text}, ensure_ascii=False))
        else:
            click.echo(text if len(audio) == 1 else f"{path}\t{text}")
    return code
