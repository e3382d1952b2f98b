"""A model repository for NVIDIA Triton, its ONNX Runtime backend batching on the fly.

OUT/MODEL/config.pbtxt      schema: tritonclient's model_config.proto
OUT/MODEL/1/model.onnx      a further numbered folder is a hot update
OUT/client/                 client.py, tokens.txt, features.json
OUT/README.md, OUT/bundle/  how to use it; the bundle that it was made of, with its card
"""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from search.bundle.card import written_card
from search.bundle.forms import triton_client
from search.errors import UsageFault
from workers.recognizer import FEATURES, MODEL, TOKENS, OpenedBundle

NAME = "triton"
_MOST_BATCH = 16
_QUEUE_US = 3000  # that a request may wait for others
_COPIES = 2
_VERSIONS = 2  # that are kept loaded, so that a client of the one before finds it


def write(bundle: OpenedBundle, source: Path, out: Path, name: str) -> None:
    """Write the repository of a bundle that lies in `source`.

    Raises:
        UsageFault: for a model that Triton cannot batch, or that hears otherwise than the client.
    """
    if bundle.backend != "onnxruntime":
        raise UsageFault(
            f"--form triton: is made of a bundle for ONNX Runtime, not {bundle.backend}"
        )
    if bundle.is_live:
        raise UsageFault(
            "--form triton: batches along the first axis of what a model carries, which that of a "
            "student for live speech is not; `search serve` hears it"
        )
    if not bundle.front_end.is_usual:
        raise UsageFault(f"--form triton: its client does not hear {bundle.front_end.label()}")
    model = onnx.load(str(bundle.main), load_external_data=False)
    names = [o.name for o in model.graph.output]
    if len(names) < 2:
        raise UsageFault("--form triton: the model does not tell how much of its output counts")
    told = {
        "name": name,
        "mels": bundle.front_end.mels,
        "symbols": len(bundle.symbols),
        "most_batch": _MOST_BATCH,
        "queue_us": _QUEUE_US,
        "copies": _COPIES,
        "versions": _VERSIONS,
        "inputs": [i.name for i in model.graph.input],
        "outputs": names,
    }
    version = out / name / "1"
    version.mkdir(parents=True)
    shutil.copyfile(bundle.main, version / MODEL)
    config = written_card("triton.pbtxt.j2", **told)
    (out / name / "config.pbtxt").write_text(config, encoding="utf-8")
    client = out / "client"
    client.mkdir()
    shutil.copyfile(triton_client.__file__, client / "client.py")
    for file in (TOKENS, FEATURES):
        shutil.copyfile(source / file, client / file)
    (out / "README.md").write_text(written_card("triton.md.j2", **told), encoding="utf-8")
