"""A target that makes no sense is told with its line, and one that does knows where it measures."""

from __future__ import annotations

from pathlib import Path

import pytest
from second_target import with_second_target

from spaces.errors import SpaceError
from spaces.load import parse_space
from spaces.space import Target

TOKEN = "token_env: SEARCH_PI5_TOKEN"


def _faults(text: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "test.yaml")
    return [line.strip() for line in caught.value.lines()[1:]]


def test_a_family_that_no_target_runs_is_a_fault_with_its_line() -> None:
    assert _faults(with_second_target("backend: litert")) == [
        "test.yaml:6: students.recurrent: no target combination runs it (other: litert does not "
        "run recurrent); take the family, the format or the target out"
    ]


def test_formats_that_no_target_takes_are_a_fault_of_every_family() -> None:
    text = with_second_target("backend: openvino").replace("scheme: fp32", "scheme: int8_dynamic")
    assert [fault.partition(" no ")[0] for fault in _faults(text)] == [
        "test.yaml:5: students.separable_conv:",
        "test.yaml:6: students.recurrent:",
    ]


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("backend: onxruntime", '.backend: no backend "onxruntime"; did you mean "onnxruntime"?'),
        (
            "backend: openvino, graph_level: off",
            ": graph_level: no setting of openvino (its own: precision)",
        ),
        (
            "backend: mnn, arena: false, precision: fp16",
            ": arena, precision: no setting of mnn (it has none)",
        ),
        (
            "backend: openvino, precision: fp16",
            ": openvino computes in fp32, bf16, not in fp16",
        ),
        ("backend: openvino, spining: true", '.spining: unknown key; did you mean "spinning"?'),
        (
            'agent: "https://pi5:8765"',
            ": agent: (its address) and token_env: (the variable with its token) go together",
        ),
        (TOKEN, ": agent: (its address) and token_env: (the variable with its token) go together"),
        (
            f'agent: "https://pi5:8765", {TOKEN}, adb: R58M',
            ": give either agent: or adb:, not both",
        ),
        ("ca_file: ca.pem", ": ca_file: is for agent:"),
        ("adb: R58M, ca_file: ca.pem", ": ca_file: is for agent:"),
        (
            f'backend: openvino, agent: "https://pi5:8765", {TOKEN}',
            ": openvino runs on this machine only, not on a device",
        ),
        (
            "backend: openvino, adb: R58M",
            ": openvino runs on this machine only, not on a device",
        ),
        (
            f'agent: "http://pi5:8765", {TOKEN}',
            ".agent: 'http://pi5:8765': would send the token in the clear; use https:// beyond "
            "loopback",
        ),
        (
            f'agent: "https://me:secret@pi5:8765", {TOKEN}',
            "is an address alone; the token comes from token_env",
        ),
        (
            f'agent: "https://pi5:8765/?token=secret", {TOKEN}',
            "is an address alone; the token comes from token_env",
        ),
        (
            f'agent: "pi5:8765", {TOKEN}',
            "write the agent's address as https://host:port (http:// on loopback)",
        ),
        (f'agent: "https://", {TOKEN}', "write the agent's address as https://host:port"),
        (
            'agent: "https://pi5:8765", token_env: "my token"',
            ".token_env: 'my token': string should match pattern",
        ),
        ('adb: "; rm -rf /"', ".adb: '; rm -rf /': string should match pattern"),
        ("threads: 0", ".threads: 0: input should be greater than or equal to 1"),
        ("within: 0", ".within: Input should be greater than 0"),
        ("stream_limit_ms: -1", ".stream_limit_ms: -1: input should be greater than 0"),
    ],
)
def test_a_target_that_makes_no_sense_is_told_with_its_line(target: str, fault: str) -> None:
    (said,) = _faults(with_second_target(target))
    assert said.startswith("test.yaml:10: targets.other")
    assert fault in said


@pytest.mark.parametrize(
    ("target", "is_remote", "shares", "device"),
    [
        ("threads: 2", False, True, "this machine"),
        (f'agent: "https://pi5:8765/", {TOKEN}', True, False, "https://pi5:8765"),
        (f'agent: "http://localhost:8765", {TOKEN}', True, True, "http://localhost:8765"),
        (f'agent: "http://[::1]:8765", {TOKEN}', True, True, "http://[::1]:8765"),
        ("adb: R58M", True, False, "adb R58M"),
    ],
)
def test_a_target_knows_where_it_measures(
    target: str, is_remote: bool, shares: bool, device: str
) -> None:
    other = parse_space(with_second_target(target), "test.yaml").targets["other"]
    assert (other.is_remote, other.shares_this_machine, other.device) == (is_remote, shares, device)


def test_a_ca_file_lies_beside_the_space(tmp_path: Path) -> None:
    text = with_second_target(f'agent: "https://pi5:8765", {TOKEN}, ca_file: keys/ca.pem')
    space = parse_space(text, tmp_path / "test.yaml")
    assert space.targets["other"].ca_file == str(tmp_path / "keys" / "ca.pem")


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("objectives: [wer, latency_p95_ms@other]", "objectives.1"),
        ('budgets: {"latency_p95_ms@other": "<= 5"}', "budgets.latency_p95_ms@other"),
    ],
)
def test_a_phone_by_adb_is_asked_for_the_network_alone(section: str, place: str) -> None:
    (said,) = _faults(with_second_target("adb: R58M") + section + "\n")
    assert "latency_p95_ms@other: a phone by adb tells graph_p50_ms and graph_p95_ms only" in said
    parse_space(
        with_second_target("adb: R58M") + section.replace("latency", "graph") + "\n", "test.yaml"
    )


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("objectives: [wer, latency_p95_ms@pi5]", "objectives.1"),
        ('budgets: {"rtf@pi5": "<= 5"}', "budgets.rtf@pi5"),
    ],
)
def test_a_metric_of_a_target_that_is_not_there_is_a_fault(section: str, place: str) -> None:
    (said,) = _faults(with_second_target("adb: R58M") + section + "\n")
    assert said.startswith(f"test.yaml:11: {place}: ")
    assert said.endswith("no target pi5 (targets: cpu, other)")


def test_off_is_a_level_of_optimisation_and_not_false() -> None:
    target = parse_space(with_second_target("graph_level: off"), "test.yaml").targets["other"]
    assert target.settings()["graph_level"] == "off"
    (said,) = _faults(with_second_target("graph_level: on"))
    assert "targets.other.graph_level: True: input should be 'all', 'extended'" in said


def test_what_is_as_usual_is_not_written_so_that_jobs_keep_their_keys() -> None:
    """Figures that were taken before these could be said are found under the same keys."""
    later = {"filter_bank": "fast", "tries": 1}
    assert not later.keys() & Target().model_dump().keys()
    for name, value in later.items():
        said = Target.model_validate({name: value})
        assert said.model_dump()[name] == value
        assert Target.model_validate(said.model_dump()) == said
