"""The command line: one file a command, each imported when it is called."""

from search.cli.main import main

__all__ = ["main"]
