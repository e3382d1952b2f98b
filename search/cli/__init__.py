"""The command line: one file a command, each imported when it is called."""

import sys

try:
    from search.cli.main import main
except KeyboardInterrupt:  # while click is imported, before `main` can answer to Ctrl-C
    sys.stderr.write("stopped\n")
    raise SystemExit(130) from None

__all__ = ["main"]
