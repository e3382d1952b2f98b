"""The record of every study: one door to the tables, a file a noun behind it."""

from __future__ import annotations

import time

from storage.commands import Commands
from storage.database import open_database
from storage.events import Events
from storage.leases import Leases
from storage.measurements import Measurements
from storage.notes import Notes
from storage.rows import Now, Patience, Session
from storage.stage_runs import StageRuns
from storage.studies import Studies
from storage.trials import Trials


class Store:
    """Studies, trials, stage runs, measurements, events, commands, notes and leases.

    Every method of these is one transaction; what it returns are frozen records.

    Args:
        url: SQLite or PostgreSQL, as SQLAlchemy writes it, or the absolute path of a SQLite file.
        now: where the time of what is written comes from.
        patience: with a database that is locked or away.

    Raises:
        StoreUnreachable: when the database cannot be opened.
    """

    def __init__(self, url: str, now: Now = time.time, patience: Patience | None = None) -> None:
        self.url = url
        patience = patience or Patience()
        self.engine = open_database(url, patience.longest_s)
        session = Session(self.engine, now, patience)
        self.studies = Studies(session)
        self.trials = Trials(session)
        self.stage_runs = StageRuns(session)
        self.measurements = Measurements(session)
        self.events = Events(session)
        self.commands = Commands(session)
        self.notes = Notes(session)
        self.leases = Leases(session)

    def close(self) -> None:
        self.engine.dispose()
