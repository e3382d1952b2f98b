"""What cannot be transcribed: bundles that are none, and recordings that cannot be read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import write_bundle, write_text, write_tokens
from refusals import Refused


def zipped(folder: Path, packing: int = zipfile.ZIP_STORED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", packing) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def torn(path: Path) -> Path:
    """Overwrite some bytes inside of what is packed first."""
    content = bytearray(path.read_bytes())
    content[120:140] = b"\xff" * 20
    path.write_bytes(content)
    return path


def without_model(folder: Path, manifest: str | None = None) -> Path:
    write_bundle(folder, manifest)
    (folder / "model.onnx").unlink()
    return folder


def few_tokens(folder: Path) -> Path:
    write_bundle(folder)
    write_tokens(folder / "tokens.txt", "<blk>", "a")
    return folder


OTHER_MODEL = json.dumps({"files": {"model.onnx": "0" * 64}})
BAD_BUNDLES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p / "gone", "{path}: no such bundle"),
    "an empty folder": (lambda p: p, "{path}: is not a bundle (it holds no model.onnx)"),
    "a model alone": (
        lambda p: write_bundle(p / "b") / "model.onnx",
        "{path}: is neither a bundle's folder nor its zip (File is not a zip file)",
    ),
    "text named .zip": (
        lambda p: write_text(p / "b.zip", "no zip"),
        "{path}: is neither a bundle's folder nor its zip (File is not a zip file)",
    ),
    "a zip of something else": (
        lambda p: zipped(without_model(p / "b")),
        "{path}: is not a bundle (it holds no bundle.json)",
    ),
    "a zip without its model": (
        lambda p: zipped(without_model(p / "b", "{}")),
        "{path}: is not a bundle (it holds no model.onnx)",
    ),
    "a bundle of another runtime without its model": (
        lambda p: zipped(write_bundle(p / "b", '{"backend": "openvino", "main": "model.xml"}')),
        "{path}: is not a bundle (it holds no model.xml)",
    ),
    "a bundle of an unknown runtime": (
        lambda p: write_bundle(p / "b", '{"backend": "opnvino"}'),
        'no backend "opnvino"; did you mean "openvino"?',
    ),
    "a bundle that names a file elsewhere": (
        lambda p: write_bundle(p / "b", '{"main": "../../etc/passwd"}'),
        "{path}: is not a bundle (it holds no ../../etc/passwd)",
    ),
    "a damaged zip": (
        lambda p: torn(zipped(write_bundle(p / "b", "{}"), zipfile.ZIP_DEFLATED)),
        "{path}: is neither a bundle's folder nor its zip (",
    ),
    "a damaged model": (
        lambda p: write_bundle(p / "b", OTHER_MODEL),
        "{path}/model.onnx: is damaged: not the file this bundle was made with; copy or export it",
    ),
    "a damaged model in a zip": (
        lambda p: zipped(write_bundle(p / "b", OTHER_MODEL)),
        "{path}/model.onnx: is damaged: not the file this bundle was made with; copy or export it",
    ),
    "no model": (
        lambda p: zipped(write_bundle(p / "b", "{}", junk=True)),
        "{path}/model.onnx: ONNX Runtime cannot load it (",
    ),
    "tokens of another model": (
        lambda p: few_tokens(p / "b"),
        "model.onnx writes 3 symbols, but tokens.txt lists 2: they are not of one bundle",
    ),
    "a description that is not JSON": (
        lambda p: write_bundle(p / "b", "{"),
        "{path}/bundle.json: is not JSON (",
    ),
    "a description of something else": (
        lambda p: write_bundle(p / "b", '{"files": 3}'),
        "{path}/bundle.json: is not a bundle's description",
    ),
}


@pytest.mark.parametrize("kind", BAD_BUNDLES)
def test_what_is_no_bundle_is_told(
    refused: Refused, tmp_path: Path, audio: Path, kind: str
) -> None:
    make, said = BAD_BUNDLES[kind]
    path = make(tmp_path)
    assert said.format(path=path) in refused("transcribe", path, audio / "train0.wav")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("gone.wav", "no such file"),
        ("words.wav", "is not audio that can be read (Format not recognised)"),
        ("empty.wav", "is an empty file"),
        ("cut.wav", "is truncated (16,022 bytes of 32,044)"),
        ("silent.wav", "is silent (peak below -70 dB)"),
        ("folder.wav", "is a folder, not an audio file"),
    ],
)
def test_a_recording_that_cannot_be_read_is_told_and_the_others_are_transcribed(
    refused: Refused, tmp_path: Path, audio: Path, name: str, fault: str
) -> None:
    bundle = write_bundle(tmp_path / "student")
    good = audio / "train0.wav"
    said = refused("transcribe", bundle, good, audio / name, audio / "train1.wav")
    assert f"search: {audio / name}: {fault}" in said
    assert f"{good}\t" in said
    assert f"{audio / 'train1.wav'}\t" in said
