"""The network's time on an Android phone by adb, with ONNX Runtime's own `onnxruntime_perf_test`.

UNTESTED on a phone: written against the tool's documentation and tested with a stand-in for adb.
The binary for the phone's processor has to lie at `BINARY` on the phone beforehand (it is built
with ONNX Runtime: `build.sh --android --build_dir …`; it does not come with the pip package).
It times the network alone: no filter bank, no decoding, no anchor. For the whole pipeline run
`search agent serve` in Termux on the phone instead.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from spaces.front_end import FrontEnd
from spaces.metrics import METRICS
from workers.errors import DeviceRefused, DeviceUnreachable, WorkError
from workers.foreign_text import one_line
from workers.probe.request import Candidate, LatencyRequest, ProcessSample

FOLDER = "/data/local/tmp/compression-search"
BINARY = f"{FOLDER}/onnxruntime_perf_test"
_TOLD = ("graph_p50_ms", "graph_p95_ms", "unsteady")  # the tool times the network alone
_AWAY = re.compile(
    r"no devices|device ('.*' )?not found|device offline|device unauthorized|waiting for device"
)


class Phone:
    """A phone by its serial number, as `adb devices` tells it.

    Args:
        timeout_s: a phone that takes longer for one command is away.

    Raises:
        DeviceRefused: when adb is not installed here.
    """

    def __init__(self, serial: str, timeout_s: float = 600.0) -> None:
        adb = shutil.which("adb")
        if adb is None:
            raise DeviceRefused("adb is not installed here (Debian and Ubuntu: apt install adb)")
        self._adb, self._serial, self._timeout_s = adb, serial, timeout_s

    def device(self) -> dict[str, object]:
        """Processor, cores and Android's version.

        Raises:
            DeviceUnreachable: when the phone is not there, or does not trust this machine yet.
            DeviceRefused: when the binary is not on it.
        """
        printed = self._do(
            "shell", "getprop ro.product.model; nproc; getprop ro.build.version.release"
        )
        model, cores, android = [*printed.split("\n"), "", "", ""][:3]
        if "yes" not in self._do("shell", f"test -x {BINARY} && echo yes || echo no"):
            raise DeviceRefused(f"adb {self._serial}: no executable at {BINARY}")
        return {
            "processor": one_line(model),
            "cores": int(cores) if cores.strip().isdigit() else None,
            "system": f"Android {one_line(android)}",
            "runtimes": ["onnxruntime_perf_test"],
            "untold": [m.name for m in METRICS.values() if m.noisy and m.name not in _TOLD],
        }

    def run(self, request: LatencyRequest) -> list[ProcessSample]:
        """One restart: the network of each candidate over each utterance.

        Raises:
            DeviceUnreachable, DeviceRefused: as `device`.
            WorkError: when the tool fails.
        """
        machine = self.device()
        return [self._measured(c, request, machine) for c in request.candidates]

    def _measured(
        self, candidate: Candidate, request: LatencyRequest, machine: dict[str, object]
    ) -> ProcessSample:
        runs = max(10, -(-request.min_runs // len(request.audio)))
        with tempfile.TemporaryDirectory() as work:
            columns = [
                self._times(Path(work), candidate, np.load(path), runs, request.threads)
                for path in request.audio
            ]
        return ProcessSample(
            end_to_end_ms=[],
            features_ms=[],
            model_ms=np.array(columns).T.tolist(),
            decode_ms=[],
            graph_cpu_ms=[],
            anchor_cpu_ms=[],
            load_ms=None,
            first_ms=None,
            peak_memory_mb=None,
            unsteady=[],
            machine=machine,
            texts=[],
            peak_gflops=None,
            energy_mj=None,
            profile=None,
        )

    def _times(
        self, work: Path, candidate: Candidate, samples: np.ndarray, runs: int, threads: int
    ) -> list[float]:
        """Milliseconds of each run over one utterance, given as the tool's test data."""
        from workers.data.features import fbank

        data = work / "test_data_set_0"
        data.mkdir(exist_ok=True)
        features = fbank(samples, FrontEnd.of_code(candidate.front_end))
        _write_tensor(data / "input_0.pb", "x", features[None])
        _write_tensor(data / "input_1.pb", "x_lens", np.array([len(features)], np.int64))
        self._do("shell", f"rm -rf {FOLDER}/job && mkdir -p {FOLDER}/job")
        self._do("push", candidate.model, f"{FOLDER}/job/model.onnx")
        self._do("push", str(data), f"{FOLDER}/job/")
        self._do(
            "shell",
            f"cd {FOLDER}/job && LD_LIBRARY_PATH={FOLDER} {BINARY} -m times -r {runs} -e cpu "
            f"-x {threads} -y 1 model.onnx result.csv",
        )
        return times_of(self._do("shell", f"cat {FOLDER}/job/result.csv"), runs)

    def _do(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self._adb, "-s", self._serial, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceUnreachable(
                f"adb {self._serial}: no answer in {self._timeout_s:.0f} s"
            ) from error
        if done.returncode == 0:
            return done.stdout
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        away = next((line for line in lines if _AWAY.search(line)), None)
        if away is not None:  # advice on what to do may follow
            raise DeviceUnreachable(f"adb {self._serial}: {one_line(away)}")
        raise WorkError(
            f"adb {self._serial}: {arguments[0]} ended with {done.returncode}: "
            f"{one_line(lines[-1])}"
        )


def times_of(csv: str, runs: int) -> list[float]:
    """Milliseconds of each run, from the tool's result file: name, seconds, … a line.

    Raises:
        WorkError: when it does not hold that many runs.
    """
    times = []
    for line in csv.splitlines():
        cells = line.split(",")
        try:
            times.append(float(cells[1]) * 1000)
        except (IndexError, ValueError):
            continue
    if len(times) < runs:
        raise WorkError(f"onnxruntime_perf_test printed {len(times)} of {runs} times")
    return times[-runs:]


def _write_tensor(path: Path, name: str, values: np.ndarray) -> None:
    from onnx import numpy_helper

    path.write_bytes(numpy_helper.from_array(values, name).SerializeToString())
