"""How a space is searched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, field_validator

from spaces.record import Record
from spaces.space.names import Name, Seed, each_once


def _as_tuple(raw: object) -> object:
    return (raw,) if isinstance(raw, str) else raw


def _switch(raw: object) -> object:
    """YAML reads a plain on or off as true or false."""
    return {True: "on", False: "off"}[raw] if isinstance(raw, bool) else raw


class Search(Record):
    """How the space is searched."""

    sampler: Literal["tpe", "nsga2", "gp", "random"] = "tpe"
    """who proposes recipes: Optuna's samplers"""
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 24
    """how many"""
    hours: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """or until so many hours are spent"""
    compute_hours: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """or until all stages together have taken so many CPU hours"""
    parallel: Annotated[int, Field(ge=1, le=256)] = 2
    """trials at the same time"""
    threads_per_trial: Annotated[int, Field(ge=1, le=256)] | None = None
    """cores of each; by default the cores are shared out"""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,2})?|mps)$")] = "auto"
    """where networks are trained and teachers run: `cpu`, `cuda` (all of them), `cuda:1`, `mps`;
    `auto` is a GPU where there is one"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """of matrix products in training; `auto` is bfloat16 where the device has it"""
    trials_per_gpu: Annotated[int, Field(ge=1, le=64)] = 1
    """how many trainings share a GPU; `parallel` is how many there are in all"""
    seed: Seed = 0
    """of training and proposals"""
    initial_trials: Annotated[
        Annotated[int, Field(ge=0, le=1000)] | None,
        Field(validation_alias=AliasChoices("initial_trials", "expert_trials")),
    ] = None
    """how many recipes come from experience instead of the sampler; by default two
    a family, and 6 at least"""
    settings: Literal["sampled", "learned"] = "sampled"
    """learning rate, augmentation and distillation of a trial: as the sampler chose, or as a model
    of word errors over size learnt across the trials of a family"""
    warm_start: Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)] = ()
    """earlier studies of this store: their fronts come first, `tpe` and `gp` learn from them"""
    formats: Literal["sampled", "all"] = "sampled"
    """number formats of each trained network: the one the sampler chose, or all that `quantize:`
    allows, each a trial of its own without another training"""
    rungs: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """shares of its epochs after which a student in training is scored on dev, and goes on only
    if none of its kind has done surely better there"""
    stop_early: bool = True
    """`false`: what rungs tell is recorded and stops nobody"""
    weight_sharing: Annotated[Literal["off", "auto", "on"], BeforeValidator(_switch)] = "off"
    """whether one supernet is trained for each family, whose slices its students begin as; `auto`
    where enough trainings are to come"""
    slice_epochs: Annotated[float, Field(gt=0, le=1)] = 0.17
    """share of its epochs that a student is trained for from its slice, at half the rate"""
    confirm: bool = True
    """members of the front are measured once more at the end, one after another, on this machine"""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """how often a stage that crashed is tried again"""
    stage_timeout_s: Annotated[float, Field(gt=0)] = 7200.0
    """after so long without progress a stage counts as hanging"""
    device_patience_s: Annotated[float, Field(ge=0, le=604_800)] = 600.0
    """how long a search waits at its end for a device that is away"""

    _each_once = field_validator("warm_start")(each_once)
