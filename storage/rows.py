"""What the stores of each noun share: the engine, transactions, patience, and storable text."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import sqlalchemy as sa
import tenacity

from storage import tables as t
from storage.database import READS
from storage.errors import LeaseLost, StoreUnreachable
from storage.records import Lease

Now = Callable[[], float]  # seconds since the epoch
P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Patience:
    """How long a database that is locked or away is tried again, in seconds."""

    longest_s: float = 60.0
    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0


@dataclass
class Session:
    """What the parts of one store have in common.

    `lease` is what a coordinator's writes are fenced by: once another holds its study they fail.
    """

    engine: sa.Engine
    now: Now
    patience: Patience
    lease: Lease | None = None


class Table:
    """Part of a store. Every public method is one transaction, and is tried again while the
    database is locked or away.

    Raises (every method):
        StoreUnreachable: when it stays so.
        LeaseLost: on writing, when the store holds a lease that another has taken.
    """

    def __init_subclass__(cls) -> None:
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(cls, name, _patient(method))

    def __init__(self, session: Session) -> None:
        self._session, self._now = session, session.now
        self._engine = session.engine
        self._reader = session.engine.execution_options(**{READS: True})

    @property
    def patience(self) -> Patience:
        return self._session.patience

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes, if we may."""
        with self._engine.begin() as connection:
            lease = self._session.lease
            if lease is not None:
                query = sa.select(t.leases.c.token).where(t.leases.c.name == lease.name)
                if connection.scalar(query.with_for_update(read=True)) != lease.token:
                    raise LeaseLost(lease.name)
            yield connection


def _patient(method: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        table = args[0]
        assert isinstance(table, Table)
        patience = table.patience
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=tenacity.wait_exponential(patience.first_wait_s, patience.longest_wait_s),
            stop=tenacity.stop_after_delay(patience.longest_s),
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return retrying(method, *args, **kwargs)
        except sa.exc.DBAPIError as error:
            if not _may_pass(error):
                raise
            reason = str(error.orig).strip().splitlines()[0]
            raise StoreUnreachable(
                f"the store does not answer ({reason}), tried for {patience.longest_s:.0f} s; "
                "when it does, the same command goes on where this ended"
            ) from error

    return call


def _may_pass(error: BaseException) -> bool:
    """Whether it is the database that is locked or away, not what was asked of it."""
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) or (
        isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    )


def storable(text: str | None) -> str | None:
    """What a process printed may hold a NUL, which PostgreSQL takes in no text."""
    return None if text is None else text.replace("\0", "�")
