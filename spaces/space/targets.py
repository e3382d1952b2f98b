"""Targets: a backend, a device and the settings for which a measurement is valid."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from spaces.backends import backend_info
from spaces.record import Record


def _known_backend(name: str) -> str:
    backend_info(name)
    return name


def _agent_url(url: str) -> str:
    parts = urlsplit(url)
    _ = parts.port  # raises for one that is not a port
    if not url.isprintable() or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write the agent's address as https://host:port (http:// on loopback)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("is an address alone; the token comes from token_env")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("would send the token in the clear; use https:// beyond loopback")
    return url.rstrip("/")


def _token_variable(name: str) -> str:
    """A space is often somebody else's file: it names no variable that is not meant for it."""
    allowed = os.environ.get(ALLOWED_VARIABLES, "").split(",")
    if name in map(str.strip, allowed):
        return name
    if name.startswith("SEARCH_") and name not in _NO_TOKENS:
        return name
    raise ValueError(
        "is not a variable that a space may send: those begin with SEARCH_ (without "
        f"{', '.join(_NO_TOKENS)}), or are named in {ALLOWED_VARIABLES} of your environment"
    )


WHERE_IT_IS_REACHED = {"agent", "token_env", "ca_file", "adb"}  # not what it is
_HTTPS_PORT = 443  # beyond loopback nothing else is spoken
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ALLOWED_VARIABLES = "SEARCH_TOKEN_VARIABLES"
_NO_TOKENS = ("SEARCH_HOME", "SEARCH_STORE", "SEARCH_ARTIFACTS")  # may hold a password in a URL


class Target(Record):
    """Backend, device and settings for which a measurement is valid.

    Without `agent` or `adb` the device is this machine. A measurement is made of `restarts`
    processes; each takes at least `runs` runs and ends when the median is known within the share
    `within`, or after `max_s` seconds.
    """

    backend: Annotated[str, AfterValidator(_known_backend)] = "onnxruntime"
    """the runtime: `search help backends`"""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """that the network may use"""
    runs: Annotated[int, Field(ge=10, le=10_000)] = 60
    """at least so many a process"""
    restarts: Annotated[int, Field(ge=1, le=20)] = 3
    """processes that a measurement is made of"""
    tries: Annotated[int, Field(ge=1, le=20)] = 3
    """how often at most such a process is run until it has the machine for itself"""
    within: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    """a process ends when the median is known within this share"""
    max_s: Annotated[float, Field(gt=0, le=600)] = 15.0
    """or after so many seconds"""
    stream_limit_ms: Annotated[float, Field(gt=0)] = 300.0
    """what `streams` counts by: 99 % of the answers within this"""
    graph_level: Literal["all", "extended", "basic", "off"] = "all"
    """how far ONNX Runtime rewrites the graph"""
    arena: bool = True
    """ONNX Runtime's memory arena"""
    spinning: bool = False
    """whether its threads spin while they wait"""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """what the runtime computes in"""
    filter_bank: Literal["kaldi", "fast"] = "kaldi"
    """what computes features: Kaldi's, or ours, a third of its time, after which near ties may
    fall otherwise"""
    agent: Annotated[str, AfterValidator(_agent_url)] | None = None
    """address of the agent on the device, https://host:port"""
    token_env: (
        Annotated[
            str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"), AfterValidator(_token_variable)
        ]
        | None
    ) = None
    """variable with the token of that agent: `SEARCH_…`, or one in `SEARCH_TOKEN_VARIABLES`"""
    ca_file: str | None = None
    """certificate authority (PEM) to trust there"""
    adb: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] | None = None
    """serial number of an Android phone"""

    @model_serializer(mode="wrap")
    def _content(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What later versions added is not written where it is as usual: jobs have the keys that
        older studies know."""
        content: dict[str, Any] = fields(self)
        for name in ("filter_bank", "tries"):
            if getattr(self, name) == type(self).model_fields[name].default:
                content.pop(name, None)
        return content

    @field_validator("graph_level", mode="before")
    @classmethod
    def _off(cls, raw: object) -> object:
        """YAML takes a bare `off` for false."""
        return "off" if raw is False else raw

    @model_validator(mode="after")
    def _fits_its_backend(self) -> Target:
        info = backend_info(self.backend)
        fields = type(self).model_fields
        stray = [
            name
            for name in ("graph_level", "arena", "spinning", "precision")
            if name not in info.settings and getattr(self, name) != fields[name].default
        ]
        if stray:
            has = f"its own: {', '.join(info.settings)}" if info.settings else "it has none"
            raise ValueError(f"{', '.join(stray)}: no setting of {self.backend} ({has})")
        if self.precision not in info.precisions:
            known = ", ".join(info.precisions)
            raise ValueError(f"{self.backend} computes in {known}, not in {self.precision}")
        return self

    @model_validator(mode="after")
    def _one_device(self) -> Target:
        if self.agent is not None and self.adb is not None:
            raise ValueError("give either agent: or adb:, not both")
        if (self.token_env is not None) != (self.agent is not None):
            raise ValueError(
                "agent: (its address) and token_env: (the variable with its token) go together"
            )
        if self.ca_file is not None and self.agent is None:
            raise ValueError("ca_file: is for agent:")
        if self.adb is not None and self.filter_bank != "kaldi":
            raise ValueError("filter_bank: a phone by adb times the network alone")
        if self.adb is not None and (self.spinning or not self.arena or self.graph_level != "all"):
            raise ValueError("adb: onnxruntime_perf_test is told of threads only")
        if self.is_remote and not backend_info(self.backend).on_agents:
            raise ValueError(f"{self.backend} runs on this machine only, not on a device")
        return self

    @property
    def is_remote(self) -> bool:
        return self.agent is not None or self.adb is not None

    @property
    def shares_this_machine(self) -> bool:
        """Whether what runs here disturbs it."""
        if self.agent is None:
            return self.adb is None
        return urlsplit(self.agent).hostname in LOOPBACK

    @property
    def token_host(self) -> str | None:
        """Where its token goes, as host:port; None where none leaves this machine."""
        if self.agent is None or self.shares_this_machine:
            return None
        parts = urlsplit(self.agent)
        return f"{parts.hostname}:{parts.port or _HTTPS_PORT}"

    @property
    def metrics(self) -> frozenset[str] | None:
        """The timed figures that it tells; None for all. A phone by adb times the network only."""
        return frozenset(("graph_p50_ms", "graph_p95_ms")) if self.adb is not None else None

    @property
    def device(self) -> str:
        """Where it measures, in words; equal for targets that share a device."""
        return self.agent or (f"adb {self.adb}" if self.adb else "this machine")

    def settings(self) -> dict[str, int | str | bool]:
        """What the backend is told, by the names of `workers.backends.base.Settings`."""
        return {
            "threads": self.threads,
            "graph_level": self.graph_level,
            "arena": self.arena,
            "spinning": self.spinning,
            "precision": self.precision,
        }


def check_target_names(targets: dict[str, Target]) -> dict[str, Target]:
    """The targets as they are.

    Raises:
        ValueError: for a name that no metric could be followed by.
    """
    for name in targets:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
            raise ValueError(f"{name!r}: a target's name is letters, digits, - and _")
    return targets


@dataclass(frozen=True)
class Runtime:
    """What decides the texts of a student: backend and precision, and the targets that share
    them. The first of a space is ONNX Runtime, which all others are compared with."""

    backend: str
    precision: str
    targets: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name under which its results are kept; no target can be called `=onnx`."""
        return self.targets[0] if self.targets else "=onnx"
