"""Text from elsewhere, made fit for a page: names, notes, transcripts, errors, logs."""

from __future__ import annotations

import re
import unicodedata

_PATH = re.compile(r"(?:\b[A-Za-z]:)?(?:[\\/]+[^\s\\/:\"'<>|()\[\],;]+){2,}")
_SIGN_IN = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/]*@")
_SECRET = re.compile(
    r"""(?ix) \b (
        [\w-]* (?: api[_-]?key | token(?!s) | passw(?:or)?d | secret | signature | credential )
            [\w-]* ["']? \s* [=:] \s* ["']? (?! bearer | basic )
        | authorization ["']? \s* [=:] \s* ["']? (?: (?:bearer|basic) \s+ )?
        | bearer \s+ (?= \S{12} )
    ) [^\s&,;"'<>]+"""
)


def plain(text: object, most: int = 500) -> str:
    """One paragraph of bounded length without control characters; markup stays what it is, so
    show it with `st.text`, or in a table."""
    said = str(text)
    visible = "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "�" for c in said[: most + 1]
    )
    return visible if len(said) <= most else f"{visible[:most]}… ({len(said):,} characters)"


def without_places(text: object, most: int = 4000) -> str:
    """The same without the folders of a machine, and without what signs in somewhere."""
    said = _SECRET.sub(r"\1…", _SIGN_IN.sub(r"\1…@", plain(text, most)))
    return _PATH.sub(_short, said)


def _short(match: re.Match[str]) -> str:
    """The last name of a path; the address of a page stays."""
    if re.search(r"\bhttps?:$", match.string[: match.start()]):
        return match.group()
    return "…/" + match.group().replace("\\", "/").rpartition("/")[2]


def markdown(text: object, most: int = 200) -> str:
    """Escaped for places that read Markdown, such as captions and labels."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>$:~&])", r"\\\1", plain(text, most).replace("\n", " "))


def file_name(text: object) -> str:
    """A name that every file system and every browser takes as it is."""
    return re.sub(r"[^\w.-]+", "-", str(text)[:100], flags=re.ASCII).strip("-.") or "study"
