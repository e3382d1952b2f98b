"""Everything one trial does: data, teacher, students, training, compression, export, measuring."""

import os

# Read when ONNX Runtime is imported: from 1.31 on it tells its maker of its use otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
