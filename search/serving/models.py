"""The models that are served, by name: hot swaps, and which member of several hears a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from search.bundle.policy import Policy
from search.errors import UsageFault
from search.serving.metrics import Metrics
from search.serving.workers import Batching, Pool
from workers.recognizer import MANIFEST

POLICY = "policy.json"
_LOOK_S = 1.0  # between two looks for bundles that were replaced
_RATE_S = 2.0  # over which the audio that comes is counted
_LEAST_RATE_S = 0.5

log = logging.getLogger("search.serve")


@dataclass(frozen=True)
class Options:
    """How models are run."""

    copies: int = 1  # processes of each
    threads: int = 1  # of each process
    batching: Batching = field(default_factory=Batching)
    target: str | None = None  # whose measurements a policy goes by
    budget_ms: float = float("inf")  # of the members' 95th percentile there


@dataclass
class _Load:
    """Seconds of audio that came lately."""

    came: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, audio_s: float) -> None:
        self.came.append((time.monotonic(), audio_s))
        self._forget(time.monotonic())

    def _forget(self, now: float) -> None:
        while self.came and now - self.came[0][0] > _RATE_S:
            self.came.popleft()

    def per_s(self) -> float:
        now = time.monotonic()
        self._forget(now)
        if not self.came:
            return 0.0
        return sum(s for _, s in self.came) / max(_LEAST_RATE_S, now - self.came[0][0])


class Model:
    """A bundle, or several with a policy, under one name."""

    def __init__(self, name: str, path: Path, options: Options, metrics: Metrics) -> None:
        self.name, self.path = name, path
        self._options, self._metrics = options, metrics
        self.pools: dict[str, Pool] = {}
        self._policy: Policy | None = None
        self._stamp: object = None
        self._load = _Load()
        self._drains: dict[asyncio.Task[None], Pool] = {}

    async def open(self) -> None:
        """Load what lies at the path now; what was loaded before hears what it has begun.

        Raises:
            UserFault, WorkError, UsageFault: when it cannot be loaded; then all stays as it was.
        """
        stamp = _stamp(self.path)
        members, policy = self._members()
        pools: dict[str, Pool] = {}
        try:
            for member, path in members.items():
                pools[member] = self._pool(path)
                await pools[member].open()
        except BaseException:
            for pool in pools.values():
                await pool.close()
            raise
        before, self.pools = self.pools, pools
        self._policy, self._stamp = policy, stamp
        for pool in before.values():
            drain = asyncio.create_task(pool.drain())
            self._drains[drain] = pool
            drain.add_done_callback(self._drains.pop)

    def _pool(self, path: Path) -> Pool:
        options, metrics, name = self._options, self._metrics, self.name
        return Pool(
            path,
            options.copies,
            options.threads,
            options.batching,
            lambda n, waited_s, took_s: metrics.batch(name, n, waited_s, took_s),
            lambda: metrics.deaths.labels(name).inc(),
        )

    def _members(self) -> tuple[dict[str, Path], Policy | None]:
        """Bundles by name, and what chooses among them where there are several."""
        path = self.path / POLICY
        if not path.is_file():
            return {self.name: self.path}, None
        told = policy_of(path)
        target = self._options.target or _only_target(told, path)
        try:
            policy = Policy(
                told, target, budget_ms=self._options.budget_ms, copies=self._options.copies
            )
        except ValueError as error:
            raise UsageFault(f"{path}: {error}; choose another with --target") from error
        names = [str(member["name"]) for member in policy.members]
        return {name: self.path / "members" / name for name in names}, policy

    @contextlib.contextmanager
    def heard_by(self, audio_s: float) -> Iterator[Pool]:
        """Who hears a request of so much audio; it is not closed before that is heard."""
        self.came(audio_s)
        with self._chosen().used() as pool:
            yield pool

    def came(self, audio_s: float) -> None:
        """So much audio came, which is what a policy counts."""
        self._load.add(audio_s)

    def _chosen(self) -> Pool:
        if self._policy is None:
            return next(iter(self.pools.values()))
        waiting_s = max(pool.waiting_s for pool in self.pools.values())
        busy = sum(pool.busy_share(_RATE_S) for pool in self.pools.values())
        name = self._policy.choose(time.monotonic(), self._load.per_s(), waiting_s, busy)
        self._metrics.chosen.labels(self.name, name).inc()
        return self.pools[name]

    @property
    def is_replaced(self) -> bool:
        """Whether another bundle lies at the path than the one that is loaded."""
        stamp = _stamp(self.path)
        return stamp is not None and stamp != self._stamp

    async def close(self) -> None:
        for pool in self.pools.values():
            await pool.close()
        for drain, pool in tuple(self._drains.items()):
            drain.cancel()
            await pool.close()


class Models:
    """All of them."""

    def __init__(self, paths: Mapping[str, Path], options: Options, metrics: Metrics) -> None:
        self._metrics = metrics
        self.by_name = {n: Model(n, path, options, metrics) for n, path in paths.items()}
        self._refused: dict[str, object] = {}

    async def open(self) -> None:
        """Load them, one after the other."""
        for model in self.by_name.values():
            await model.open()

    async def watch(self, look_s: float = _LOOK_S) -> None:
        """Swap those whose bundle was replaced, for ever; one that cannot be loaded is left out,
        and the one before it stays."""
        while True:
            await asyncio.sleep(look_s)
            for name, model in self.by_name.items():
                stamp = _stamp(model.path)
                if not model.is_replaced or self._refused.get(name) == stamp:
                    continue
                try:
                    await model.open()
                except Exception as error:  # whatever it is, the next is looked for
                    self._refused[name] = stamp
                    self._metrics.swaps.labels(name, "refused").inc()
                    log.warning("%s: the new bundle is not used: %s", name, error)
                else:
                    self._metrics.swaps.labels(name, "done").inc()
                    log.info("%s: swapped", name)

    async def close(self) -> None:
        for model in self.by_name.values():
            await model.close()


class _Member(BaseModel):
    """As far as a policy is read."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    service_ms: dict[str, Annotated[float, Field(ge=0)]]
    latency_p95_ms: dict[str, Annotated[float, Field(ge=0)]]


class _Told(BaseModel):
    members: list[_Member] = Field(min_length=1)
    down: Annotated[float, Field(gt=0)]
    up: Annotated[float, Field(gt=0)]
    calm_s: Annotated[float, Field(gt=0)]


def policy_of(path: Path) -> dict[str, Any]:
    """What a policy.json says.

    Raises:
        UsageFault: when it is none.
    """
    try:
        return _Told.model_validate_json(path.read_text(encoding="utf-8")).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise UsageFault(f"{path}: is not a policy ({where}: {first['msg']})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFault(f"{path}: cannot be read ({error})") from error


def _only_target(told: Mapping[str, Any], path: Path) -> str:
    targets = sorted({target for member in told["members"] for target in member["service_ms"]})
    if len(targets) != 1:
        raise UsageFault(f"{path}: choose whose times it goes by: --target {'|'.join(targets)}")
    return str(targets[0])


def _stamp(path: Path) -> object:
    """Changes when a bundle is replaced; None while there is none, or half of one."""
    told = path / (POLICY if (path / POLICY).is_file() else MANIFEST) if path.is_dir() else path
    try:
        stat = told.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
