"""A page that records and transcribes by itself: onnxruntime-web in WASM, features included.

OUT/index.html, app.mjs     the page
OUT/student.mjs, fbank.mjs  the recogniser, for pages of your own
OUT/ort/                    onnxruntime-web, of the npm registry
OUT/serve.py                serves the folder on localhost, with threads
OUT/bundle/                 what it was made of
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from importlib.resources import files
from pathlib import Path

from search.bundle.card import written_card
from search.errors import EnvironmentFault, UsageFault
from workers.recognizer import FEATURES, MODEL, TOKENS, OpenedBundle

NAME = "browser"
_PACKAGE = "onnxruntime-web@1.30.0"
_RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_PAGE = ("app.mjs", "student.mjs", "fbank.mjs", "recorder.mjs", "serve.py")
_MOST_BYTES = 100_000_000  # of a file of the package
_TIME_S = 300


def write(bundle: OpenedBundle, source: Path, out: Path, name: str) -> None:
    """Write the page of a bundle that lies in `source`.

    Raises:
        UsageFault: for a model that is not for ONNX Runtime, or hears otherwise than the page.
        EnvironmentFault: where onnxruntime-web cannot be fetched.
    """
    if bundle.backend != "onnxruntime":
        raise UsageFault(
            f"--form browser: is made of a bundle for ONNX Runtime, not {bundle.backend}"
        )
    front_end = bundle.front_end
    if front_end.is_samples or not front_end.in_sherpa_onnx or front_end.sample_rate_hz != 16_000:
        raise UsageFault(f"--form browser: its page does not hear {front_end.label()}")
    page = files("search.bundle.forms") / "page"
    for file in _PAGE:
        (out / file).write_text((page / file).read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copyfile(bundle.main, out / MODEL)
    for file in (TOKENS, FEATURES):
        shutil.copyfile(source / file, out / file)
    told = f"{bundle.main.stat().st_size / 1e6:.1f} MB"
    html = written_card("page.html.j2", name=name, told=told)
    (out / "index.html").write_text(html, encoding="utf-8")
    (out / "ort").mkdir()
    _fetch_runtime(out / "ort")


def _fetch_runtime(into: Path) -> None:
    """The files of onnxruntime-web, by npm, which checks what it fetches."""
    npm = shutil.which("npm")
    if npm is None:
        raise EnvironmentFault(
            f"--form browser: npm fetches {_PACKAGE} and is not here; install Node.js, or export "
            "on a machine that has it: the folder runs anywhere"
        )
    with tempfile.TemporaryDirectory() as work:
        command = [npm, "pack", _PACKAGE, "--pack-destination", work, "--silent"]
        try:
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=_TIME_S
            )
        except subprocess.TimeoutExpired as error:
            raise EnvironmentFault(f"--form browser: npm took more than {_TIME_S} s") from error
        packed = next(Path(work).glob("*.tgz"), None)
        if done.returncode != 0 or packed is None:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise EnvironmentFault(f"--form browser: npm could not fetch {_PACKAGE} ({last})")
        with tarfile.open(packed) as archive:
            for file in _RUNTIME:
                _unpack(archive, f"package/dist/{file}", into / file)


def _unpack(archive: tarfile.TarFile, member: str, path: Path) -> None:
    info = archive.getmember(member)
    found = archive.extractfile(info) if info.isfile() and info.size < _MOST_BYTES else None
    if found is None:
        raise EnvironmentFault(f"--form browser: {_PACKAGE} holds no {member} that is a file")
    with found, path.open("wb") as file:
        shutil.copyfileobj(found, file)
