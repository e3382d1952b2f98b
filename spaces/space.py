"""What a space file says: data, tokens, teacher, axes, targets, objectives, budgets, search."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from spaces.axes import Axis, Choice, FloatRange, IntRange, parse_axis
from spaces.backends import backend_info
from spaces.families import FAMILIES, SeparableConv, Student
from spaces.gates import Gates
from spaces.metrics import METRICS, metric_named
from spaces.recipe import PARTS, Scheme, Training
from spaces.section import Section

AxisField = Annotated[Axis, BeforeValidator(parse_axis)]


def _as_tuple(raw: object) -> object:
    return (raw,) if isinstance(raw, str) else raw


def check_name(name: str) -> str:
    """The name of a study, which is also part of file names.

    Raises:
        ValueError: saying what a name is.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError(
            f'"{name}" is no name: a letter or digit, then up to 63 letters, digits, ".", "-" '
            'or "_"'
        )
    return name


def _check_metric(name: str) -> str:
    metric_named(name)
    return name


Seed = Annotated[int, Field(ge=0, lt=2**31)]
Paths = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Synthetic(Section):
    """The embedded spoken corpus: how much of it, and how hard."""

    train_utterances: Annotated[int, Field(ge=20, le=100_000)] = 600
    dev_utterances: Annotated[int, Field(ge=5, le=20_000)] = 100
    speakers: Annotated[int, Field(ge=4, le=90)] = 24
    noise_snr_db: tuple[float, float] = (10.0, 40.0)
    seed: Seed = 0


class Data(Section):
    """Where the transcribed audio is, and what is done to it."""

    synthetic: Synthetic | None = None
    train: Paths | None = None
    dev: Paths | None = None
    format: Literal["auto", "jsonl", "librispeech", "timit", "csv"] = "auto"
    audio_column: str | None = None
    text_column: str | None = None
    speaker_column: str | None = None
    lowercase: bool = True
    remove_punctuation: bool = False
    denoise: bool = False
    speeds: Annotated[tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...], Field(min_length=1)] = (
        0.9,
        1.0,
        1.1,
    )
    noise_snr_db: tuple[float, float] | None = None
    max_faulty: Annotated[float, Field(ge=0, le=1)] = 0.01
    allow_shared_speakers: bool = False
    max_duration_s: Annotated[float, Field(gt=0, le=600)] = 40.0

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if self.synthetic is not None and (self.train or self.dev):
            raise ValueError("give either synthetic: or train: and dev:, not both")
        if self.synthetic is None and not (self.train and self.dev):
            raise ValueError("needs train: and dev: (or synthetic: {} for the embedded corpus)")
        if 1.0 not in self.speeds:
            raise ValueError("speeds: must contain 1.0, the audio as it is")
        return self


class Tokens(Section):
    """What the network writes: characters, whole words, or pieces of words."""

    kind: Literal["characters", "words", "bpe"] = "characters"
    vocabulary: Annotated[int, Field(ge=16, le=50_000)] | None = None

    @model_validator(mode="after")
    def _bpe_size(self) -> Tokens:
        if self.kind == "bpe" and self.vocabulary is None:
            raise ValueError("kind: bpe needs vocabulary:, the number of pieces")
        if self.kind != "bpe" and self.vocabulary is not None:
            raise ValueError(f"vocabulary: is for kind: bpe, not for {self.kind}")
        return self


class TeacherTraining(Section):
    """A teacher that the service trains itself; by default the net that learned best from
    little data: wide separable convolutions, two consistent views of every batch."""

    student: Student = SeparableConv(channels=256, blocks=8, expand=3.0, dropout=0.2)
    training: Training = Training(
        epochs=40, learning_rate=3e-3, intermediate_ctc=0.3, consistency=0.2
    )


class Teacher(Section):
    """The big network: trained here, or brought along. Exactly one key."""

    train: TeacherTraining | None = None
    checkpoint: str | None = None
    onnx: str | None = None
    tokens: str | None = None
    huggingface: str | None = None
    torchaudio: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Teacher:
        kinds = ("train", "checkpoint", "onnx", "huggingface", "torchaudio")
        given = [k for k in kinds if getattr(self, k) is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none"
            raise ValueError(f"needs exactly one of {', '.join(kinds)}; has {has}")
        if (self.tokens is not None) != (self.onnx is not None):
            raise ValueError("onnx: and tokens: (its tokens.txt) go together")
        return self

    def source(self) -> str:
        for kind in ("checkpoint", "onnx", "huggingface", "torchaudio"):
            value = getattr(self, kind)
            if value is not None:
                return f"{kind} {value}"
        assert self.train is not None
        return f"trained here: {self.train.student.family}"


class PruneAxes(Section):
    ratio: AxisField = Choice((0.0,))
    epochs: AxisField = Choice((10,))


class QuantizeAxes(Section):
    """`scheme` sets every part; a part named on its own is chosen on its own."""

    scheme: AxisField = Choice(("fp32",))
    frontend: AxisField | None = None
    encoder: AxisField | None = None
    head: AxisField | None = None

    @field_validator("scheme", *PARTS)
    @classmethod
    def _known(cls, axis: Axis | None) -> Axis | None:
        known = Scheme.__args__  # type: ignore[attr-defined]
        for value in axis.values if isinstance(axis, Choice) else ():
            if value not in known:
                raise ValueError(f"{value!r} is no number format (known: {', '.join(known)})")
        if axis is not None and not isinstance(axis, Choice):
            raise ValueError("is a choice of number formats, not a range")
        return axis


class DistilAxes(Section):
    weight: AxisField = Choice((0.67,))
    temperature: AxisField = Choice((1.0,))
    hidden_weight: AxisField = Choice((0.0,))


class TrainingAxes(Section):
    epochs: AxisField = Choice((40,))
    learning_rate: AxisField = Choice((4e-3,))
    weight_decay: AxisField = Choice((0.01,))
    batch_s: AxisField = Choice((32.0,))
    augment: AxisField = Choice((1.0,))
    intermediate_ctc: AxisField = Choice((0.0,))
    consistency: AxisField = Choice((0.0,))


def _known_backend(name: str) -> str:
    backend_info(name)
    return name


def _agent_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write the agent's address as https://host:port (http:// on loopback)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("is an address alone; the token comes from token_env")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("would send the token in the clear; use https:// beyond loopback")
    return url.rstrip("/")


LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Target(Section):
    """Backend, device and settings for which a measurement is valid.

    Without `agent` or `adb` the device is this machine. A measurement is made of `restarts`
    processes; each takes at least `runs` runs and ends when the median is known within the share
    `within`, or after `max_s` seconds.
    """

    backend: Annotated[str, AfterValidator(_known_backend)] = "onnxruntime"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    runs: Annotated[int, Field(ge=10, le=10_000)] = 60
    restarts: Annotated[int, Field(ge=1, le=20)] = 3
    within: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    max_s: Annotated[float, Field(gt=0, le=600)] = 15.0
    stream_limit_ms: Annotated[float, Field(gt=0)] = 300.0
    graph_level: Literal["all", "extended", "basic", "off"] = "all"
    arena: bool = True
    spinning: bool = False
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    agent: Annotated[str, AfterValidator(_agent_url)] | None = None
    token_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    ca_file: str | None = None
    adb: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] | None = None

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
    def metrics(self) -> frozenset[str] | None:
        """The timed figures that it tells; None for all. A phone by adb times the network only."""
        return frozenset(("graph_p50_ms", "graph_p95_ms")) if self.adb is not None else None

    @property
    def device(self) -> str:
        """Where it measures, in words; equal for targets that share a device."""
        return self.agent or (f"adb {self.adb}" if self.adb else "this machine")

    def settings(self) -> dict[str, Any]:
        """What the backend is told, by the names of `workers.backends.base.Settings`."""
        names = ("threads", "graph_level", "arena", "spinning", "precision")
        return {name: getattr(self, name) for name in names}


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


@dataclass(frozen=True)
class Budget:
    """A limit on one metric: a number, or the teacher's value plus a number.

    A hard budget makes a trial that breaks it infeasible: it never enters the front.
    """

    metric: str
    limit: float
    relative_to_teacher: bool = False

    def limit_given(self, teacher_value: float | None) -> float | None:
        """The limit as a number; None while a needed teacher value is not known."""
        if not self.relative_to_teacher:
            return self.limit
        return None if teacher_value is None else teacher_value + self.limit

    def excess(self, value: float, teacher_value: float | None) -> float | None:
        """How far `value` breaks the budget; 0 or less where it is met."""
        limit = self.limit_given(teacher_value)
        if limit is None:
            return None
        return limit - value if metric_named(self.metric).higher_is_better else value - limit

    def __str__(self) -> str:
        sign = ">=" if metric_named(self.metric).higher_is_better else "<="
        teacher = "teacher + " if self.relative_to_teacher else ""
        return f"{self.metric} {sign} {teacher}{self.limit:g}"


_LIMIT = re.compile(
    r"\s*(?P<sign><=|>=)\s*(?P<teacher>teacher)?\s*(?P<turn>[+-])?\s*"
    r"(?P<number>[0-9.]+(?:e-?\d+)?)?\s*(?P<percent>%)?\s*"
)


def parse_budget(metric: str, raw: object) -> Budget:
    """Read `"<= 15"`, `"<= 12%"` or `"<= teacher + 0.012"`.

    Raises:
        ValueError: with the reason.
    """
    known = metric_named(metric)
    sign = ">=" if known.higher_is_better else "<="
    form = f'write "{sign} 15" or "{sign} teacher + 0.012"'
    match = _LIMIT.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or not (match["teacher"] or match["number"]):
        raise ValueError(f"{raw!r} is no budget: {form}")
    if match["sign"] != sign:
        raise ValueError(f"{raw!r} limits {metric} from the wrong side: {form}")
    if match["teacher"] and bool(match["turn"]) != bool(match["number"]):
        raise ValueError(f"{raw!r} is no budget: {form}")
    try:
        number = float(match["number"] or 0) * (-1 if match["turn"] == "-" else 1)
    except ValueError as error:
        raise ValueError(f"{raw!r} is no budget: {form}") from error
    if match["percent"]:
        if known.unit != "fraction":
            raise ValueError(f"{raw!r}: {metric} is no share, so % says nothing: {form}")
        number /= 100
    if known.unit == "fraction" and abs(number) > 1:
        raise ValueError(f"{raw!r}: {metric} is a fraction; write {number / 100:g} or {number:g}%")
    return Budget(metric, number, bool(match["teacher"]))


class Search(Section):
    """How the space is searched."""

    sampler: Literal["tpe", "nsga2", "gp", "random"] = "tpe"
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 24
    hours: Annotated[float, Field(gt=0, le=10_000)] | None = None
    parallel: Annotated[int, Field(ge=1, le=256)] = 2
    threads_per_trial: Annotated[int, Field(ge=1, le=256)] | None = None
    seed: Seed = 0
    expert_trials: Annotated[int, Field(ge=0, le=1000)] | None = None
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    stage_timeout_s: Annotated[float, Field(gt=0)] = 7200.0
    device_patience_s: Annotated[float, Field(ge=0, le=604_800)] = 600.0


class Space(Section):
    """A whole space file."""

    name: Annotated[str, AfterValidator(check_name)]
    description: str = ""
    data: Data
    tokens: Tokens = Tokens()
    teacher: Teacher
    students: dict[str, dict[str, AxisField]] = Field(min_length=1)
    training: TrainingAxes = TrainingAxes()
    distil: DistilAxes = DistilAxes()
    prune: PruneAxes = PruneAxes()
    quantize: QuantizeAxes = QuantizeAxes()
    forbid: tuple[dict[str, Any], ...] = ()
    targets: dict[str, Target] = Field(default_factory=lambda: {"cpu": Target()}, min_length=1)
    objectives: tuple[Annotated[str, AfterValidator(_check_metric)], ...] = Field(
        ("wer", "latency_p95_ms", "size_mb"), min_length=1
    )
    budgets: dict[str, Any] = Field(default_factory=dict)
    gate: Gates = Gates()
    search: Search = Search()

    @field_validator("targets")
    @classmethod
    def _target_names(cls, targets: dict[str, Target]) -> dict[str, Target]:
        for name in targets:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
                raise ValueError(f"{name!r}: a target's name is letters, digits, - and _")
        return targets

    @field_validator("objectives")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = [n for i, n in enumerate(names) if n in names[:i]]
        if twice:
            raise ValueError(f"names {twice[0]} twice")
        return names

    def untold(self) -> dict[str, str]:
        """Objectives and budgets on figures that nobody will tell, each with the reason."""
        first = next(iter(self.targets))
        out = {}
        for name in map(str, (*self.objectives, *self.budgets)):
            base, _, target = name.partition("@")
            said = self.targets.get(target or first)  # one that is not there is another fault
            if said is None or base not in METRICS:
                continue
            if said.metrics is not None and METRICS[base].noisy and base not in said.metrics:
                out[name] = (
                    "a phone by adb tells graph_p50_ms and graph_p95_ms only; use those, or "
                    "`search agent serve` on the phone"
                )
            elif base == "regression" and self.gate.regression is None:
                out[name] = "needs gate.regression, which names the baseline"
            elif base in ("long_wer", "long_excess") and self.gate.long_audio is None:
                out[name] = "needs gate.long_audio, which measures it"
            elif base == "text_diff_share" and said.backend == "onnxruntime" and not said.is_remote:
                out[name] = "is against ONNX Runtime here, which is what this target is"
        return out

    def budget_list(self) -> tuple[Budget, ...]:
        return tuple(parse_budget(metric, raw) for metric, raw in self.budgets.items())

    def runtimes(self) -> tuple[Runtime, ...]:
        """The different runtimes of the targets, ONNX Runtime first, there or not."""
        names: dict[tuple[str, str], list[str]] = {("onnxruntime", "fp32"): []}
        for name, target in self.targets.items():
            names.setdefault((target.backend, target.precision), []).append(name)
        return tuple(Runtime(*key, tuple(found)) for key, found in names.items())

    def needs_teacher_value(self) -> tuple[str, ...]:
        return tuple(b.metric for b in self.budget_list() if b.relative_to_teacher)

    def axes_of(self, family: str) -> dict[str, Axis]:
        """Every axis open to one family, by its dotted name, in a fixed order."""
        axes: dict[str, Axis] = {f"{family}.{k}": a for k, a in self.students[family].items()}
        for section in ("training", "distil", "prune"):
            part = getattr(self, section)
            for name in type(part).model_fields:
                axes[f"{section}.{name}"] = getattr(part, name)
        parts = [part for part in PARTS if getattr(self.quantize, part) is not None]
        for name in parts if len(parts) == len(PARTS) else ("scheme", *parts):
            axis = getattr(self.quantize, name)
            if axis is not None:
                axes[f"quantize.{name}"] = axis
        return axes


__all__ = ["FAMILIES", "METRICS", "Axis", "Budget", "Choice", "FloatRange", "IntRange", "Space"]
