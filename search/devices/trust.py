"""Where tokens may go: a space names hosts, and its user agrees to each before the first token."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from search.errors import UsageFault
from spaces.space import Target
from workers.atomic import write_json

Pair = tuple[str, str]  # a variable and the host:port that its value goes to
_PRIVATE = 0o600


def agree(
    targets: Iterable[Target], file: Path, ask: Callable[[str], bool] | None, yes: bool = False
) -> None:
    """Have the user agree to every host that a token would go to for the first time.

    Args:
        file: remembers what was agreed to, for its owner only.
        ask: puts a question to the user; None where nobody is there to answer.
        yes: all were agreed to beforehand.

    Raises:
        UsageFault: for a host that is not agreed to; nothing was sent.
    """
    agreed = _remembered(file)
    new = [pair for pair in _sent_by(targets) if pair not in agreed]
    for variable, host in new:
        if yes or (ask is not None and ask(f"Send the token in {variable} to {host}?")):
            continue
        raise UsageFault(
            f"the token in {variable} would go to {host} for the first time, and that was not "
            "agreed to; nothing was sent. Where that is a device of yours, answer on a terminal, "
            "or give --yes"
        )
    if new:
        _remember(file, agreed | set(new))


def _sent_by(targets: Iterable[Target]) -> list[Pair]:
    """Tokens that are there and leave this machine, each once."""
    pairs = [
        (target.token_env, host)
        for target in targets
        if target.token_env and os.environ.get(target.token_env) and (host := target.token_host)
    ]
    return list(dict.fromkeys(pairs))


def _remembered(file: Path) -> set[Pair]:
    """Empty for what others could have written: a folder that was handed over knows nothing."""
    try:
        status = file.stat()
        is_ours = status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == _PRIVATE
        pairs = json.loads(file.read_text(encoding="utf-8")) if is_ours else []
        return {(str(variable), str(host)) for variable, host in pairs}
    except (OSError, ValueError, TypeError):
        return set()


def _remember(file: Path, pairs: set[Pair]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, sorted(pairs), mode=_PRIVATE)
