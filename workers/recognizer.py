"""Bundle and audio in, text out: what a device does, without torch."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import numpy as np

from spaces.files import why_not_a_file
from spaces.front_end import SAMPLES, USUAL, FrontEnd
from spaces.streaming import FRAME_MS
from storage.artifacts import file_digest
from workers.backends.base import Settings
from workers.backends.isolated_session import IsolatedSession, open_isolated
from workers.data.features import SAMPLE_RATE_HZ, fbank
from workers.data.features_numpy import fbank_numpy
from workers.data.sources import at_rate_of
from workers.data.text import decode, decode_words, read_tokens
from workers.errors import BundleFault, UserFault
from workers.transcript import Word

MODEL, TOKENS, MANIFEST, FEATURES = "model.onnx", "tokens.txt", "bundle.json", "features.json"
RAW_SAMPLES = "raw samples"  # what a features.json says of a model that hears them
STREAMING = "streaming"  # in a features.json: how a model hears live speech
_LIVE_STEP_S = FRAME_MS / 1000  # of a model that hears live speech; its output has a silent tail
_SILENT = round(0.04 * SAMPLE_RATE_HZ)
_MAX_BYTES = 4 << 30
_MAX_MEMBERS = 100
_T = TypeVar("_T")
# RuntimeError is what zipfile says of a password or a packing it does not know.
UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError)


class Manifest(TypedDict, total=False):
    """What of `bundle.json` is needed to load it."""

    main: str
    backend: str
    filter_bank: str
    files: dict[str, str]


@dataclass(frozen=True)
class Recognizer:
    """An exported student, ready to transcribe; its runtime is in a process of its own."""

    session: IsolatedSession
    symbols: tuple[str, ...]
    front_end: FrontEnd = USUAL
    has_fast_features: bool = False
    is_live: bool = False  # whether the model hears live speech

    def transcribe(self, samples: np.ndarray) -> str:
        """Text of one utterance, float32 [n_samples] in [-1, 1] at 16 kHz.

        Raises:
            UserFault: when the model does not fit its tokens, or the utterance is too long for it.
            WorkError: when the runtime crashes on it, or takes far too long.
        """
        return decode(self._heard(samples), self.symbols)

    def words(self, samples: np.ndarray, start_s: float = 0.0) -> list[Word]:
        """The same, word by word, with times: from where the first symbol of a word was written to
        after the last.

        Args:
            start_s: where in a recording the utterance begins.
        """
        ids, length_s = self._heard(samples), len(samples) / SAMPLE_RATE_HZ
        return timed_words(ids, self.symbols, length_s, start_s, is_live=self.is_live)

    def _heard(self, samples: np.ndarray) -> tuple[int, ...]:
        by = fbank_numpy if self.has_fast_features else fbank
        if self.is_live:
            samples = with_silent_end(samples)
        heard = self.session.listen(by(at_rate_of(self.front_end, samples), self.front_end))
        if heard.n_symbols != len(self.symbols):
            raise BundleFault(
                f"{MODEL} writes {heard.n_symbols} symbols, but {TOKENS} lists "
                f"{len(self.symbols)}: they are not of one bundle"
            )
        return heard.ids


def with_silent_end(samples: np.ndarray) -> np.ndarray:
    """As live speech ends: the last window is over silence, not over the mirrored end."""
    return np.concatenate([samples, np.zeros(_SILENT, np.float32)])


def timed_words(
    ids: Sequence[int], symbols: Sequence[str], length_s: float, start_s: float, *, is_live: bool
) -> list[Word]:
    """The words of an utterance by the likeliest symbol of each frame that was written of it.

    Args:
        start_s: where in a recording the utterance begins.
        is_live: whether it was heard as live speech is, so that a word may be written after its
            end.
    """
    step_s = _LIVE_STEP_S if is_live else length_s / max(1, len(ids))
    return [
        Word(
            w.text,
            start_s + min(w.first * step_s, max(0.0, length_s - step_s)),
            start_s + min((w.last + 1) * step_s, length_s),
        )
        for w in decode_words(ids, symbols)
    ]


def open_bundle(path: Path, threads: int = 1) -> Recognizer:
    """Load a bundle, a folder or a zip.

    Raises:
        UserFault: when it is not a bundle, its files are not those it was written with, or its
            runtime cannot load it.
    """
    # A runtime may read its files at any time: they stay as long as the session does.
    work = Path(tempfile.mkdtemp())
    try:
        return _in_folder(path, work, lambda folder: _open_folder(folder, work, path, threads))
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def open_model(
    model: Path, tokens: Path, threads: int = 1, front_end: FrontEnd = USUAL
) -> Recognizer:
    """A bare model for ONNX Runtime and its tokens; both files may go afterwards.

    Raises:
        UserFault: when they cannot be used.
    """
    try:
        symbols = read_tokens(tokens)
    except ValueError as error:
        raise BundleFault(str(error)) from error
    session = open_isolated("onnxruntime", model, Settings(threads=threads))
    return Recognizer(session, symbols, front_end)


def check_bundle(path: Path) -> None:
    """Load a bundle and let it hear a second of noise.

    Raises:
        UserFault, WorkError: when it does not work.
    """
    noise = np.random.default_rng(0).normal(0, 0.01, SAMPLE_RATE_HZ).astype(np.float32)
    recognizer = open_bundle(path)
    try:
        recognizer.transcribe(noise)
    finally:
        recognizer.session.close()


def checked_files(path: Path, work: Path) -> dict[str, Path]:
    """The files of a bundle by name, each the one that it was written with; those of a zip are
    written to `work`.

    Raises:
        UserFault: when it is not a bundle, or not any more.
    """

    def listed(folder: Path) -> dict[str, Path]:
        _, _, names = _checked(folder)
        if not (folder / MANIFEST).is_file():
            raise BundleFault(f"{path}: is not a bundle (it holds no {MANIFEST})")
        return {name: folder / name for name in (*names, MANIFEST)}

    return _in_folder(path, work, listed)


def unpacked_model(path: Path, work: Path) -> tuple[Path, Path]:
    """Model and tokens of a bundle for ONNX Runtime; those of a zip are written to `work`.

    Raises:
        BundleFault: as `open_bundle`, and for a bundle of another runtime.
    """

    def paths(folder: Path) -> tuple[Path, Path]:
        main, backend, _ = _checked(folder)
        if backend != "onnxruntime":
            raise BundleFault(f"{folder}: is made for {backend}, not for ONNX Runtime")
        if not _front_end(folder).is_usual:
            raise BundleFault(
                f"{folder}: hears {_front_end(folder).label()}; only what hears as usual can be "
                "taken from a package: bring the model that it was made of"
            )
        return folder / main, folder / TOKENS

    return _in_folder(path, work, paths)


def _in_folder(path: Path, work: Path, use: Callable[[Path], _T]) -> _T:
    if not path.exists():
        raise BundleFault(f"{path}: no such bundle")
    if path.is_dir():
        return use(path)
    if why := why_not_a_file(path, "a bundle"):
        raise BundleFault(f"{path}: {why}")
    _unpack(path, work)
    try:
        return use(work)
    except UserFault as fault:  # named by the archive, not by where it was unpacked
        raise BundleFault(str(fault).replace(str(work), str(path))) from fault


def _unpack(path: Path, folder: Path) -> None:
    """Only files by plain names and of sane size: no path in an archive is followed."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(n).name: n for n in archive.namelist() if not n.endswith("/")}
            for wanted in (TOKENS, MANIFEST):
                if wanted not in names:
                    raise BundleFault(f"{path}: is not a bundle (it holds no {wanted})")
            if len(names) > _MAX_MEMBERS:
                raise BundleFault(f"{path}: holds {len(names)} files: is not a bundle")
            if sum(archive.getinfo(member).file_size for member in names.values()) > _MAX_BYTES:
                raise BundleFault(f"{path}: is too large for a bundle")
            for name, member in names.items():
                with archive.open(member) as packed, (folder / name).open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    except UNREADABLE_ZIP as error:
        raise BundleFault(f"{path}: is neither a bundle's folder nor its zip ({error})") from error


def _checked(folder: Path) -> tuple[str, str, Iterable[str]]:
    """The model's main file, its backend, and the names of all files; each as it was written."""
    manifest = read_manifest(folder)
    main = str(manifest.get("main", MODEL))
    listed = {main: None, TOKENS: None, **manifest.get("files", {})}
    for name, digest in listed.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise BundleFault(f"{folder}: is not a bundle (it holds no {name})")
        if digest is not None and file_digest(folder / name) != digest:
            raise BundleFault(
                f"{folder / name}: is damaged: not the file this bundle was made with; copy or "
                "export it again"
            )
    return main, str(manifest.get("backend", "onnxruntime")), listed


@dataclass(frozen=True)
class OpenedBundle:
    """A bundle whose files were checked; `main` is of the model, in a folder of the caller's."""

    main: Path
    backend: str
    symbols: tuple[str, ...]
    front_end: FrontEnd
    has_fast_features: bool
    is_live: bool


def copied_bundle(path: Path, work: Path) -> OpenedBundle:
    """A bundle, a folder or a zip, with its files in `work`.

    Raises:
        BundleFault: as `open_bundle`.
    """
    return _in_folder(path, work, lambda folder: _copied(folder, work))


def _copied(folder: Path, work: Path) -> OpenedBundle:
    main, backend, names = _checked(folder)
    if folder != work:
        for name in names:
            shutil.copyfile(folder / name, work / name)
    try:
        symbols = read_tokens(folder / TOKENS)
    except ValueError as error:
        raise BundleFault(str(error)) from error
    is_fast = read_manifest(folder).get("filter_bank") == "fast"
    is_live = STREAMING in _read_json(folder / FEATURES)
    return OpenedBundle(work / main, backend, symbols, _front_end(folder), is_fast, is_live)


def _open_folder(folder: Path, work: Path, path: Path, threads: int) -> Recognizer:
    """Of a bundle in a folder, loaded from `work`, which is its own."""
    bundle = _copied(folder, work)
    session = IsolatedSession(bundle.backend, bundle.main, Settings(threads=threads), shown_as=path)
    return Recognizer(
        session, bundle.symbols, bundle.front_end, bundle.has_fast_features, bundle.is_live
    )


def _front_end(folder: Path) -> FrontEnd:
    """What the model hears; the usual where nothing is said."""
    path = folder / FEATURES
    told = _read_json(path)
    if told.get("kind") == RAW_SAMPLES:
        return SAMPLES
    try:
        return FrontEnd(
            int(told.get("n_mels", USUAL.mels)),
            float(told.get("frame_shift_ms", USUAL.shift_ms)),
            int(told.get("sample_rate_hz", USUAL.sample_rate_hz)),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise BundleFault(f"{path}: {error}") from error


def read_manifest(folder: Path) -> Manifest:
    """The bundle's own description; empty for a bare folder with a model and tokens."""
    path = folder / MANIFEST
    content = _read_json(path)
    if not isinstance(content.get("files", {}), dict):
        raise BundleFault(f"{path}: is not a bundle's description")
    manifest: Manifest = content  # type: ignore[assignment]
    return manifest


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    if why := why_not_a_file(path, "a bundle's description"):
        raise BundleFault(f"{path}: {why}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BundleFault(f"{path}: is not JSON ({error})") from error
    except RecursionError as error:
        raise BundleFault(f"{path}: is not JSON (nested too deeply)") from error
    if not isinstance(content, dict):
        raise BundleFault(f"{path}: is not a bundle's description")
    return content
