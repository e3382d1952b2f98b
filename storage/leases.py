"""Who runs a study: one coordinator at a time, also over several hosts.

A holder shows that it lives by counting `beat`; whoever wants the study watches that by a clock of
its own, so that clocks need not agree. Each holder has a token of its own, a fence against the
writes of one that was thought dead (Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

import sqlalchemy as sa

from spaces.record import JsonObject
from storage import tables as t
from storage.errors import LeaseLost
from storage.records import Lease
from storage.rows import Table


class Leases(Table):
    """The leases of a store."""

    def find(self, name: str) -> Lease | None:
        """As it stands; None where the study was never held."""
        with self._reader.connect() as connection:
            query = sa.select(t.leases).where(t.leases.c.name == name)
            row = connection.execute(query).mappings().first()
            return None if row is None else Lease(**row)

    def take(self, name: str, holder: JsonObject, seen: Lease | None) -> Lease:
        """Hold a study that stands as it was seen; this store's writes are fenced from then on.

        Raises:
            LeaseLost: when somebody was faster.
        """
        lease = Lease(name, dict(holder), 1 if seen is None else seen.token + 1, 0)
        row = {"holder": lease.holder, "token": lease.token, "beat": lease.beat}
        try:
            with self._engine.begin() as connection:
                if seen is None:
                    connection.execute(sa.insert(t.leases).values(name=name, **row))
                elif not connection.execute(_held(seen).values(row)).rowcount:
                    raise LeaseLost(name)
        except sa.exc.IntegrityError as error:
            raise LeaseLost(name) from error
        self._session.lease = lease
        return lease

    def beat(self, lease: Lease) -> None:
        """Show that the holder lives.

        Raises:
            LeaseLost: when it is held by another.
        """
        with self._engine.begin() as connection:
            if not connection.execute(_held(lease).values(beat=t.leases.c.beat + 1)).rowcount:
                raise LeaseLost(lease.name)

    def release(self, lease: Lease) -> None:
        """Let another hold the study; does nothing where one does already."""
        self._session.lease = None
        with self._engine.begin() as connection:
            connection.execute(_held(lease).values(holder=sa.null()))


def _held(lease: Lease) -> sa.Update:
    c = t.leases.c
    return sa.update(t.leases).where(c.name == lease.name, c.token == lease.token)
