"""A search of simulated trials on a cluster of several nodes, with something killed every few
seconds: does it end as if nothing had happened?

make bench ONLY=chaos; SEEDS=5, TRIALS=200.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from coordinated import run
from fakes import Work
from postgres import PostgreSQL
from ray_nodes import Nodes
from simulated import space_of

from search.home import Home
from storage.records import StudyState, Trial
from storage.store import Store

SEEDS = int(os.environ.get("SEEDS", "5"))
TRIALS = int(os.environ.get("TRIALS", "200"))
WORKERS = 8
EVERY_S = (3.0, 10.0)
LONGEST_S = 1500
NODES = ({"num_cpus": 3}, {"num_cpus": 3}, {"num_cpus": 2})
ACTIONS = ("worker", "worker", "node", "coordinator", "connection", "database", "head")
CACHED = ("prepare", "teacher_targets")  # looked for anew at every launch


@dataclass
class Chaos:
    """Everything that a search runs on, and may lose."""

    seed: int
    folder: Path
    server: PostgreSQL
    n_hits: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.nodes = Nodes(*NODES)
        self.database = f"chaos_{self.seed}"
        with psycopg.connect(f"user=postgres host={self.server.folder}", autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.database}")
        self.url = f"postgresql://postgres@/{self.database}?host={self.server.folder}"
        self.coordinator = self._launched()

    def _launched(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).parents[1] / "support" / "simulated.py"
        with (self.folder / "coordinator.log").open("a") as log:
            command = [sys.executable, script, self.folder / "home", self.url, self.nodes.address]
            return subprocess.Popen(
                [*map(str, command), str(TRIALS), str(WORKERS)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def run(self) -> None:
        """Hit something every few seconds until the search has ended by itself."""
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            time.sleep(self.rng.uniform(*EVERY_S))
            code = self.coordinator.poll()
            if code == 0:
                return
            if code is not None:  # it said why and stopped: the same command goes on
                self.n_hits["launched again"] += 1
                self.coordinator = self._launched()
                continue
            self._hit(self.rng.choice(ACTIONS))
        raise AssertionError(f"seed {self.seed}: not ended after {LONGEST_S} s")

    def _hit(self, what: str) -> None:
        self.n_hits[what] += 1
        if what == "worker":
            workers = [p for p in self.nodes.processes() if _is_worker(p)]
            if workers:
                self.rng.choice(workers).kill()
        elif what == "node":
            self.nodes.kill(self.rng.randrange(len(NODES)))
            self.nodes.add(NODES[self.rng.randrange(len(NODES))])
        elif what == "coordinator":
            os.killpg(self.coordinator.pid, signal.SIGKILL)
            self.coordinator.wait()
            self.coordinator = self._launched()
        elif what == "connection":
            with psycopg.connect(
                f"user=postgres host={self.server.folder}", autocommit=True
            ) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    (self.database,),
                )
        elif what == "database":
            self.server.stop()
            time.sleep(self.rng.uniform(0.5, 3.0))
            self.server.start()
        else:  # a new one has another address, so its coordinator is another as well
            self.nodes.close()
            time.sleep(self.rng.uniform(0.5, 3.0))
            self.nodes = Nodes(*NODES)
            self._hit("coordinator")

    def close(self) -> None:
        if self.coordinator.poll() is None:
            os.killpg(self.coordinator.pid, signal.SIGKILL)
        self.coordinator.wait()
        self.nodes.close()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("ray::")
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _chaos(seed: int, folder: Path, server: PostgreSQL) -> Iterator[Chaos]:
    chaos = Chaos(seed, folder, server)
    try:
        yield chaos
    finally:
        chaos.close()


def _content(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(t.number, t.recipe_digest, str(t.state), dict(t.metrics)) for t in trials]


def _faults(url: str, undisturbed: list[Trial], folder: Path) -> list[str]:
    """What is not as if nothing had happened."""
    faults = []
    with closing(Store(url)) as store:
        study = store.studies.get("fake")
        trials = store.trials.of(study.id)
        runs = store.stage_runs.of(study.id)
        ends = Counter(
            e.trial_number
            for e in store.events.of(study.id)
            if e.trial_number is not None and ": complete" in e.message
        )
    if study.state is not StudyState.FINISHED:
        faults.append(f"the study is {study.state}")
    if _content(trials) != _content(undisturbed):
        faults.append("trials differ from those of an undisturbed search")
    done = Counter((r.trial_number, r.stage) for r in runs if r.state != "failed")
    faults += [
        f"{who}: {stage} {n} times"
        for (who, stage), n in done.items()
        if n > 1 and stage not in CACHED
    ]
    faults += [f"trial {number} ended {n} times" for number, n in ends.items() if n > 1]
    left = [p.name for p in (folder / "home").rglob("*") if ".part" in p.name]
    faults += [f"left over: {name}" for name in left]
    return faults


def test_chaos(tmp_path: Path) -> None:
    here = tmp_path / "undisturbed"
    here.mkdir()
    home = Home.at(here)
    text = space_of(TRIALS, WORKERS)
    _, undisturbed, _, _ = run(home, Work(), text, deterministic=True)
    print(f"\n{TRIALS} trials, {WORKERS} at once, nodes {NODES}; a hit every {EVERY_S} s")
    wrong = 0
    with PostgreSQL() as server:
        for seed in range(SEEDS):
            folder = tmp_path / str(seed)
            folder.mkdir()
            began = time.monotonic()
            with _chaos(seed, folder, server) as chaos:
                chaos.run()
                hits = chaos.n_hits
            faults = _faults(chaos.url, undisturbed, folder)
            orphans = [
                p.pid
                for p in psutil.process_iter()
                if "simulated" in " ".join(_command(p)) or str(folder) in " ".join(_command(p))
            ]
            faults += [f"processes left: {orphans}"] if orphans else []
            wrong += bool(faults)
            told = ", ".join(f"{n} {what}" for what, n in hits.most_common())
            print(
                f"seed {seed}: {time.monotonic() - began:.0f} s, {hits.total()} hits ({told}): "
                f"{'; '.join(faults[:5]) or 'as undisturbed'}",
                flush=True,
            )
    assert not wrong


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
