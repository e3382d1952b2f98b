"""`search metrics`: an endpoint that Prometheus scrapes, and a board for Grafana."""

from __future__ import annotations

import time
from pathlib import Path

import click

from search.cli.common import check_output, open_store
from search.errors import UsageFault

_BOARD = Path(__file__).parents[1] / "observing" / "grafana.json"


@click.command("metrics")
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="To listen on.")
@click.option("--once", is_flag=True, help="Print the figures and end.")
@click.option(
    "--grafana", type=click.Path(dir_okay=False, path_type=Path), help="Write the board here."
)
@click.pass_context
def metrics_command(
    ctx: click.Context, port: int, address: str, once: bool, grafana: Path | None
) -> None:
    """Serve the figures of all studies of the store at /metrics, read anew at every scrape: trials
    by state, stages under way and ended, time and compute, devices that are away, for how long a
    coordinator has been silent.

    \b
    Examples:
      search metrics
      search metrics --once
      search metrics --grafana board.json     to import in Grafana
    """
    if grafana is not None:
        check_output(grafana)
        grafana.write_text(_BOARD.read_text(encoding="utf-8"), encoding="utf-8")
        click.echo(f"wrote {grafana}: in Grafana, Dashboards → New → Import")
        return
    try:
        from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    except ModuleNotFoundError as error:
        from workers.errors import MissingExtra

        raise MissingExtra("search metrics", "metrics") from error
    from search.observing.prometheus import StoreCollector

    with open_store(ctx) as store:
        registry = CollectorRegistry()
        registry.register(StoreCollector(store))
        if once:
            click.echo(generate_latest(registry).decode(), nl=False)
            return
        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            reason = f"{address}:{port}: {error.strerror}"
            raise UsageFault(f"{reason}; choose another --port") from error
        click.echo(f"http://{address}:{server.server_port}/metrics (Ctrl-C ends it)")
        try:
            while thread.is_alive():
                time.sleep(1.0)
        except KeyboardInterrupt:
            server.shutdown()
