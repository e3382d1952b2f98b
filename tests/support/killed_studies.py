"""Studies whose processes are killed one after another at random moments, to their end."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from agents import TOKEN, serving
from processes import is_below, processes_of, role_of, within
from shell import SMALLEST_SPACE, command

from storage.records import StudyState
from storage.store import Store

PHASES = ("start-up", "preparation", "teacher", "trials")
TARGETS = ("coordinator", "child", "grandchild", "fork server", "synthesiser", "agent")
N_TRIALS = 2
SPACE = f"""{SMALLEST_SPACE}training: {{epochs: 2}}
distil: {{weight: 0.5}}
prune: {{ratio: [0.0, 0.4], epochs: 1}}
targets:
  cpu: {{runs: 10, restarts: 1, tries: 1, max_s: 0.2}}
  board: {{agent: "http://127.0.0.1:PORT", token_env: SEARCH_BOARD, runs: 10, restarts: 1,
          tries: 1, max_s: 0.2}}
search: {{trials: {N_TRIALS}, parallel: 2}}
"""
_CACHED = ("prepare", "teacher_targets")  # looked for anew at every launch
# How long after a victim was seen it may be killed.
_WITHIN_S = {
    "coordinator": 3.0,
    "child": 1.0,
    "grandchild": 1.0,
    "fork server": 3.0,
    "synthesiser": 0.7,
    "agent": 3.0,
}
_START_S = 1.0  # a start-up is short
_LONGEST_S = 300
_MOST_LAUNCHES = 30
_EACH_ONCE = (*(("coordinator", phase) for phase in PHASES), ("synthesiser", "preparation"))
_OTHERS = (
    *(("child", phase) for phase in PHASES[1:]),
    *(("grandchild", phase) for phase in PHASES[2:]),
    *(("fork server", phase) for phase in PHASES[1:]),
    *(("agent", phase) for phase in PHASES),
)


@dataclass(frozen=True)
class Kill:
    target: str
    phase: str


@dataclass
class Report:
    """One study: which kills hit, and what was not right at its end."""

    seed: int
    kills: list[Kill] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    n_launches: int = 0


class KilledStudy:
    """One study, its agent and what is known of its kills."""

    def __init__(self, seed: int, n_kills: int, folder: Path) -> None:
        self.report, self._folder = Report(seed), folder
        self._home, self._log = folder / "home", folder / "log"
        self._rng = random.Random(seed)
        drawn = [*_EACH_ONCE, *self._rng.choices(_OTHERS, k=max(0, n_kills - len(_EACH_ONCE)))]
        self._rng.shuffle(drawn)
        self._wishes = [Kill(*wish) for wish in drawn[:n_kills]]
        self._made: dict[Path, int] = {}  # results of trainings, and when each was written

    def run(self) -> Report:
        """To its end, with a launch after it."""
        for name in ("tmp", "agent"):
            (self._folder / name).mkdir(parents=True)
        with ExitStack() as self._stack:
            self._agent = self._stack.enter_context(serving(self._folder / "agent"))
            text = SPACE.replace("PORT", str(self._agent.port))
            (self._folder / "space.yaml").write_text(text)
            try:
                self._run_to_the_end()
                self.report.faults += [*self._orphans(), *self._untrue(), *self._leftovers()]
            except Exception as error:
                self.report.faults.append(f"{type(error).__name__}: {error}")
                for process in processes_of(self._folder):
                    process.kill()
        if not within(10, lambda: not processes_of(self._folder)):
            left = [" ".join(p.cmdline()) for p in processes_of(self._folder)]
            self.report.faults.append(f"processes outlive the agent: {left}")
        return self.report

    def _run_to_the_end(self) -> None:
        for _ in range(_MOST_LAUNCHES):
            code = self._launch()
            said = self._log.read_text(errors="replace")
            if code == 0:
                return
            if "Traceback" in said or (code != -9 and "the same command goes on" not in said):
                raise AssertionError(f"a launch ended with {code}: {said[-600:]}")
        raise AssertionError(f"not at its end after {_MOST_LAUNCHES} launches")

    def _launch(self) -> int:
        """Once; its exit code, -9 where it was killed."""
        self.report.n_launches += 1
        launch = command("--home", self._home, "launch", "--space", self._folder / "space.yaml")
        own = {"SEARCH_BOARD": TOKEN, "TMPDIR": str(self._folder / "tmp"), "PYTHONUNBUFFERED": "1"}
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*launch, "--plain", "--trials", str(N_TRIALS)],
                stdout=log,
                stderr=log,
                env={**os.environ, **own},
                start_new_session=True,
            )
        deadline = time.monotonic() + _LONGEST_S
        moments = iter(self._moments(process))
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"a launch does not end: {self._log.read_text()[-600:]}")
            next(moments)
            self._watch_results()
            time.sleep(0.05)
        self._watch_results()
        return process.returncode

    def _moments(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Turns of waiting for a kill's phase, its victim and its moment."""
        while True:
            yield
            phase = self._phase()
            wish = next((w for w in self._wishes if w.phase == phase), None)
            if wish is None or not self._victims(wish.target, process):
                continue
            longest_s = _START_S if phase == "start-up" else _WITHIN_S[wish.target]
            moment = time.monotonic() + self._rng.uniform(0, longest_s)
            while time.monotonic() < moment:
                yield
            if self._kill(wish.target, process):
                self._wishes.remove(wish)

    def _victims(self, target: str, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        if target == "agent":
            return [psutil.Process(self._agent.process.pid)]
        found = [p for p in processes_of(self._folder) if role_of(p, process.pid) == target]
        return [p for p in found if not is_below(p, self._folder / "agent")]

    def _kill(self, target: str, process: subprocess.Popen[bytes]) -> bool:
        """Kill one process of that kind; False where there is none any more."""
        phase, victims = self._phase(), self._victims(target, process)
        if not victims:
            return False
        self._rng.choice(victims).kill()
        self._count(target, phase)
        if target == "agent":
            self._agent.process.wait()
            time.sleep(self._rng.uniform(0, 1))
            again = serving(self._folder / "agent", port=self._agent.port)
            self._agent = self._stack.enter_context(again)
        return True

    def _count(self, target: str, phase: str) -> None:
        self.report.kills.append(Kill(target, phase))

    def _phase(self) -> str:
        """Where the launch that runs stands, from what it says."""
        said = re.split(r'study "tiny" (?:starts|continues)', self._log.read_text(errors="replace"))
        if len(said) == 1:
            return "start-up"
        if "study: prepare " not in said[-1]:
            return "preparation"
        return "trials" if "teacher ready" in said[-1] else "teacher"

    def _watch_results(self) -> None:
        for path in self._home.glob("work/*/*/result.json"):
            if path.parent.parent.name in ("train", "compress"):
                written = self._made.setdefault(path, path.stat().st_mtime_ns)
                if path.stat().st_mtime_ns != written:
                    self.report.faults.append(f"{path.parent.name[:8]} was trained twice")
                    self._made[path] = path.stat().st_mtime_ns

    # at the end

    def _orphans(self) -> list[str]:
        def left() -> list[str]:
            running = {p: role_of(p, 0) for p in processes_of(self._folder)}
            return [
                f"{role or 'process'} {p.pid}" for p, role in running.items() if role != "agent"
            ]

        return [] if within(10, lambda: not left()) else [f"10 s after the end: {left()}"]

    def _untrue(self) -> list[str]:
        """What of the record is not as if nothing had happened."""
        with closing(Store(str(self._home / "store.sqlite"))) as store:
            study = store.studies.get("tiny")
            trials, runs = store.trials.of(study.id), store.stage_runs.of(study.id)
        faults = [
            f"trial {t.number}: {t.state}: {t.reason}" for t in trials if t.state != "complete"
        ]
        if [t.number for t in trials] != list(range(N_TRIALS)):
            faults.append(f"trials {[t.number for t in trials]}")
        if study.state is not StudyState.FINISHED:
            faults.append(f"the study is {study.state}")
        done = [r for r in runs if r.state != "failed" and r.stage not in _CACHED]
        recorded = Counter((r.trial_number, r.stage) for r in done)
        faults += [f"{stage} is recorded {n} times" for stage, n in recorded.items() if n > 1]
        trained = [r.key for r in runs if r.stage in ("train", "compress") and r.state == "done"]
        faults += [f"{k[:8]} is done {n} times" for k, n in Counter(trained).items() if n > 1]
        return faults

    def _leftovers(self) -> list[str]:
        """After the launch that follows, which is left in peace."""
        self._wishes.clear()
        code = self._launch()
        if code != 0:
            return [f"the launch after the end ended with {code}"]
        left = list(self._folder.rglob("*.partial"))
        for folder in (self._folder / "tmp", self._folder / "agent" / "tmp"):
            left += folder.iterdir()
        return [f"left behind: {p.relative_to(self._folder)}" for p in left]
