"""Every runtime that is installed × number formats × one student of each family, one thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from students import SECONDS, STUDENTS, audio_in, calibration, make

from spaces.backends import BACKENDS
from spaces.recipe import Quantize
from workers.backends.environments import is_installed
from workers.errors import UserFault, WorkError
from workers.export.convert import convert
from workers.measure.latency import Candidate, LatencyRequest, measure_latency

FORMATS = ("fp32", "fp16", "int8", "int8_dynamic", "int8_static", "int4")
LENGTHS = tuple(round(s * 100) for s in SECONDS)


def test_backends(tmp_path: Path) -> None:
    audio = audio_in(tmp_path / "audio")
    features = calibration()
    infos = [
        i
        for i in BACKENDS.values()
        if i.status != "for tests" and is_installed(i) and (not i.gpu or i.name == "torch")
    ]
    print("\nnetwork CPU ms (lower quartile, mean of 1 to 6 s) · size MB · anchor ratio · steady?")
    for family, dims in STUDENTS.items():
        made = make(dims, tmp_path / family)
        print(f"{family}, {made.n_parameters / 1e6:.2f} M parameters")
        for info in infos:
            for scheme in FORMATS:
                formats = (scheme,) * 3
                if info.refuses(family, formats) is not None:
                    continue
                folder = tmp_path / family / info.name / scheme
                folder.mkdir(parents=True)
                print(f"  {info.name:12s} {scheme:12s} ", end="", flush=True)
                try:
                    print(_row(info.name, made, scheme, features, audio, folder), flush=True)
                except (UserFault, WorkError) as error:
                    print(f"failed: {str(error)[:150]}")


def _row(backend, made, scheme, features, audio, folder) -> str:
    files = convert(
        backend,
        made.onnx,
        made.network,
        Quantize(frontend=scheme, encoder=scheme, head=scheme),
        features,
        LENGTHS[1::2],
        folder,
    )
    request = LatencyRequest(
        candidates=(Candidate(backend, str(files[0]), str(made.tokens), {"threads": 1}),),
        audio=audio,
        audio_s=SECONDS,
        max_s=4.0,
    )
    (timed,) = measure_latency(request)
    size = sum(f.stat().st_size for f in files) / 1e6
    wall = float(np.percentile(timed.pooled("graph_ms"), 50))
    cpu = float(np.percentile(timed.pooled("graph_cpu_ms"), 25, axis=0).mean())
    steady = "; ".join(timed.unsteady) or "steady"
    return f"{cpu:7.3f} ms (wall p50 {wall:7.3f}) {size:6.2f} MB {timed.anchor_ratio:7.2f} {steady}"
