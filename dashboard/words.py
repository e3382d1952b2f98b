"""Text from elsewhere, made fit for a page: names, notes, transcripts, errors, logs."""

from __future__ import annotations

import re
import unicodedata

_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/]+[^\s\\/:\"'<>|()\[\],;]+){2,}")
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@]*@")


def plain(text: object, most: int = 500) -> str:
    """One paragraph of bounded length without control characters; markup stays what it is, so
    show it with `st.text`, or in a table."""
    visible = "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "�" for c in str(text)
    )
    return visible if len(visible) <= most else f"{visible[:most]}… ({len(visible):,} characters)"


def without_places(text: object, most: int = 4000) -> str:
    """The same without the folders of a machine and without what a URL carries to sign in."""
    said = _URL.sub(r"\1…@", plain(text, most))
    kept = []
    at = 0
    for match in _PATH.finditer(said):
        is_url = said[max(0, match.start() - 1) : match.start()] == ":"
        kept.append(said[at : match.start()])
        path = match.group()
        name = path.replace("\\", "/").rpartition("/")[2]
        kept.append(path if is_url else f"…/{name}")
        at = match.end()
    return "".join([*kept, said[at:]])


def markdown(text: object, most: int = 200) -> str:
    """Escaped for places that read Markdown, such as captions and labels."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>$:~&])", r"\\\1", plain(text, most).replace("\n", " "))
