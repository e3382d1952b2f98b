"""Two hundred SIGKILLs at random moments, by whom they hit and when: does each study end as if
nothing had happened, and leave nothing behind?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from killed_studies import PHASES, TARGETS, Kill, KilledStudy, Report

N_KILLS = 200
_PER_STUDY = 10
_AT_ONCE = 3


def test_kills(tmp_path: Path) -> None:
    reports: list[Report] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while (missing := N_KILLS - sum(len(r.kills) for r in reports)) > 0:
            first, n = len(reports), -(-missing // _PER_STUDY)
            kills = [min(_PER_STUDY, missing - i * _PER_STUDY) for i in range(n)]
            seeds = range(first, first + n)
            reports += pool.map(lambda seed, k: _study(seed, k, tmp_path / str(seed)), seeds, kills)
    _print_table(reports)
    assert not [r for r in reports if r.faults]


def _study(seed: int, n_kills: int, folder: Path) -> Report:
    report = KilledStudy(seed, n_kills, folder).run()
    how = f"not right: {'; '.join(report.faults)}" if report.faults else "right"
    n = len(report.kills)
    print(f"seed {seed}: {n} kills, {report.n_launches} launches: {how}", flush=True)
    return report


def _print_table(reports: Sequence[Report]) -> None:
    hit = Counter(k for r in reports for k in r.kills)
    print(f"\nSIGKILLs{'':6s}" + "".join(f"{p:>13s}" for p in (*PHASES, "all")))
    for target in TARGETS:
        cells = [hit[Kill(target, phase)] for phase in PHASES]
        print(f"{target:14s}" + "".join(f"{c or '':>13}" for c in (*cells, sum(cells))))
    n_right = sum(not r.faults for r in reports)
    print(f"{hit.total()} kills in {len(reports)} studies, {n_right} of which ended right")
