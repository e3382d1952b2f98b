"""A phone by adb, played by a script: what it measures, and how it can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.cli.main import run
from search.devices.calibrate import calibrate
from search.devices.check import check, check_targets
from search.errors import UsageFault
from search.home import Home
from spaces.metrics import MetricRef
from spaces.space import Space
from workers.errors import DeviceRefused, DeviceUnreachable, WorkError
from workers.measure.latency import measure_latency
from workers.probe.request import Candidate, LatencyRequest
from workers.targets.adb import BINARY, Phone, times_of

SERIAL = "R58M123"
# Answers as a phone does, or fails in the way that ADB_MODE names.
STAND_IN = f"""#!/bin/sh
test "$1 $2" = "-s {SERIAL}" || exit 99
shift 2
echo "$*" >> "$ADB_LOG"
case "$ADB_MODE" in
    asleep) exec sleep 600 ;;
    away) said="error: no devices/emulators found" ;;
    gone) said="adb: device '{SERIAL}' not found" ;;
    offline) said="error: device offline" ;;
    stranger) said="error: device unauthorized.
Otherwise check for a confirmation dialog on your device." ;;
esac
test -n "$said" && {{ printf '* daemon started\\n%s\\n' "$said" >&2; exit 1; }}
case "$ADB_MODE:$*" in
    *getprop*) printf 'Pixel 8\\n9\\n14\\n' ;;
    bare:*"test -x"*) echo no ;;
    *"test -x"*) echo yes ;;
    broken:*"-m times"*)
        echo 'CANNOT LINK EXECUTABLE: library "libonnxruntime.so" not found' >&2; exit 1 ;;
    short:*result.csv) printf 'model,s\\nm,1\\nm,1\\nm,1\\n' ;;
    *result.csv) seq 200 | while read i; do printf 'm,0.%04d,x\\n' "$i"; done ;;
    *push*) test -e "$2" || exit 98 ;;
esac
"""


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Sets how the phone is; gives the log of what it is asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "adb"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("ADB_LOG", str(tmp_path / "log"))

    def phone(mode: str) -> Path:
        monkeypatch.setenv("ADB_MODE", mode)
        return tmp_path / "log"

    phone("")
    return phone


@pytest.fixture
def request_(tmp_path: Path) -> LatencyRequest:
    """Two utterances; the tool's answers do not depend on the model."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"model")
    audio = []
    for i, seconds in enumerate((0.5, 1.0)):
        audio.append(str(tmp_path / f"{i}.npy"))
        np.save(audio[-1], np.zeros(round(16_000 * seconds), np.float32))
    candidate = Candidate("onnxruntime", str(model), "tokens.txt", {})
    return LatencyRequest((candidate,), tuple(audio), (0.5, 1.0), threads=4, min_runs=24)


def test_a_phone_times_the_network_of_each_utterance(
    adb: Callable[[str], Path], request_: LatencyRequest
) -> None:
    (restart,) = Phone(SERIAL).run(request_)
    model_ms = np.array(restart.model_ms)
    assert model_ms.shape == (12, 2)  # 24 runs over two utterances
    assert model_ms[:, 0] == pytest.approx(np.arange(189, 201) / 10)  # the last ones
    said = {"processor": "Pixel 8", "cores": 9, "system": "Android 14"}
    said["runtimes"] = ["onnxruntime_perf_test"]
    assert restart.machine.items() >= said.items()
    assert restart.end_to_end_ms == restart.anchor_cpu_ms == restart.texts == []
    assert restart.load_ms is None


def test_the_tool_is_given_the_model_the_features_and_the_number_of_threads(
    adb: Callable[[str], Path], request_: LatencyRequest
) -> None:
    Phone(SERIAL).run(request_)
    asked = adb("").read_text().splitlines()
    assert sum(line.startswith("push") and line.endswith("model.onnx") for line in asked) == 2
    assert sum(line.startswith("push") and "test_data_set_0" in line for line in asked) == 2
    (first, second) = (line for line in asked if "-m times" in line)
    assert first == second
    assert f"{BINARY} -m times -r 12 -e cpu -x 4 -y 1 model.onnx" in first


def test_a_measurement_of_a_phone_tells_two_figures(
    adb: Callable[[str], Path], request_: LatencyRequest
) -> None:
    (latency,) = measure_latency(request_, Phone(SERIAL).run)
    assert set(latency.summary(macs_per_s=1e9)) == {"graph_p50_ms", "graph_p95_ms"}
    assert latency.unsteady == ()
    assert latency.profile is None


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("away", "no devices/emulators found"),
        ("gone", "device 'R58M123' not found"),
        ("offline", "device offline"),
        ("stranger", "device unauthorized"),
    ],
)
def test_a_phone_that_is_not_there_is_away(
    adb: Callable[[str], Path], request_: LatencyRequest, mode: str, said: str
) -> None:
    adb(mode)
    with pytest.raises(DeviceUnreachable, match=f"^adb {SERIAL}: .*{said}"):
        Phone(SERIAL).run(request_)


def test_a_phone_without_the_tool_refuses(
    adb: Callable[[str], Path], request_: LatencyRequest
) -> None:
    adb("bare")
    with pytest.raises(DeviceRefused, match=f"^adb {SERIAL}: no executable at {BINARY}$"):
        Phone(SERIAL).run(request_)


def test_a_tool_that_fails_is_a_failure_and_no_absence(
    adb: Callable[[str], Path], request_: LatencyRequest
) -> None:
    adb("broken")
    with pytest.raises(WorkError, match="shell ended with 1: CANNOT LINK") as caught:
        Phone(SERIAL).run(request_)
    assert type(caught.value) is WorkError


def test_a_tool_that_tells_too_little_is_a_failure(
    adb: Callable[[str], Path], request_: LatencyRequest
) -> None:
    adb("short")
    with pytest.raises(WorkError, match="onnxruntime_perf_test printed 3 of 12 times"):
        Phone(SERIAL).run(request_)


def test_a_phone_that_does_not_answer_is_away(adb: Callable[[str], Path]) -> None:
    adb("asleep")
    with pytest.raises(DeviceUnreachable, match="no answer in 0 s"):
        Phone(SERIAL, timeout_s=0.2).device()


def test_without_adb_a_phone_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceRefused, match="adb is not installed here"):
        Phone(SERIAL)


# its result file


def test_times_are_read_from_the_second_column_and_the_last_are_taken() -> None:
    csv = "model,time\nm,0.5\nm,0.001,x\n\nm,0.002\nodd line\nm,0.003,y,z\n"
    assert times_of(csv, 3) == pytest.approx([1.0, 2.0, 3.0])


@pytest.mark.parametrize("csv", ["", "model,time\n", "m,0.1\n", "m\nm\nm\n"])
def test_a_file_without_enough_times_is_a_failure(csv: str) -> None:
    with pytest.raises(WorkError, match=r"printed [01] of 2 times"):
        times_of(csv, 2)


# as a target


@pytest.fixture
def space(make_space: Callable[..., Space]) -> Space:
    return make_space(
        targets={"cpu": {}, "phone": {"adb": SERIAL}}, objectives=["wer", "graph_p95_ms@phone"]
    )


@pytest.mark.parametrize(
    ("mode", "state", "said"),
    [
        ("", "ready", "Pixel 8, 9 cores, onnxruntime_perf_test"),
        ("away", "away", "no devices/emulators found"),
        ("bare", "refused", "no executable at"),
    ],
)
def test_devices_of_a_space_are_asked(
    adb: Callable[[str], Path], space: Space, mode: str, state: str, said: str
) -> None:
    adb(mode)
    here, phone = check(space)
    assert (here.target, here.state, here.device) == ("cpu", "ready", "this machine")
    assert (phone.target, phone.state, phone.device) == ("phone", state, f"adb {SERIAL}")
    assert said in phone.message


def test_what_decides_and_a_phone_does_not_tell_is_refused(
    adb: Callable[[str], Path], space: Space
) -> None:
    adb("")
    whole, graph = MetricRef("latency_p95_ms", "phone"), MetricRef("graph_p95_ms", "phone")
    check_targets(space, [MetricRef("wer"), MetricRef("latency_p95_ms"), graph])
    with pytest.raises(UsageFault, match=r"phone \(adb R58M123\) does not tell latency_p95_ms"):
        check_targets(space, [graph, whole])


def test_the_command_that_checks_devices_fails_when_one_is_away(
    adb: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "phone.yaml"
    path.write_text(
        "name: phone\ndata: {synthetic: {}}\nteacher: {train: {}}\n"
        "students: {separable_conv: {channels: 16}}\n"
        f"targets: {{cpu: {{}}, phone: {{adb: {SERIAL}}}}}\n"
    )
    arguments = ["--home", str(tmp_path), "devices", "check", "--space", str(path)]
    assert run(arguments) == 0
    assert f"ok   phone (onnxruntime on adb {SERIAL}): ready: Pixel 8" in capsys.readouterr().out
    adb("offline")
    assert run([*arguments, "--json"]) == 1
    rows = {row["target"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["cpu"]["state"], rows["phone"]["state"]) == ("ready", "away")
    assert rows["cpu"]["report"]["cores"] >= 1


def test_a_phone_by_adb_has_no_anchor_to_be_calibrated_by(
    adb: Callable[[str], Path], space: Space, tmp_path: Path
) -> None:
    with pytest.raises(UsageFault, match="phone: a phone by adb runs no anchor"):
        calibrate(space, "phone", Home.at(tmp_path).workspace().locks)
