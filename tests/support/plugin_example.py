"""A backend from outside: an entry point of the group compression_search.backends names it.

Whoever reads a space imports it for INFO: import a heavy runtime within the functions.
"""

from spaces.backends import BackendInfo
from workers.backends.onnxruntime import open_session, prepare, version

__all__ = ["INFO", "open_session", "prepare", "version"]

INFO = BackendInfo(
    "example", "plugin_example", "ONNX Runtime by another name", modules=("onnxruntime",)
)
