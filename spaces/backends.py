"""What each inference runtime can take, known before any of them is installed.

One line a backend in the table below; its code is the module that the line names. A backend from
outside is a module with the same names and an entry point of the group
`compression_search.backends`, whose `INFO` says what stands in the table for ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spaces.front_end import USUAL
from spaces.registry import Registry

Status = Literal["first class", "experimental", "untested", "for tests"]
PRECISIONS = ("fp32", "bf16", "fp16")
_PLAIN = ("fp32", "fp16")
_ORT = (*_PLAIN, "int8", "int8_dynamic", "int8_static", "int4")
_CONVOLUTIONAL = ("separable_conv", "conformer")


@dataclass(frozen=True)
class BackendInfo:
    """A runtime as a space sees it.

    `formats` are the number formats it can be given, `families` the student families it runs
    (None: all), `settings` the keys of a target that say something to it. `modules` must be
    importable to run it; they come with the pip extra, or with an environment of their own made
    by `search backends install` from `requirements`, where they conflict with ours.
    """

    name: str
    module: str
    meaning: str
    status: Status = "first class"
    formats: tuple[str, ...] = ("fp32",)
    mixed_formats: bool = False  # frontend, encoder and head each in a format of its own
    quantizes_onnx: bool = False  # by our own quantizer: ranges and single layers may be chosen
    families: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()  # families that it does not run
    gathers: bool = True  # whether attention may gather the frames that it looks at
    settings: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    modules: tuple[str, ...] = ()
    extra: str | None = None
    requirements: tuple[str, ...] = ()
    limits: str = ""
    any_mels: bool = False  # features of another size than the usual one
    needs_network: bool = False  # starts from the torch network, not from its ONNX file
    slow_to_prepare: bool = False  # tens of seconds: left out of screening
    fixed_lengths: bool = False  # an utterance is padded to the next of a few lengths
    on_agents: bool = False  # runs on a device that has no torch
    gpu: bool = False
    streams: bool = False  # whether it runs models that are fed window by window
    reads_onnx: bool = False  # what it loads is an ONNX file, whatever its name

    def refuses(self, family: str, formats: tuple[str, ...], mels: int = USUAL.mels) -> str | None:
        """Why a student of this family, its parts in these formats, cannot run here; or None."""
        if mels != USUAL.mels and not self.any_mels:
            return f"{self.name} is given {USUAL.mels} mel bins, not {mels}"
        if family in self.without or (self.families is not None and family not in self.families):
            return f"{self.name} does not run {family}"
        if self.needs_network and family == "teacher":
            return f"{self.name} is prepared from networks of ours, not from a teacher's ONNX file"
        unknown = sorted(set(formats) - set(self.formats))
        if unknown:
            return f"{self.name} has no {', '.join(unknown)} (has {', '.join(self.formats)})"
        if len(set(formats)) > 1 and not self.mixed_formats:
            return f"{self.name} takes one number format for the whole network"
        return None


_TABLE = (
    BackendInfo(
        "onnxruntime",
        "workers.backends.onnxruntime",
        "ONNX Runtime on the CPU",
        formats=_ORT,
        mixed_formats=True,
        quantizes_onnx=True,
        settings=("graph_level", "arena", "spinning"),
        modules=("onnxruntime",),
        any_mels=True,
        on_agents=True,
        streams=True,
        reads_onnx=True,
    ),
    BackendInfo(
        "openvino",
        "workers.backends.openvino",
        "OpenVINO on the CPU",
        formats=("fp32", "fp16", "int8", "int8_static", "int4"),
        settings=("precision",),
        precisions=("fp32", "bf16"),
        modules=("openvino", "nncf"),
        extra="openvino",
        any_mels=True,
        streams=True,
        limits="int8 is static (NNCF); LSTM and GRU stay in fp16; fp16 saves size only",
    ),
    BackendInfo(
        "litert",
        "workers.backends.litert",
        "LiteRT (TensorFlow Lite) with XNNPACK",
        formats=("fp32", "fp16", "int8", "int8_dynamic", "int4"),
        families=_CONVOLUTIONAL,
        gathers=False,
        modules=("ai_edge_litert", "litert_torch", "ai_edge_quantizer"),
        requirements=("litert-torch==0.10.0", "ai-edge-quantizer==0.10.0"),
        limits="utterances are padded to one of a few lengths; recurrent layers would be unrolled",
        needs_network=True,
        slow_to_prepare=True,
        fixed_lengths=True,
    ),
    BackendInfo(
        "ncnn",
        "workers.backends.ncnn",
        "ncnn, by way of pnnx",
        status="experimental",
        formats=("fp32", "fp16"),
        without=("zipformer", "paraformer", "citrinet"),
        gathers=False,
        modules=("ncnn", "pnnx"),
        extra="ncnn",
        limits="no 8-bit tools for these networks; fp16 saves size only; no networks that sum over "
        "frames",
        needs_network=True,
    ),
    BackendInfo(
        "mnn",
        "workers.backends.mnn",
        "MNN, from ONNX",
        status="experimental",
        formats=("fp32", "fp16", "int8", "int4"),
        modules=("MNN",),
        requirements=("MNN==3.6.1",),
        limits="fp16, int8 and int4 are stored weights: they save size, not time, and in 8 and 4 "
        "bits recurrent layers take three times longer",
    ),
    BackendInfo(
        "executorch",
        "workers.backends.executorch",
        "ExecuTorch with XNNPACK",
        status="experimental",
        formats=("fp32", "int8", "int8_dynamic"),
        families=_CONVOLUTIONAL,
        gathers=False,
        modules=("executorch", "torchao"),
        requirements=("executorch==1.2.0", "torchao==0.18.0", "torch==2.11.0"),
        limits="utterances are padded to one of a few lengths; recurrent layers would be unrolled; "
        "static int8 is wrong with attention",
        needs_network=True,
        slow_to_prepare=True,
        fixed_lengths=True,
    ),
    BackendInfo(
        "onnxruntime_cuda",
        "workers.backends.onnxruntime_cuda",
        "ONNX Runtime with its CUDA provider",
        status="untested",
        formats=("fp32", "fp16"),
        settings=("graph_level",),
        modules=("onnxruntime",),
        requirements=("onnxruntime-gpu==1.31.1",),
        limits="needs an NVIDIA GPU; it never ran",
        gpu=True,
        reads_onnx=True,
    ),
    BackendInfo(
        "tensorrt",
        "workers.backends.tensorrt",
        "TensorRT through ONNX Runtime",
        status="untested",
        formats=("fp32", "fp16", "int8_static"),
        settings=("precision",),
        precisions=PRECISIONS,
        modules=("onnxruntime", "tensorrt"),
        requirements=("onnxruntime-gpu==1.31.1", "tensorrt-cu13==10.16.1.11"),
        limits="needs an NVIDIA GPU; it never ran; its engine is built on the first load, for "
        "utterances of up to a minute",
        gpu=True,
        reads_onnx=True,
    ),
    BackendInfo(
        "torch",
        "workers.backends.torch",
        "PyTorch: on a GPU with CUDA graphs, else on the CPU",
        status="untested",
        formats=("fp32",),
        settings=("precision",),
        precisions=PRECISIONS,
        modules=("torch",),
        limits="the GPU path never ran; on the CPU it is a slow reference",
        needs_network=True,
        gpu=True,
    ),
    BackendInfo(
        "stub",
        "workers.backends.stub",
        "no runtime: says the same of any utterance",
        status="for tests",
        formats=_ORT,
        mixed_formats=True,
        quantizes_onnx=True,
        any_mels=True,
        on_agents=True,
    ),
)
BACKENDS: Registry[BackendInfo] = Registry(
    "compression_search.backends", "backend", BackendInfo, {info.name: info for info in _TABLE}
)


def backend_info(name: str) -> BackendInfo:
    """What is known of a backend.

    Raises:
        UnknownName: when there is none of that name, or one from outside that cannot be loaded.
    """
    return BACKENDS[name]
