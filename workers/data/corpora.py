"""Reads lists of transcribed audio: JSON lines, LibriSpeech, TIMIT, CSV, TSV, tar, Lhotse."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spaces.files import why_not_a_file
from spaces.space import Data
from workers.data.remote import in_tar, is_remote, joined, text_at
from workers.errors import DataFault, DataRefused, MissingExtra


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One transcribed stretch of audio. `source` names the file and line it was listed in."""

    audio: str
    text: str
    source: str
    speaker: str | None = None
    offset_s: float = 0.0
    duration_s: float | None = None
    of_list: int = 0  # among those of its split


@dataclass(frozen=True)
class BadLine:
    """A line of a list that is not an utterance."""

    source: str
    message: str


Item = ManifestEntry | BadLine


@dataclass(frozen=True)
class ListOptions:
    """How lists are read that no space names: as its `data:` says, with its defaults but for the
    longest utterance."""

    format: str = "auto"
    audio_column: str | None = None
    text_column: str | None = None
    speaker_column: str | None = None
    lowercase: bool = True
    remove_punctuation: bool = False
    max_duration_s: float = 3600.0


HowRead = Data | ListOptions
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_S = 1e6
_SHOWN_KEYS = 8
_AUDIO = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".sph")


def read_split(paths: tuple[str, ...], data: HowRead) -> list[Item]:
    """All items of a split, bad lines among them.

    Raises:
        DataRefused: when a path is missing, of unknown kind or holds nothing.
    """
    items: list[Item] = []
    for number, text in enumerate(paths):
        found = _read_list(text, data)
        if not found:
            raise DataRefused(f"{text}: holds no utterances")
        items += [
            replace(item, of_list=number) if number and isinstance(item, ManifestEntry) else item
            for item in found
        ]
    return items


def _read_list(text: str, data: HowRead) -> list[Item]:
    if text.lower().endswith(".tar") or is_remote(text):
        return _elsewhere(text, needs_text=True)
    path = Path(text)
    return list(_reader(path, data)(path, data))


def _elsewhere(text: str, needs_text: bool) -> list[Item]:
    """A list that is an archive, or behind a URL."""
    read = read_tar if text.lower().endswith(".tar") else read_remote
    try:
        return list(read(text, needs_text))
    except DataFault as fault:
        raise DataRefused(str(fault)) from fault


def read_tar(archive: str, needs_text: bool = True) -> Iterator[Item]:
    """A shard of a WebDataset: audio and what is said, under the same name."""
    for name, audio, told in in_tar(archive):
        source, speaker = f"{archive}: {name}", told.get("speaker")
        text = told.get("text") if needs_text else ""
        if not isinstance(text, str):
            yield BadLine(source, 'has no text beside its audio (.txt, or .json with "text")')
        else:
            yield ManifestEntry(audio, text, source, None if speaker is None else str(speaker))


def read_remote(url: str, needs_text: bool = True) -> Iterator[Item]:
    """JSON lines behind a URL; audio without a URL of its own lies beside them."""
    if not url.lower().endswith((".jsonl", ".json", ".manifest")):
        raise DataFault(
            f"{url}: of URLs, lists of JSON lines (.jsonl) and archives (.tar) are read"
        )
    base = url.rpartition("/")[0]
    for number, line in enumerate(text_at(url).split("\n"), 1):
        if line.strip():
            item = _from_json(line, f"{url}:{number}", None, needs_text)
            if isinstance(item, ManifestEntry):
                item = replace(item, audio=joined(base, item.audio))
            yield item


def read_unlabelled(paths: tuple[str, ...]) -> list[Item]:
    """Speech without transcripts: lists of JSON lines with an audio_filepath each, or folders of
    audio files.

    Raises:
        DataRefused: when a path is missing, of unknown kind or holds nothing.
    """
    items: list[Item] = []
    found: list[Item]
    for text in paths:
        path = Path(text)
        if text.lower().endswith(".tar") or is_remote(text):
            found = _elsewhere(text, needs_text=False)
        elif not path.exists():
            raise DataRefused(
                f"{path}: no such file or folder (in a space, paths are relative to its file)"
            )
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in _AUDIO)
            found = [ManifestEntry(str(p), "", str(p)) for p in files]
        elif path.suffix.lower() in (".jsonl", ".json", ".manifest"):
            found = list(read_json_lines(path, needs_text=False))
        else:
            raise DataRefused(
                f"{path}: of what format? Give a folder of audio files, or a list of JSON lines "
                "with an audio_filepath each (.jsonl)"
            )
        if not found:
            raise DataRefused(f"{path}: holds no utterances")
        items += found
    return items


def _reader(path: Path, data: HowRead) -> Callable[[Path, HowRead], Iterator[Item]]:
    if not path.exists():
        raise DataRefused(
            f"{path}: no such file or folder (in a space, paths are relative to its file)"
        )
    kind = _guess(path) if data.format == "auto" else data.format
    if path.is_dir() != (kind in ("librispeech", "timit")):
        noun = "folder" if path.is_dir() else "file"
        raise DataRefused(f"{path}: is a {noun}, which format: {kind} does not read")
    readers: dict[str, Callable[[Path, HowRead], Iterator[Item]]] = {
        "jsonl": read_json_lines,
        "csv": read_table,
        "librispeech": read_librispeech,
        "timit": read_timit,
        "lhotse": read_lhotse,
    }
    return readers[kind]


def _guess(path: Path) -> str:
    if path.is_dir():
        if next(path.rglob("*.trans.txt"), None):
            return "librispeech"
        if next(_files_ending(path, ".txt"), None):
            return "timit"
        raise DataRefused(
            f"{path}: is neither a LibriSpeech folder (*.trans.txt) nor a TIMIT folder "
            "(*.TXT beside each *.WAV)"
        )
    if path.name.endswith(".jsonl.gz"):
        return "lhotse"
    kinds = {
        ".jsonl": "jsonl",
        ".json": "jsonl",
        ".manifest": "jsonl",
        ".csv": "csv",
        ".tsv": "csv",
    }
    if path.suffix.lower() not in kinds:
        raise DataRefused(
            f"{path}: of what format? Name it .jsonl, .csv or .tsv, or set format: in the space "
            "(or --format)"
        )
    return kinds[path.suffix.lower()]


def _text_of(path: Path) -> str:
    if why := why_not_a_file(path, "a list"):
        raise DataRefused(f"{path}: {why}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataRefused(f"{path}:{line}: is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise DataRefused(f"{path}: cannot be read ({error.strerror})") from error


def read_json_lines(
    path: Path, _data: HowRead | None = None, needs_text: bool = True
) -> Iterator[Item]:
    """NeMo manifests: audio_filepath, text, and if given duration, offset and speaker."""
    # Not splitlines: JSON may hold the other line ends of Unicode as they are.
    for number, line in enumerate(_text_of(path).split("\n"), 1):
        if line.strip():
            yield _from_json(line, f"{path}:{number}", path.parent, needs_text)


def _from_json(line: str, source: str, folder: Path | None, needs_text: bool) -> Item:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(getattr(error, "msg", error)).partition(";")[0]  # what follows is for Python
        return BadLine(source, f"is not JSON: {reason}")
    if not isinstance(entry, dict):
        return BadLine(source, "is not a JSON object")
    audio, text = entry.get("audio_filepath"), entry.get("text") if needs_text else ""
    if not isinstance(audio, str) or not audio or "\0" in audio:
        return BadLine(source, f'has no "audio_filepath"; {_keys_of(entry)}')
    if not isinstance(text, str):
        return BadLine(source, f'has no "text"; {_keys_of(entry)}')
    if half := _SURROGATE.search(audio + text):
        return BadLine(source, f"holds {half[0]!r}, which is half a character")
    numbers = {}
    for key in ("offset", "duration"):
        value = entry.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            return BadLine(source, f'"{key}" is {value!r:.40}, not a number of seconds')
        if not 0 <= value < _MAX_S or (key == "duration" and value == 0):
            return BadLine(source, f'"{key}" is {value!r:.40}, not a length of time')
        numbers[key] = float(value)
    speaker = entry.get("speaker")
    return ManifestEntry(
        audio=audio if folder is None or is_remote(audio) else _beside(folder, audio),
        text=text,
        source=source,
        speaker=None if speaker in (None, "") else str(speaker),
        offset_s=numbers.get("offset", 0.0),
        duration_s=numbers.get("duration"),
    )


def _beside(folder: Path, audio: str) -> str:
    return str(folder / os.path.expanduser(audio))


def _keys_of(entry: dict[str, object]) -> str:
    """The keys of a line beside those that it should have."""
    found = ", ".join(f"{key!r:.40}" for key in list(entry)[:_SHOWN_KEYS]) or "none"
    more = f" and {len(entry) - _SHOWN_KEYS} more" if len(entry) > _SHOWN_KEYS else ""
    return (
        f"its keys are {found}{more}; wanted are 'audio_filepath' and 'text', taken as well "
        "'offset', 'duration', 'speaker'"
    )


_COLUMNS = {
    "audio": ("path", "audio_filepath", "audio", "file", "filename", "wav"),
    "text": ("sentence", "text", "transcript", "transcription"),
    "speaker": ("client_id", "speaker", "speaker_id"),
}


def read_table(path: Path, data: HowRead) -> Iterator[Item]:
    """CSV or TSV with a header, as Common Voice has; its audio may lie in `clips/`."""
    text = _text_of(path)
    is_tsv = path.suffix.lower() == ".tsv" or "\t" in text.partition("\n")[0]
    # Common Voice writes its sentences unquoted: in TSV a quotation mark is only a character. In
    # CSV a quoted sentence may go over two lines.
    reader = csv.DictReader(
        io.StringIO(text, newline=""),
        delimiter="\t" if is_tsv else ",",
        quoting=csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL,
    )
    try:
        yield from _rows(path, reader, data)
    except csv.Error as error:
        raise DataRefused(f"{path}:{max(1, reader.line_num)}: {error}") from error


def _rows(path: Path, reader: csv.DictReader[str], data: HowRead) -> Iterator[Item]:
    header = [h for h in reader.fieldnames or [] if h]
    if not header:
        return
    names = {
        "audio": _column(path, header, "audio", data.audio_column),
        "text": _column(path, header, "text", data.text_column),
    }
    speaker_column = next((c for c in _COLUMNS["speaker"] if c in header), None)
    if data.speaker_column is not None:
        speaker_column = _column(path, header, "speaker", data.speaker_column)
    folders = (path.parent, path.parent / "clips")
    for row in reader:
        source = f"{path}:{reader.line_num}"
        audio, text = row.get(names["audio"]), row.get(names["text"])
        if not audio or text is None:
            yield BadLine(source, f"has {len(header)} columns in its header but fewer here")
            continue
        found = next((f / audio for f in folders if os.path.exists(f / audio)), folders[0] / audio)
        speaker = row.get(speaker_column) if speaker_column else None
        yield ManifestEntry(str(found), text, source, speaker or None)


def _column(path: Path, header: list[str], role: str, named: str | None) -> str:
    if named is not None and named in header:
        return named
    found = next((c for c in _COLUMNS[role] if c in header), None)
    if named is not None or found is None:
        raise DataRefused(
            f"{path}:1: has no column {named or ' or '.join(_COLUMNS[role])!r} for the {role}; "
            f"its columns are {', '.join(header)}; name it by data.{role}_column "
            f"(or --{role}-column)"
        )
    return found


def read_librispeech(path: Path, _data: HowRead) -> Iterator[Item]:
    """speaker/chapter/speaker-chapter.trans.txt, with `ID TRANSCRIPT` a line."""
    for transcripts in sorted(path.rglob("*.trans.txt")):
        for number, line in enumerate(_text_of(transcripts).splitlines(), 1):
            if not line.strip():
                continue
            name, _, text = line.strip().partition(" ")
            folder, source = transcripts.parent, f"{transcripts}:{number}"
            audio = next(
                (
                    p
                    for s in ("flac", "wav", "ogg", "mp3")
                    if (p := folder / f"{name}.{s}").exists()
                ),
                folder / f"{name}.flac",
            )
            yield ManifestEntry(str(audio), text, source, name.partition("-")[0])


def read_timit(path: Path, _data: HowRead) -> Iterator[Item]:
    """dialect/speaker/SENTENCE.WAV with SENTENCE.TXT: `first_sample last_sample words.`"""
    for transcript in sorted(_files_ending(path, ".txt")):
        audio = _timit_audio(transcript)
        if audio is None:
            yield BadLine(f"{transcript}:1", "has no audio file of the same name beside it")
            continue
        words = _text_of(transcript).split(maxsplit=2)
        if len(words) < 3 or not (words[0].isdigit() and words[1].isdigit()):
            yield BadLine(f"{transcript}:1", "is not `first_sample last_sample words`")
            continue
        yield ManifestEntry(
            audio=str(audio),
            text=" ".join(words[2].translate(_TIMIT_MARKS).split()),
            source=f"{transcript}:1",
            speaker=transcript.parent.name.lower(),
        )


_TIMIT_MARKS = str.maketrans(dict.fromkeys('.,?!;:"-', " "))


def _timit_audio(transcript: Path) -> Path | None:
    for candidate in sorted(transcript.parent.iterdir()):
        stem, _, suffixes = candidate.name.partition(".")
        if stem == transcript.stem and suffixes.lower() in ("wav", "wav.wav", "sph", "flac"):
            return candidate
    return None


def read_lhotse(path: Path, _data: HowRead) -> Iterator[Item]:
    """A CutSet of Lhotse (https://lhotse.readthedocs.io): cuts of recordings that are files.

    Raises:
        MissingExtra: naming the extra that reads it.
        DataRefused: when it is none.
    """
    try:
        from lhotse import CutSet
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{path}: a CutSet of Lhotse", "lhotse") from error
    try:
        for number, cut in enumerate(CutSet.from_file(path), 1):
            yield _from_cut(cut, f"{path}:{number}", path.parent)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise DataRefused(f"{path}: is no CutSet that Lhotse reads ({error})") from error


def _from_cut(cut: Any, source: str, folder: Path) -> Item:
    recording = getattr(cut, "recording", None)
    if recording is None:
        return BadLine(source, f"cut {cut.id} has no recording (features alone are not read)")
    found = recording.sources[0]
    if found.type not in ("file", "url"):
        why = f"has its audio in {found.type}; files and URLs are read"
        return BadLine(source, f"cut {cut.id} {why}")
    said = [s.text for s in cut.supervisions if s.text]
    speakers = {s.speaker for s in cut.supervisions if s.speaker}
    return ManifestEntry(
        audio=found.source if is_remote(found.source) else _beside(folder, found.source),
        text=" ".join(said),
        source=source,
        speaker=speakers.pop() if len(speakers) == 1 else None,
        offset_s=float(cut.start),
        duration_s=float(cut.duration),
    )


def _files_ending(path: Path, suffix: str) -> Iterator[Path]:
    return (p for p in path.rglob("*") if p.suffix.lower() == suffix and p.is_file())
