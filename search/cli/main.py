"""`search`: finds the command and turns errors into messages and exit codes.

Exit codes: 0 done, 1 our fault, 2 the user's mistake, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import io
import sys

import click

COMMANDS = {
    "launch": "run the search of a space, or continue it",
    "attach": "watch a study that runs elsewhere",
    "status": "what a study is doing",
    "front": "the students worth having, as table, CSV, JSON or plot",
    "show": "one trial in full",
    "compare": "whether two students really differ",
    "dashboard": "see the front, choose, export: pages in a browser",
    "report": "one page with front, tables and recipes, to share",
    "compress": "make one model smaller step by step, as long as it loses little",
    "measure": "measure what waits for a device, again, or on a new target",
    "export": "write the package of one student",
    "verify": "measure an exported student again: does its promise hold",
    "publish": "an exported student to a folder, S3 or a hub, with its card",
    "transcribe": "text of recordings by an exported student",
    "serve": "exported students as a service: recordings and live speech, over HTTP",
    "evaluate": "word errors of exported students on transcribed audio",
    "validate": "check a space, its data and its budgets, and say what a search costs",
    "init": "write a commented space to start from",
    "schema": "what editors complete and check space files by",
    "stop": "end a running study; it can be continued",
    "pause": "start nothing new until resumed",
    "resume": "go on after a pause",
    "extend": "add trials to a study",
    "cancel": "end one trial for good",
    "retry": "try failed trials again",
    "promote": "train trials to their end that were stopped early",
    "pick": "which student to ship, and how sure that is",
    "record": "train recipes for a table on which searches replay",
    "logs": "what the stages of a trial have written",
    "metrics": "figures of all studies for Prometheus, a board for Grafana",
    "send": "hand a study to Optuna, MLflow, Weights & Biases or OpenTelemetry",
    "gc": "free the room of what no study needs",
    "cache": "what lies in the home, and what for",
    "db": "check, upgrade or copy the database of the record",
    "backends": "inference runtimes, what they take, how to install them",
    "devices": "check and calibrate the devices of a space",
    "agent": "measure for searches on other machines: run this on a device",
    "doctor": "check versions, audio, devices and the store",
    "help": "the language of spaces, runtimes, devices, measurements: pages to read",
}

_MODULES = {"cache": "gc"}
_CONTROL = ("stop", "pause", "resume", "extend", "cancel", "retry", "promote")

EXAMPLES = """\b
Examples:
  search launch --space quickstart.yaml      a small search on the embedded corpus
  search launch --space edge.yaml            at most 15 MB and 50 ms
  search status                              how the studies stand
  search front edge --plot front.html        the front as a page
  search export --study edge --ship --where "size_mb<=15" student.zip
  search transcribe student.zip call.wav
  search evaluate student.zip test.jsonl
  search help space                          every key of a space file
"""


class LazyGroup(click.Group):
    """Commands by name; a command's module is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = "control" if name in _CONTROL else _MODULES.get(name, name)
        command: click.Command = getattr(
            importlib.import_module(f"search.cli.{module}"), f"{name}_command"
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            ctx.fail(f'No command "{args[0]}".{hint}')
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "SEARCH"},
)
@click.option(
    "--home",
    type=click.Path(file_okay=False),
    default=".search",
    show_default=True,
    show_envvar=True,
    help="Folder with the store, artifacts and caches.",
)
@click.option("--store", show_envvar=True, help="Database URL [default: SQLite in the home].")
@click.option("--artifacts", show_envvar=True, help="Artifact folder or fsspec URL.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.version_option(package_name="compression-search")
@click.pass_context
def search(ctx: click.Context, home: str, store: str | None, artifacts: str | None) -> None:
    """Search for small speech-recognition students of a big teacher, measured on your device."""
    ctx.obj = {"home": home, "store": store, "artifacts": artifacts}


def main() -> None:
    """Entry point of the console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an encoding without ◆ is no reason to fail
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; returns its exit code."""
    debug = "--debug" in arguments
    try:
        code = search.main(arguments, prog_name="search", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            raise
        return _report(error)


def _report(error: Exception) -> int:
    """Say what went wrong in words; 2 for the user's mistake, 1 for ours."""
    from search.cli.faults import is_users, message_of

    click.echo(f"search: {message_of(error)}", err=True)
    if is_users(error):
        return 2
    click.echo("search: run it again as `search --debug …` for the traceback", err=True)
    return 1
