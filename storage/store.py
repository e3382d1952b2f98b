"""The record of every study: one door to the tables, a file a noun behind it."""

from __future__ import annotations

import time

from storage.commands import Commands
from storage.database import open_database
from storage.events import Events
from storage.measurements import Measurements
from storage.notes import Notes
from storage.rows import Now
from storage.stage_runs import StageRuns
from storage.studies import Studies
from storage.trials import Trials


class Store:
    """Studies, trials, stage runs, measurements, events, commands and notes.

    Every method of these is one transaction; what it returns are frozen records.

    Args:
        url: SQLite or PostgreSQL, as SQLAlchemy writes it.
        now: where the time of what is written comes from.

    Raises:
        StoreUnreachable: when the database cannot be opened.
    """

    def __init__(self, url: str, now: Now = time.time) -> None:
        self.url = url
        self.engine = open_database(url)
        self.studies = Studies(self.engine, now)
        self.trials = Trials(self.engine, now)
        self.stage_runs = StageRuns(self.engine, now)
        self.measurements = Measurements(self.engine, now)
        self.events = Events(self.engine, now)
        self.commands = Commands(self.engine, now)
        self.notes = Notes(self.engine, now)

    def close(self) -> None:
        self.engine.dispose()
