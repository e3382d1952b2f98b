"""How a space is searched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from spaces.record import Record
from spaces.space.names import Seed


class Search(Record):
    """How the space is searched."""

    sampler: Literal["tpe", "nsga2", "gp", "random"] = "tpe"
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 24
    hours: Annotated[float, Field(gt=0, le=10_000)] | None = None
    parallel: Annotated[int, Field(ge=1, le=256)] = 2
    threads_per_trial: Annotated[int, Field(ge=1, le=256)] | None = None
    seed: Seed = 0
    # the initial design; the first version called these expert trials
    initial_trials: Annotated[
        Annotated[int, Field(ge=0, le=1000)] | None,
        Field(validation_alias=AliasChoices("initial_trials", "expert_trials")),
    ] = None
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    stage_timeout_s: Annotated[float, Field(gt=0)] = 7200.0
    device_patience_s: Annotated[float, Field(ge=0, le=604_800)] = 600.0
