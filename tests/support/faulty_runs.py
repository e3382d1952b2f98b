"""Studies that meet a fault of their host once, each taken up by the same command to its end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coordinated import Silent
from harm import Plan, filler, n_reached, perform
from processes import processes_of
from rewound import rewound, runs_of
from shell import SMALLEST_SPACE
from untimed import differences, untimed

from search.clock import SystemClock
from search.errors import EnvironmentFault
from search.executors.local import LocalExecutor
from search.home import Home
from search.study.coordinator import Pace
from search.study.launch import launch
from search.study.options import Options
from storage.records import StudyState

NAME = "tiny"
STAGE_TIMEOUT_S = 60
SPACE = f"""{SMALLEST_SPACE}training: {{epochs: 1}}
distil: {{weight: 0.5}}
prune: {{ratio: 0.4, epochs: 1}}
targets: {{cpu: {{runs: 10, restarts: 1, tries: 1, max_s: 0.2}}}}
search: {{trials: 2, parallel: 2, stage_timeout_s: {STAGE_TIMEOUT_S}}}
"""
EAGER = Pace(environment_waits_s=(0.0, 0.0, 0.0))
FAULTS = ("disk full", "input truncated", "input deleted", "out of memory", "suspend")
BY_COMMAND = ("real full disk", "all suspended")
_MOST_LAUNCHES = 6
_SENTENCE = "the same command goes on"  # how a launch ends that its host does not let go on
_MOST_TRIES = 4  # till the fault is met: a stage may end before its moment
_LONGEST_S = 300
# Of the runs that do all that follows the stage too. The others find it done, which they do only
# if the stage comes to the very same files.
_SHARE_TO_THE_END = 0.2
_SHARE_THAT_LASTS = 0.25


@dataclass(frozen=True)
class Run:
    """One study: what it met, and why it did not end right."""

    seed: int
    fault: str
    stage: str
    reason: str = ""
    n_launches: int = 0


class _Leaping(SystemClock):
    """Leaps an hour whenever a stage was suspended: so much has passed for whoever was too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def monotonic(self) -> float:
        return super().monotonic() + 3600 * n_reached(self._folder)


def make_undisturbed(folder: Path) -> Home:
    """The study as it ends when nothing happens."""
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text(SPACE)
    home = Home.at(folder / "disk" / "home")
    given = (str(folder / "space.yaml"), home, Options(deterministic=True), Silent())
    launch(*given, LocalExecutor(home.workspace(), STAGE_TIMEOUT_S))
    return home


def run_one(seed: int, fault: str, undisturbed: Path, folder: Path) -> Run:
    """One study with one fault, at a stage and a moment that the seed says."""
    rng, done = random.Random(seed), Home.at(undisturbed)
    runs = runs_of(done, NAME)
    met = rng.choice(runs)
    later = [r for r in runs[runs.index(met) :] if r.trial_number == met.trial_number]
    gone = later if rng.random() < _SHARE_TO_THE_END else [met]
    delay_s = rng.choice((0.0, rng.uniform(0.0, met.duration_s)))
    times = 1 if fault in BY_COMMAND else rng.choice((1, 1, 2, 4))
    stage = ("teacher: " if met.trial_number is None else "") + met.stage
    for attempt in range(_MOST_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "space.yaml").write_text(SPACE)
        moment_s = 0.0 if attempt == _MOST_TRIES - 1 else delay_s / 2**attempt
        Plan(fault, met.key, times, moment_s).write(folder)
        with _disk(folder, fault) as disk:
            home = Home.at(disk / "home")
            rewound(done, runs, gone, home.folder)
            try:
                n, reason = _taken_up(folder, home, fault, rng)
                reason = reason or differences(untimed(home, NAME), untimed(done, NAME))
            except Exception as error:
                n, reason = 0, f"{type(error).__name__}: {error}"
            leftovers = [p.name for p in home.folder.rglob("*.partial")]
            reason = reason or (f"left behind: {leftovers}" if leftovers else "")
        if reason or n_reached(folder):
            return Run(seed, fault, stage, reason, n)
    return Run(seed, fault, stage, "the fault was never met")


@contextmanager
def _disk(folder: Path, fault: str) -> Iterator[Path]:
    """A small disk of its own for who fills it; root alone may have one."""
    disk = folder / "disk"
    disk.mkdir()
    if fault != "real full disk":
        yield disk
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _taken_up(folder: Path, home: Home, fault: str, rng: random.Random) -> tuple[int, str]:
    """Launch till it ends well; (launches, why it did not)."""
    launched = _by_command if fault in BY_COMMAND else _here
    for n in range(1, _MOST_LAUNCHES + 1):
        code, text = launched(folder, home, fault, rng)
        if code == 0:
            return n, ""
        if _SENTENCE not in text or "Traceback" in text:
            break
        filler(home.folder).unlink(missing_ok=True)
    return n, f"ended with {code}: {text[-600:]}"


def _here(folder: Path, home: Home, fault: str, rng: random.Random) -> tuple[int, str]:
    """The coordinator in this process, its stages in children; exit code and what it says."""
    clock = _Leaping(folder) if fault == "suspend" else SystemClock()
    executor = LocalExecutor(home.workspace(), STAGE_TIMEOUT_S, perform, clock)
    path = str(folder / "space.yaml")
    try:
        _, state = launch(path, home, Options(deterministic=True), Silent(), executor, EAGER)
    except EnvironmentFault as error:
        return 1, str(error)
    return (0, "") if state is StudyState.FINISHED else (3, f"the study is {state}")


def _by_command(folder: Path, home: Home, fault: str, rng: random.Random) -> tuple[int, str]:
    """`search launch` in a process of its own."""
    (folder / "tmp").mkdir(exist_ok=True)
    support = str(Path(__file__).parent)
    paths = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    search = [sys.executable, "-c", "from harm import command_line; command_line()"]
    given = ["--home", home.folder, "launch", "--space", folder / "space.yaml", "--plain"]
    before = n_reached(folder)
    with (folder / "log").open("wb+") as log:
        process = subprocess.Popen(
            [*search, *map(str, given), "--deterministic"],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder / "tmp")},
            start_new_session=True,
        )
        deadline = time.monotonic() + _LONGEST_S
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                return 124, "it did not end"
            if n_reached(folder) > before:
                before = n_reached(folder)
                _while_it_lasts(folder, home, fault, rng)
            time.sleep(0.05)
        log.seek(0)
        return process.returncode, log.read().decode(errors="replace")


def _while_it_lasts(folder: Path, home: Home, fault: str, rng: random.Random) -> None:
    """Everything stands still for longer than a stage may; or the disk is full for a while, in some
    runs till the launch gives up."""
    if fault == "real full disk":
        if rng.random() > _SHARE_THAT_LASTS:
            time.sleep(rng.uniform(0.5, 4.0))
            filler(home.folder).unlink(missing_ok=True)
        return
    stopped = processes_of(folder)
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    time.sleep(STAGE_TIMEOUT_S + 2)
    for process in stopped:
        process.send_signal(signal.SIGCONT)
