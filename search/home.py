"""Where a home keeps its things; only the command line reads the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workers.workspace import Workspace


@dataclass(frozen=True)
class Home:
    """A folder with the store, artifacts, caches and work in progress.

    The store and the artifacts may lie elsewhere: a PostgreSQL server, an fsspec URL. What is
    ours goes by its path, which is in no URL: the name of a home may hold any character.
    """

    folder: Path
    store_url: str
    artifacts_url: str

    @classmethod
    def at(
        cls, folder: Path, store_url: str | None = None, artifacts_url: str | None = None
    ) -> Home:
        folder = folder.expanduser().resolve()
        return cls(
            folder=folder,
            store_url=store_url or str(folder / "store.sqlite"),
            artifacts_url=artifacts_url or str(folder / "artifacts"),
        )

    def workspace(self) -> Workspace:
        return Workspace(
            artifacts=self.artifacts_url,
            cache=self.folder / "cache",
            work=self.folder / "work",
            locks=self.folder / "locks",
        )

    def devices(self) -> Path:
        """Calibrations, a file a target."""
        return self.folder / "devices"

    def trusted_hosts(self) -> Path:
        """Which tokens may go where: what the user has agreed to."""
        return self.folder / "trusted_hosts.json"

    def study_lock(self, name: str) -> Path:
        return self.folder / "locks" / f"study-{name}.lock"
