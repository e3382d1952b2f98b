"""What a machine is, and what it did while something was measured on it.

By psutil; what that does not know (the processor's name, its governor, throttling, energy, the
peak of a process's memory) is read from where Linux tells it. What a system does not tell is
absent or None, never a guess.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_CPU = Path("/sys/devices/system/cpu")
_RAPL = Path("/sys/class/powercap")


KALDI = "kaldi-native-fbank"


@dataclass(frozen=True)
class MachineReport:
    """One machine, as it is now. Frequencies in MHz, temperature in degrees Celsius."""

    node: str
    system: str
    architecture: str
    processor: str
    cores: int
    memory_mb: float | None
    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    load_1min: float | None
    python: str
    runtimes: tuple[str, ...]
    features_by: str  # what computes the filter banks here
    untold: tuple[str, ...] = ()  # metrics that this machine cannot tell

    @property
    def identity(self) -> tuple[str, str, int, tuple[str, ...]]:
        """What a timing depends on and does not change by the minute."""
        return (self.node, self.processor, self.cores, self.runtimes)


def report(filter_bank: str = "kaldi") -> MachineReport:
    """This machine as it is now.

    Args:
        filter_bank: that features are to be computed with.
    """
    return MachineReport(
        node=platform.node(),
        system=platform.system(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=usable_cores(),
        memory_mb=psutil.virtual_memory().total / 1e6,
        governor=_text(_CPU / "cpu0/cpufreq/scaling_governor"),
        frequency_mhz=frequency_mhz(),
        temperature_c=temperature_c(),
        load_1min=psutil.getloadavg()[0],
        python=platform.python_version(),
        runtimes=_runtimes(),
        features_by=features_by(filter_bank),
        untold=() if energy_j(gpu=False) is not None else ("energy_mj",),
    )


def report_of(_request: Mapping[str, object]) -> dict[str, object]:
    """The same, as a child process answers it."""
    return asdict(report())


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def features_by(filter_bank: str = "kaldi") -> str:
    """What computes the filter banks here."""
    import importlib.util

    if filter_bank == "kaldi" and importlib.util.find_spec("kaldi_native_fbank") is not None:
        return KALDI
    has_scipy = importlib.util.find_spec("scipy") is not None
    return "numpy and scipy" if has_scipy else "numpy"


def _runtimes() -> tuple[str, ...]:
    import importlib.metadata

    found = []
    for package in ("onnxruntime", "onnxruntime-gpu", "numpy", "kaldi-native-fbank"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _processor() -> str:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith(("model name", "Model", "Hardware")):
            return line.partition(":")[2].strip()
    model = _text(Path("/proc/device-tree/model"))
    return (model or platform.processor() or platform.machine()).strip("\0")


def frequency_mhz() -> float | None:
    """Of the fastest core now: the others may be asleep."""
    try:
        each = [f.current for f in psutil.cpu_freq(percpu=True) if f.current]
    except (OSError, AttributeError, NotImplementedError):  # not told here
        return None
    return max(each, default=None)


def temperature_c() -> float | None:
    """The hottest sensor."""
    read = getattr(psutil, "sensors_temperatures", None)
    sensors = [] if read is None else [s for found in read().values() for s in found]
    each = [s.current for s in sensors if s.current]
    return max(each, default=None)


def _throttled() -> float:
    """How often the processor has throttled itself so far."""
    found = [_number(p) for p in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(n for n in found if n is not None)


def energy_j(gpu: bool) -> float | None:
    """What processors (RAPL), and if asked for GPUs (NVML), have used so far; None where one of
    them does not tell."""
    found = [_number(p) for p in sorted(_RAPL.glob("intel-rapl:[0-9]/energy_uj"))]
    each = [e / 1e6 for e in found if e is not None]
    if not each or (gpu and not _gpu_energy_j()):
        return None
    return sum(each) + (sum(_gpu_energy_j()) if gpu else 0.0)


def _gpu_energy_j() -> list[float]:
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [pynvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1000 for h in handles]
    except Exception:  # no package, no driver, no GPU, or one that does not tell
        return []


@dataclass(frozen=True)
class _Ticks:
    busy_s: float
    stolen_s: float | None


def _ticks() -> _Ticks:
    spent = psutil.cpu_times()
    kinds = ("user", "nice", "system", "irq", "softirq")
    busy_s = sum(getattr(spent, kind, 0.0) for kind in kinds)
    return _Ticks(busy_s, getattr(spent, "steal", None))


def _own_cpu_s() -> float:
    used = psutil.Process().cpu_times()
    return used.user + used.system


@dataclass(frozen=True)
class LoadReport:
    """What went on beside a measurement; None where the system does not tell."""

    others_load: float | None  # cores kept busy by other processes
    stolen_share: float | None  # of one core, by the host of a virtual machine
    frequency_ratio: float | None  # at the end over the beginning
    throttled: bool
    temperature_c: float | None


class LoadMonitor:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._own_s, self._ticks = _own_cpu_s(), _ticks()
        self._frequency, self._throttled = frequency_mhz(), _throttled()

    def end(self) -> LoadReport:
        wall_s = max(time.monotonic() - self._began, 1e-3)
        ticks, own_s = _ticks(), _own_cpu_s() - self._own_s
        others = max(0.0, ticks.busy_s - self._ticks.busy_s - own_s) / wall_s
        stolen = None
        if ticks.stolen_s is not None and self._ticks.stolen_s is not None:
            stolen = (ticks.stolen_s - self._ticks.stolen_s) / wall_s
        frequency = frequency_mhz()
        ratio = frequency / self._frequency if frequency and self._frequency else None
        return LoadReport(
            others_load=others,
            stolen_share=stolen,
            frequency_ratio=ratio,
            throttled=_throttled() > self._throttled,
            temperature_c=temperature_c(),
        )


def reset_peak_memory() -> float:
    """Memory in use now, in MB; the peak counts from here where the system allows (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak_memory_mb()
    return psutil.Process().memory_info().rss / 1e6


def peak_memory_mb() -> float:
    """The most that was in use since `reset_peak_memory`, or since the process began."""
    for line in (_text(Path("/proc/self/status")) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
