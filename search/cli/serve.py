"""`search serve`: bundles as a service for recordings and live speech."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.errors import UsageFault

if TYPE_CHECKING:
    from search.serving.models import Models

_TOKEN = "SEARCH_SERVE_TOKEN"  # noqa: S105 - the name of a variable
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LEAST_TOKEN = 16


@click.command("serve")
@click.argument("bundles", nargs=-1, required=True, metavar="[NAME=]BUNDLE…")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="To listen on.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Holds the token that clients give [or the variable {_TOKEN}].",
)
@click.option("--copies", type=click.IntRange(1, 64), help="Processes a model [default: 1 a core].")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of each.")
@click.option(
    "--max-batch",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Requests heard at once by one process; 1 is without batching.",
)
@click.option(
    "--batch-wait-ms",
    type=click.FloatRange(0, 1000),
    default=3.0,
    show_default=True,
    help="That a request waits for others while processes are busy.",
)
@click.option("--max-mb", type=click.FloatRange(0.01), default=100.0, show_default=True)
@click.option("--max-requests", type=click.IntRange(1), default=64, show_default=True)
@click.option("--max-streams", type=click.IntRange(1), default=256, show_default=True)
@click.option("--target", help="Of a bundle with a policy: whose measurements it goes by.")
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    default=float("inf"),
    help="Of a bundle with a policy: of a member's p95 on the target.",
)
def serve_command(
    bundles: tuple[str, ...],
    port: int,
    address: str,
    token_file: Path | None,
    copies: int | None,
    threads: int,
    max_batch: int,
    batch_wait_ms: float,
    max_mb: float,
    max_requests: int,
    max_streams: int,
    target: str | None,
    budget_ms: float,
) -> None:
    """Transcribe for others over HTTP: recordings at /v1/audio/transcriptions as OpenAI's clients
    send them, live speech by WebSocket at /v1/audio/stream, figures for Prometheus at /metrics. A
    bundle that is replaced at its place is swapped without a lost request.

    \b
    Examples:
      search serve student.zip
      search serve small=small.zip live=live.zip --port 9000
      search serve front/ --budget-ms 50            several students and a policy
      curl -F file=@recording.wav -F model=student localhost:8000/v1/audio/transcriptions
    """
    try:
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        from workers.errors import MissingExtra

        raise MissingExtra("search serve", "serve") from error
    from search.serving.app import Limits
    from search.serving.models import Options
    from search.serving.server import serve
    from search.serving.workers import Batching

    paths = _named(bundles)
    token = _token(token_file)
    if token is None and address not in _LOOPBACK:
        raise UsageFault(
            f"--address {address}: others could reach it; give it a token with --token-file, or "
            f"in {_TOKEN}"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    copies = copies or max(1, (os.cpu_count() or 1) // threads)
    options = Options(copies, threads, Batching(max_batch, batch_wait_ms), target, budget_ms)
    limits = Limits(body_mb=max_mb, requests=max_requests, streams=max_streams)
    listening = _bound(address, port)

    def ready(models: Models) -> None:
        where = f"http://{address}:{listening.getsockname()[1]}"
        click.echo(f"serving {', '.join(models.by_name)} at {where}; Ctrl-C ends it")

    with listening:
        serve(listening, paths, options, limits, token, ready)


def _named(bundles: tuple[str, ...]) -> dict[str, Path]:
    """Bundles by the names that clients give."""
    paths: dict[str, Path] = {}
    for given in bundles:
        name, equals, place = given.partition("=")
        path = Path(place if equals else given)
        name = name if equals else path.resolve().stem
        if name in paths:
            raise UsageFault(f'two bundles are called "{name}"; name them: NAME=BUNDLE')
        paths[name] = path
    return paths


def _token(file: Path | None) -> str | None:
    if file is None:
        token = os.environ.get(_TOKEN)
    else:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageFault(f"--token-file {file}: cannot be read ({error})") from error
    if token is not None and (len(token) < _LEAST_TOKEN or not token.isascii()):
        raise UsageFault(f"a token has at least {_LEAST_TOKEN} letters and digits")
    return token


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        raise UsageFault(f"{address}:{port}: {error.strerror}; choose another --port") from error
    return listening
