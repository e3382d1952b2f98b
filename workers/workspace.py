"""Where the files of one home are on this host; no part of any key."""

from __future__ import annotations

from pathlib import Path

from spaces.record import Record
from workers.jobs import StageJob, key_of


class Workspace(Record):
    """Folders of one home; artifacts may be anywhere that fsspec reaches."""

    artifacts: str
    cache: Path
    work: Path
    locks: Path

    def corpus(self, name: str) -> Path:
        """Of a prepared corpus; as another front end heard it, where the name tells one."""
        return self.cache / "corpora" / name

    def soft_targets(self, name: str) -> Path:
        return self.cache / "teachers" / name

    def stage_folder(self, job: StageJob) -> Path:
        """The folder of a job: checkpoints while it runs, its result afterwards."""
        return self.work / job.stage / key_of(job.whole)[:32]

    def stage_result(self, job: StageJob) -> Path:
        """Where the result of a job is written, and found by an equal one."""
        folder = self.stage_folder(job)
        return folder / ("result.json" if job.whole == job else f"result.{key_of(job)[:32]}.json")
