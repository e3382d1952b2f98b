"""A finished study is measured on a target of its own file, by hand, for real."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

QUICK = "runs: 10, restarts: 1, tries: 1, max_s: 0.5"


def test_the_figures_of_a_new_target_are_everywhere(
    finished: Path, cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    home = Path(shutil.copytree(finished, tmp_path / "home"))  # others have no such target
    file = tmp_path / "two.yaml"
    file.write_text(f"name: two\nthreads: 2\n{QUICK.replace(', ', chr(10))}\n")

    def search(*words: object) -> str:
        done = cli("--home", home, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = search("measure", "tiny", "--plain", "--target-file", file)
    assert ": train " not in said
    after = json.loads(search("front", "tiny", "--json"))
    assert f"measured: {len(after)} of {len(after)} on two" in said
    assert all(t["metrics"]["latency_p95_ms@two"] > 0 for t in after)
    assert {t["metrics"]["size_mb@two"] == t["metrics"]["size_mb"] for t in after} == {True}

    best = str(after[0]["trial"])
    assert "two" in search("show", best)
    picked = json.loads(search("pick", "tiny", "--target", "two", "--json"))
    assert picked["first"]["number"] in [t["trial"] for t in after]
    compared = json.loads(search("compare", best, "teacher", "--json"))
    assert ("latency_p95_ms", "two") in {(d["metric"], d["target"]) for d in compared}
    page = tmp_path / "page.html"
    search("report", "--study", "tiny", page)
    assert "latency p95 on two" in page.read_text()
