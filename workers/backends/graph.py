"""What ONNX Runtime makes of a graph when it loads it: which operators it has fused."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime as ort

from workers.backends.base import Settings
from workers.backends.onnxruntime import session_options
from workers.isolated_call import Request


def loaded_graph(request: Request) -> dict[str, object]:
    """How often each operator is in the file at `model`, and in what is run of it; in a process of
    its own."""
    model = Path(request["model"])
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = session_options(model, Settings())
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = 4  # it warns that the file is for this machine only
        ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        return {
            "runtime": f"ONNX Runtime {ort.__version__}",
            "written": _kinds(model),
            "run": _kinds(optimised),
        }


def _kinds(path: Path) -> dict[str, int]:
    return dict(Counter(node.op_type for node in onnx.load(str(path)).graph.node))
