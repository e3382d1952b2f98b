"""A bundle where others find it: a folder, S3 or a hub, with a card as hubs read it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import fsspec
import yaml

from search.errors import UsageFault
from workers.errors import MissingExtra
from workers.recognizer import checked_files

CARD = "README.md"
_EXTRAS = {"s3": "s3", "hf": "hf"}  # of what can be written to


def publish(bundle: Path, where: str, overwrite: bool) -> list[str]:
    """Write the files of a bundle and its card below a folder or URL; their places.

    Args:
        where: anything that fsspec reaches: a folder, `s3://bucket/path`, `hf://user/name`.

    Raises:
        UserFault: when it is not a bundle, or its files are not those it was written with.
        UsageFault: when something lies there already, or nothing can be written there.
    """
    with tempfile.TemporaryDirectory() as work:
        files = checked_files(bundle, Path(work))
        contents = {name: path.read_bytes() for name, path in files.items()}
    contents[CARD] = hub_card(contents).encode()
    try:
        system, root = fsspec.core.url_to_fs(where)
        taken = [name for name in contents if system.exists(f"{root}/{name}")]
        if taken and not overwrite:
            raise UsageFault(f"{where}: {taken[0]} is there already; name another, or --overwrite")
        system.makedirs(root, exist_ok=True)
        for name, content in contents.items():
            system.pipe_file(f"{root}/{name}", content)
    except ImportError as error:
        extra = _EXTRAS.get(where.partition("://")[0])
        if extra is not None:
            raise MissingExtra(where, extra) from error
        raise UsageFault(f"{where}: cannot be written to ({error})") from error
    except (ValueError, NotImplementedError, OSError) as error:
        raise UsageFault(f"{where}: cannot be written to ({error})") from error
    return [f"{where.rstrip('/')}/{name}" for name in contents]


def hub_card(contents: dict[str, bytes]) -> str:
    """The card of a bundle, with what hubs read at its head: task, library and the measured word
    error rate (the metadata of Hugging Face's model cards)."""
    manifest = json.loads(contents["bundle.json"])
    told = json.loads(contents.get("measurements.json", b"{}")).get("student", [])
    figures = {m["metric"]: m["value"] for m in told if m["target"] == manifest.get("target")}
    head: dict[str, object] = {
        "library_name": "sherpa-onnx",
        "pipeline_tag": "automatic-speech-recognition",
        "tags": ["automatic-speech-recognition", "onnx", "ctc", "compressed"],
    }
    if "wer" in figures:
        interval = ""
        if {"wer_low", "wer_high"} <= figures.keys():
            low, high = (100 * figures[end] for end in ("wer_low", "wer_high"))
            interval = f", 95 % {low:.1f} to {high:.1f}"
        metric = {
            "type": "wer",
            "name": f"WER in per cent on dev{interval}",
            "value": round(100 * figures["wer"], 2),
        }
        result = {
            "task": {"type": "automatic-speech-recognition"},
            "dataset": {"type": "private", "name": f"dev of study {manifest.get('study')}"},
            "metrics": [metric],
        }
        name = f"{manifest.get('study')}-{manifest.get('trial', 'teacher')}"
        head["model-index"] = [{"name": name, "results": [result]}]
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{contents.get('CARD.md', b'').decode()}"
