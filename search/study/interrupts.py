"""Ctrl-C as a question that is asked when it suits.

As an exception it can fall into a callback that swallows it (a finaliser, a database's hook), and
then nothing stops. A second Ctrl-C is an exception nevertheless, for whoever cannot wait.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noticing_interrupts() -> Iterator[Callable[[], bool]]:
    """Gives whether Ctrl-C was pressed, or SIGTERM sent, since this began.

    Outside the main thread, where Python takes no signals, the answer is always no.
    """
    noticed = threading.Event()

    def notice(number: int, frame: FrameType | None) -> None:
        if noticed.is_set():
            signal.default_int_handler(number, frame)
        noticed.set()

    if threading.current_thread() is not threading.main_thread():
        yield noticed.is_set
        return
    before = {number: signal.signal(number, notice) for number in _SIGNALS}
    try:
        yield noticed.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
