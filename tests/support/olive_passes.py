"""What Olive makes of an ONNX file, in an environment of its own: run as a script.

python olive_passes.py MODEL.onnx FEATURES.npz FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from olive.data.component.dataset import BaseDataset
from olive.data.registry import Registry
from olive.model import ONNXModelHandler
from olive.passes.olive_pass import create_pass_from_dict
from olive.passes.onnx.float16_conversion import OnnxFloatToFloat16
from olive.passes.onnx.hqq_quantization import OnnxHqqQuantization
from olive.passes.onnx.quantization import OnnxDynamicQuantization, OnnxStaticQuantization
from olive.passes.onnx.rtn_quantization import OnnxBlockWiseRtnQuantization

MODEL, FEATURES, FOLDER = map(Path, sys.argv[1:])


@Registry.register_dataset("calibration_audio")
def calibration_audio(**_: object) -> BaseDataset:
    """The features that our own static quantization sees."""
    with np.load(FEATURES) as arrays:
        rows = [arrays[name] for name in arrays.files]

    class Audio:
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, i: int) -> tuple[dict[str, np.ndarray], int]:
            return {"x": rows[i], "x_lens": np.array(len(rows[i]), np.int64)}, 0

    return Audio()  # type: ignore[return-value]


DATA = {
    "name": "calibration",
    "load_dataset_config": {"type": "calibration_audio"},
    "pre_process_data_config": {"type": "skip_pre_process"},
    "post_process_data_config": {"type": "skip_post_process"},
    "dataloader_config": {"type": "default_dataloader", "params": {"batch_size": 1}},
}
PASSES: dict[str, tuple[type, dict[str, object]]] = {
    "fp16": (OnnxFloatToFloat16, {"keep_io_types": True}),
    "int8 dynamic": (OnnxDynamicQuantization, {}),
    "int8 dynamic, per channel": (OnnxDynamicQuantization, {"per_channel": True}),
    "int8 static": (OnnxStaticQuantization, {"data_config": DATA}),
    "int8 static, per channel": (
        OnnxStaticQuantization,
        {"data_config": DATA, "per_channel": True, "calibrate_method": "MinMax"},
    ),
    "int4 RTN": (OnnxBlockWiseRtnQuantization, {"block_size": 32}),
    "int4 HQQ": (OnnxHqqQuantization, {"block_size": 32}),
}


def main() -> None:
    said = {}
    for name, (kind, config) in PASSES.items():
        try:
            made = create_pass_from_dict(kind, config, disable_search=True)
            found = made.run(ONNXModelHandler(str(MODEL)), str(FOLDER / f"{name}-work"))
            shutil.copyfile(found.model_path, FOLDER / f"{name}.onnx")
            said[name] = "done"
        except Exception as error:  # what Olive cannot do is part of the comparison
            said[name] = f"{type(error).__name__}: {error}"[:200]
    (FOLDER / "said.json").write_text(json.dumps(said))


main()
