"""`search extend --towards`: limits are read as budgets are, or refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fabricated import fabricate

from search.cli.main import run
from storage.records import Focus
from storage.store import Store

NAME, TRIALS = "edge", 6
Search = Callable[..., tuple[int, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store = Store(str(tmp_path / "store.sqlite"))
    study = fabricate(store, NAME, TRIALS)
    store.studies.change(study.id, added_targets={"pi5": {"threads": 4}})
    fabricate(store, "fixed", 2, deterministic=True)
    store.close()
    return tmp_path


@pytest.fixture
def search(home: Path, capsys: pytest.CaptureFixture[str]) -> Search:
    """Runs a command; its exit code and what it says."""

    def call(*words: object) -> tuple[int, str]:
        code = run(["--home", str(home), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def _towards(*texts: str, study: str = NAME) -> list[str]:
    given = [word for text in texts for word in ("--towards", text)]
    return ["extend", study, "--trials", "4", *given]


def test_the_focus_is_stored_told_and_shown(home: Path, search: Search) -> None:
    done = search(*_towards("latency_p95_ms=20", "wer<=12%", "throughput=100"))
    limits = {"latency_p95_ms": "<= 20", "wer": "<= 12%", "throughput": ">= 100"}
    words = "trials 6 to 9 towards latency_p95_ms <= 20, wer <= 12%, throughput >= 100"
    assert done == (
        0,
        f"edge: 10 trials; {words}; go on with `search launch`\n",
    )
    store = Store(str(home / "store.sqlite"))
    study = store.studies.get(NAME)
    assert study.focuses == (Focus(6, 4, limits),)
    assert [e.message for e in store.events.of(study.id, last=1)] == [
        f"extended to 10 trials, {words}"
    ]
    store.close()
    assert f"focus: {words}" in search("status", NAME)[1]
    told = json.loads(search("status", NAME, "--json")[1])[0]
    assert told["focus"] == {"first": 6, "trials": 4, "towards": limits}


def test_without_towards_trials_are_added_as_ever(search: Search) -> None:
    assert search(*_towards())[1] == "edge: 10 trials; go on with `search launch`\n"
    assert "focus" not in search("status", NAME)[1]


@pytest.mark.parametrize(
    ("towards", "said"),
    [
        ("latency_p95_ms", '"latency_p95_ms" is not a limit; write for example'),
        ("latenzy_p95_ms=20", 'did you mean "latency_p95_ms"?'),
        ("latency_p95_ms>=20", "limits latency_p95_ms from the wrong side"),
        ("wer=teacher", '"wer=teacher" is not a limit'),
        ("wer=12", "wer is a fraction; write 0.12 or 12%"),
        ("size_mb=a", "is not a budget"),
        ("latency_p95_ms@pi4=20", "no target pi4 (targets: cpu)"),
        ("latency_p95_ms@pi5=20", "pi5 was added to the study, and new trials are not measured"),
        ("energy_mj=3", "no trial of edge has a figure of energy_mj"),
        ("long_wer=5%", "needs gate.long_audio, which measures it"),
    ],
)
def test_what_cannot_steer_is_refused_and_adds_nothing(
    home: Path, search: Search, towards: str, said: str
) -> None:
    code, words = search(*_towards(towards))
    assert code == 2
    assert said in words
    store = Store(str(home / "store.sqlite"))
    assert store.studies.get(NAME).trials_wanted == TRIALS
    store.close()


def test_a_limit_is_given_once(search: Search) -> None:
    assert "is given twice" in search(*_towards("size_mb=1", "size_mb=2"))[1]


def test_what_is_timed_steers_no_deterministic_study(search: Search) -> None:
    refused = search(*_towards("latency_p95_ms=20", study="fixed"))
    assert refused[0] == 2
    assert "what is timed decides nothing" in refused[1]
    assert search(*_towards("size_mb=1", study="fixed"))[0] == 0


def test_a_trial_says_whether_it_lies_within(home: Path, search: Search) -> None:
    store = Store(str(home / "store.sqlite"))
    study = store.studies.get(NAME)
    store.studies.change(study.id, focuses=(Focus(0, 1, {"size_mb": "<= 0.000001"}),))
    store.close()
    assert "towards size_mb <= 1e-06: outside" in search("show", "0", "--study", NAME)[1]
    assert "towards" not in search("show", "1", "--study", NAME)[1]
    told = json.loads(search("show", "0", "--study", NAME, "--json")[1])
    assert told["towards"]["towards size_mb <= 1e-06"] > 0


def test_a_pick_that_finds_nothing_names_the_command_that_looks_there(search: Search) -> None:
    said = search("pick", NAME, "--size-mb", "0.00001")[1]
    assert "search extend edge --trials 20 --towards size_mb=1e-05" in said
