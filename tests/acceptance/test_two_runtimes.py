"""A search for two runtimes with every gate on: both are measured, either can be exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agents
import jiwer
import pytest
import yaml
from shell import TINY_SPACE

from storage.store import Store

pytest.importorskip("openvino", reason="the extra openvino is not installed")

N_TRIALS, N_DEV = 2, 24
QUICK = {"runs": 10, "restarts": 1, "tries": 1, "max_s": 0.5}
GATES = {
    "olive_asr": True,
    "qoi": "50%",
    "long_audio": True,
    "empty_output": "<= 0.9",
    "regression": {"against": "baseline", "limit": 100},
}
ON_EACH = ("wer", "size_mb", "latency_p95_ms", "throughput", "anchor_ratio", "qoi", "long_excess")

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cli: Call) -> Path:
    folder = tmp_path_factory.mktemp("runtimes")
    agents.student(folder / "baseline")
    space = yaml.safe_load(TINY_SPACE)
    space |= {
        "students": {"separable_conv": {"channels": [16, 24], "blocks": 1}},
        "quantize": {"scheme": "fp32"},
        "prune": {"ratio": 0.0},
        "targets": {"cpu": QUICK, "ov": {"backend": "openvino", **QUICK}},
        "objectives": ["wer", "latency_p95_ms", "latency_p95_ms@ov"],
        "gate": GATES,
        "search": {"trials": N_TRIALS, "parallel": 1, "confirm": False},
    }
    space["data"]["synthetic"]["dev_utterances"] = N_DEV
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump(space, sort_keys=False))
    done = cli("--home", folder / "home", "launch", "--space", path, "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "home"


@pytest.fixture(scope="module")
def call(home: Path, cli: Call) -> Call:
    def run(*arguments: object) -> str:
        done = cli("--home", home, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    return run


@pytest.fixture(scope="module")
def trials(call: Call) -> list[dict[str, Any]]:
    return [json.loads(call("show", number, "--json")) for number in range(N_TRIALS)]


@pytest.fixture(scope="module")
def dev(home: Path) -> dict[str, str]:
    """Text of each recording of the dev set."""
    (folder,) = (home / "cache" / "synthetic").iterdir()
    lines = map(json.loads, (folder / "dev.jsonl").read_text().splitlines())
    return {str(folder / line["audio_filepath"]): line["text"] for line in lines}


def test_every_trial_is_scored_and_measured_in_both_runtimes(
    trials: list[dict[str, Any]],
) -> None:
    for trial in trials:
        assert trial["state"] in ("complete", "infeasible"), trial["reason"]
        metrics = trial["metrics"]
        assert {f"{name}@{target}" for name in ON_EACH for target in ("cpu", "ov")} <= set(metrics)
        assert metrics["wer"] == metrics["wer@cpu"]
        assert metrics["size_mb@ov"] != metrics["size_mb@cpu"]
        assert metrics["text_diff_share@ov"] <= 0.02
        stages = [s["stage"] for s in trial["stages"]]
        assert len(stages) == len(set(stages))
        assert {"export", "convert@openvino", "score@cpu", "score@ov"} <= set(stages)
        assert {"measure@cpu", "measure@ov"} <= set(stages)


def test_the_size_of_either_file_is_known_before_a_student_is_trained(
    home: Path, trials: list[dict[str, Any]]
) -> None:
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    runs = store.stage_runs.of(store.studies.get("tiny").id, 0)
    store.close()
    (screened,) = (run.result for run in runs if run.stage == "screen")
    sizes = {f["target"]: f["value"] for f in screened["readings"] if f["metric"] == "size_mb"}
    for target in ("cpu", "ov"):
        assert sizes[target] == pytest.approx(trials[0]["metrics"][f"size_mb@{target}"], rel=0.01)


def test_every_gate_is_judged(trials: list[dict[str, Any]]) -> None:
    for trial in trials:
        assert set(trial["limits"]) == {
            "gate qoi >= 0.5",
            "gate empty_output <= 0.9",
            "gate long_audio <= 0.05",
            "gate qoi@ov >= 0.5",
            "gate empty_output@ov <= 0.9",
            "gate long_audio@ov <= 0.05",
            "gate regression@cpu <= 100",  # the baseline runs in ONNX Runtime alone
            "gate olive_asr@cpu",
            "gate olive_asr@ov",
        }
        broken = [text for text, excess in trial["limits"].items() if excess > 0]
        assert (trial["state"] == "infeasible") == bool(broken)
        assert all(text in trial["reason"] for text in broken)


def test_the_teacher_is_measured_in_both_runtimes_too(call: Call) -> None:
    (study,) = json.loads(call("status", "--json"))
    assert {"throughput@cpu", "throughput@ov", "wer@cpu", "wer@ov"} <= set(study["teacher"])


def test_where_and_how_each_was_measured_is_shown(call: Call) -> None:
    said = call("show", 0)
    for target in ("cpu", "ov"):
        assert f"{target}: measured on " in said
    assert "gate long_audio <= 0.05: " in said
    measured = json.loads(call("show", 0, "--json"))["measured"]
    assert measured["cpu"]["profile"]
    assert measured["ov"]["machine"]["cores"] >= 1


def test_trials_are_compared_in_both_runtimes(call: Call) -> None:
    found = json.loads(call("compare", 0, 1, "--json"))
    assert {(d["metric"], d["target"]) for d in found} == {
        (metric, target)
        for metric in ("wer", "anchor_ratio", "latency_p50_ms", "latency_p95_ms")
        for target in ("cpu", "ov")
    }


@pytest.fixture(scope="module")
def bundles(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    call("export", "--trial", 0, folder / "onnx")
    call("export", "--trial", 0, "--target", "ov", folder / "ov")
    call("export", "--trial", 0, "--target", "ov", folder / "ov.zip")
    return folder


def test_a_bundle_for_another_runtime_holds_that_runtimes_files(
    bundles: Path, trials: list[dict[str, Any]]
) -> None:
    files = {p.name for p in (bundles / "ov").iterdir()}
    assert {"model.xml", "model.bin", "tokens.txt", "bundle.json", "CARD.md"} <= files
    assert "model.onnx" not in files
    manifest = json.loads((bundles / "ov" / "bundle.json").read_text())
    assert (manifest["backend"], manifest["main"], manifest["target"]) == (
        "openvino",
        "model.xml",
        "ov",
    )
    size = sum((bundles / "ov" / n).stat().st_size for n in ("model.xml", "model.bin"))
    assert size / 1e6 == pytest.approx(trials[0]["metrics"]["size_mb@ov"])
    card = (bundles / "ov" / "CARD.md").read_text()
    assert "The model is in the form of openvino (model.xml): not for ONNX Runtime" in card
    assert "ov: openvino, 1 thread" in card
    assert "sherpa_onnx" not in card
    assert "sherpa_onnx" in (bundles / "onnx" / "CARD.md").read_text()


def test_a_bundle_for_another_runtime_transcribes_as_the_onnx_bundle_does(
    call: Call, bundles: Path, dev: dict[str, str], trials: list[dict[str, Any]]
) -> None:
    texts = {}
    for name in ("onnx", "ov", "ov.zip"):
        lines = call("transcribe", "--json", bundles / name, *dev).splitlines()
        texts[name] = [json.loads(line)["text"] for line in lines]
    assert len(texts["onnx"]) == N_DEV
    assert texts["ov"] == texts["onnx"]
    assert texts["ov.zip"] == texts["ov"]
    wer = jiwer.wer(list(dev.values()), texts["ov"])
    assert wer == pytest.approx(trials[0]["metrics"]["wer@ov"])
