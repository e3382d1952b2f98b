"""Text from elsewhere, made fit for a page or a file that is shared: names, notes, errors, logs."""

from __future__ import annotations

import re
import unicodedata

_NAME = r"[^\s\\/:\"'<>|()\[\],;]+"
# In a path that begins as a word of its own, folders may have spaces in their names: what stands
# before a further slash belongs to it.
_FOLDER = rf"[\\/]+{_NAME}(?: {_NAME}){{0,3}}(?=[\\/])"
_PATH = re.compile(
    rf"(?<![^\s\"'=(:,])(?:[A-Za-z]:)?(?:{_FOLDER})*[\\/]+{_NAME}"
    rf"|(?<![\\/])(?:\b[A-Za-z]:)?(?:[\\/]++{_NAME}){{2,}}"
)
_ISSUED = re.compile(  # keys that say whose they are
    r"\b(hf_|gh[opsur]_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|ASIA)[\w-]{8,}"
)
_SIGN_IN = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/]*@")
_SECRET = re.compile(
    r"""(?ix) \b (
        [\w-]* (?: api[_-]?key | access[_-]?key | token(?!s) | passw(?:or)?d | secret | signature
            | credential ) [\w-]* ["']? \s* [=:] \s* ["']? (?! bearer | basic )
        | (?: token | password | secret | key ) \s+ (?= [^\s\d]* \d ) (?= \S{8} )
        | authorization ["']? \s* [=:] \s* ["']? (?: (?:bearer|basic) \s+ )?
        | bearer \s+ (?= \S{12} )
    ) [^\s&,;"'<>]+"""
)


def plain(text: object, most: int = 500, is_end: bool = False) -> str:
    """One paragraph of bounded length without control characters; markup stays what it is, so
    show it with `st.text`, or in a table. Of what is too long the beginning, or the end."""
    whole = str(text)
    kept = whole[-most:] if is_end else whole[:most]
    visible = "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "�" for c in kept)
    if len(whole) <= most:
        return visible
    return (
        f"({len(whole):,} characters) …{visible}"
        if is_end
        else (f"{visible}… ({len(whole):,} characters)")
    )


def redact(text: object, most: int = 4000, is_end: bool = False) -> str:
    """The same without the folders of a machine, and without what signs in somewhere."""
    hidden = _SECRET.sub(r"\1…", _SIGN_IN.sub(r"\1…@", plain(text, most, is_end)))
    return _PATH.sub(_short, _ISSUED.sub(r"\1…", hidden))


def _short(match: re.Match[str]) -> str:
    """The last name of a path; the address of a page stays."""
    if match.string.endswith(("http:", "https:"), 0, match.start()):
        return match.group()
    return "…/" + match.group().replace("\\", "/").rpartition("/")[2]


def markdown(text: object, most: int = 200) -> str:
    """Escaped for places that read Markdown, such as captions and labels."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>$:~&])", r"\\\1", plain(text, most).replace("\n", " "))


def file_name(text: object) -> str:
    """A name that every file system and every browser takes as it is."""
    return re.sub(r"[^\w.-]+", "-", str(text)[:100], flags=re.ASCII).strip("-.") or "study"
