"""What a device answers, read whole and no further: it may be anybody, and mean harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import requests

PLAIN = "identity"  # the coding that is none
MOST_BYTES = 17_000_000  # a result of 16 MB and what is said around it
_CHUNK_BYTES = 1 << 16


class TooLong(ValueError):
    """There is more than any answer of ours holds."""


class Packed(ValueError):
    """It is compressed, which nobody asked for, and could unpack without end."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> object:
        """Raises:
        ValueError: when it is not JSON.
        """
        try:
            return json.loads(self.content)
        except RecursionError as error:
            raise ValueError("is nested without end") from error


def read_whole(response: requests.Response) -> Answer:
    """The answer to a request that was sent with `stream`.

    Raises:
        TooLong, Packed: and no more of it was read.
    """
    if response.headers.get("Content-Encoding", PLAIN) != PLAIN:
        raise Packed
    content = bytearray()
    for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
        content += chunk
        if len(content) > MOST_BYTES:
            raise TooLong
    return Answer(response.status_code, response.headers, bytes(content))
