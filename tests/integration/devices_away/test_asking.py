"""What it takes to ask a device, and when one that is away is asked again."""

from __future__ import annotations

import pytest
from away import TEXT, Home_, Workshop
from fakes import space

from search.clock import VirtualClock
from search.errors import UsageFault
from search.study.device_backoff import DeviceBackoff
from spaces.families import SeparableConv
from spaces.recipe import Quantize
from spaces.space import Target
from workers.data.corpus import Corpus
from workers.jobs import Screen
from workers.results import ScreenResult
from workers.stages.run import run_stage
from workers.workspace import Workspace


def test_without_its_token_nothing_starts(there: Home_, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEARCH_PI5_TOKEN")
    work = Workshop()
    with pytest.raises(UsageFault, match=r"^targets.pi5: .* variable SEARCH_PI5_TOKEN with its"):
        there.launch(work)
    assert work.jobs == []


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("secret", "http://127.0.0.1:1: cannot be reached"),
        (None, "the variable SEARCH_PI5_TOKEN with its token is not set"),
    ],
    ids=["away", "refused"],
)
def test_screening_leaves_out_a_device_that_cannot_be_asked(
    workspace: Workspace,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    said: str,
) -> None:
    monkeypatch.delenv("SEARCH_PI5_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("SEARCH_PI5_TOKEN", token)
    pi5 = Target(agent="http://127.0.0.1:1", token_env="SEARCH_PI5_TOKEN")
    job = Screen(
        student=SeparableConv(channels=8, blocks=1, kernel=3),
        quantize=Quantize(),
        corpus=corpus.folder.name,
        targets={"pi5": pi5},
        host=str(token),
    )
    done = run_stage(job, workspace)
    assert isinstance(done, ScreenResult)
    assert {r.metric for r in done.readings} == {"size_mb", "macs", "params"}
    assert said in done.not_screened_on["pi5"]


# when an absent device is asked again


def test_a_device_is_asked_again_twice_as_late_each_time_up_to_a_minute() -> None:
    clock = VirtualClock()
    text = TEXT.replace("  pi5:", '  slow: {agent: "https://pi5.example:8765", token_env: '
                        "SEARCH_PI5_TOKEN, threads: 4}\n  pi5:")  # fmt: skip
    backoff = DeviceBackoff(space(text), clock)
    both = {"slow", "pi5"}
    assert backoff.unavailable_targets([]) == set()
    assert backoff.unavailable_targets(["slow"]) == both  # one device, one measurement
    assert backoff.unavailable_targets(["cpu"]) == set()
    waits = []
    for attempt in range(9):
        assert backoff.mark_unreachable("pi5", "is away") == (attempt == 0)
        assert backoff.unavailable_targets([]) == both
        begun = clock.monotonic()
        while backoff.unavailable_targets([]):
            clock.sleep(0.5)
        waits.append(clock.monotonic() - begun)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff.longest_s(["slow", "cpu"]) == sum(waits)
    assert backoff.reason(["slow", "pi5"]) == "is away"
    assert backoff.are_all_away(["slow"])
    assert not backoff.are_all_away(["slow", "cpu"])
    assert backoff.mark_reachable("slow")
    assert not backoff.mark_reachable("pi5")
    assert not backoff.mark_reachable("cpu")
    assert backoff.longest_s(both) == 0
