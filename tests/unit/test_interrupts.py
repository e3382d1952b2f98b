"""Ctrl-C is noticed wherever it falls."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from search.study.interrupts import noticing_interrupts


class _Presses:
    """Its finaliser is where Ctrl-C is pressed; an exception would be lost in there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_a_finaliser_is_noticed(number: int) -> None:
    with noticing_interrupts() as is_interrupted:
        assert not is_interrupted()
        _Presses(number)
        assert is_interrupted()


def test_the_second_one_does_not_wait() -> None:
    with noticing_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_handled_them_before_does_so_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noticing_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_is_never_interrupted() -> None:
    answers: list[bool] = []

    def ask() -> None:
        with noticing_interrupts() as is_interrupted:
            answers.append(is_interrupted())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]
