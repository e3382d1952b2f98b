"""A recorded table: what every stage of a study gave back and took, in one Parquet file."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from search.errors import UsageFault
from search.results import TrialResults, read_result
from spaces.files import why_not_a_file
from spaces.load import parse_space
from spaces.recipe import Recipe
from spaces.record import Record
from spaces.space import Space
from storage.partial import partial_name
from storage.records import Study
from storage.store import Store
from workers.results import RESULT, AnyResult, MeasureResult

_FORMAT = 1
_METADATA = b"recorded_table"


@dataclass(frozen=True)
class Recorded:
    """What a stage gave back and how long it took."""

    result: AnyResult
    duration_s: float


@dataclass(frozen=True)
class RecordedTrial:
    """A recipe that was trained, exported and measured to its end; results by stage."""

    number: int
    recipe: Recipe
    stages: Mapping[str, Recorded]

    @cached_property
    def results(self) -> TrialResults:
        return _results_of(self.stages)


class Origin(Record):
    """Where a table is from. `space` is the text of its YAML."""

    version: int = _FORMAT
    study: str
    space: str
    imported: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class RecordedTable:
    """The stages of a study itself, and its trials."""

    origin: Origin
    study_stages: Mapping[str, Recorded]
    trials: tuple[RecordedTrial, ...]

    @property
    def space(self) -> Space:
        return parse_space(self.origin.space, f"the space of {self.origin.study}")

    @cached_property
    def study_results(self) -> TrialResults:
        """Of data and teacher."""
        return _results_of(self.study_stages)

    @property
    def cpu_s(self) -> float:
        """What it cost to record."""
        every = [self.study_stages, *(trial.stages for trial in self.trials)]
        recorded = {_identity(n, r): r for stages in every for n, r in stages.items()}
        return sum(r.result.cpu_s for r in recorded.values())

    @property
    def n_networks(self) -> int:
        """How many trainings it holds."""
        return len({trial.results.checkpoint for trial in self.trials})


def _results_of(stages: Mapping[str, Recorded]) -> TrialResults:
    results = TrialResults()
    for name, recorded in stages.items():
        results = results.having(name, recorded.result)
    return results


def table_of(store: Store, study: Study) -> RecordedTable:
    """Everything measured of a study, of trials that came to their end.

    Raises:
        UsageFault: when nothing has.
    """
    stages: dict[int | None, dict[str, Recorded]] = {}
    for run in store.stage_runs.of(study.id):
        result = read_result(run)
        if result is None:
            continue
        of_subject = stages.setdefault(run.trial_number, {})
        if run.stage not in of_subject or not result.reused:  # the attempt that did the work
            of_subject[run.stage] = Recorded(_without_samples(result), run.duration_s)
    ended = [t for t in store.trials.of(study.id) if t.state.is_measured]
    if not ended:
        raise UsageFault(f'study "{study.name}" has no measured trial yet to be recorded')
    trials = [
        RecordedTrial(t.number, Recipe.model_validate(t.recipe), stages.get(t.number, {}))
        for t in ended
    ]
    origin = Origin(study=study.name, space=study.space_yaml, imported=dict(study.imported or {}))
    return RecordedTable(origin, stages.get(None, {}), tuple(_costed(trials)))


def _without_samples(result: AnyResult) -> AnyResult:
    """Raw times and profiles are most of a study's bytes, and no search looks at them."""
    readings = tuple(r.model_copy(update={"samples": None}) for r in result.readings)
    changed: dict[str, object] = {"readings": readings}
    if isinstance(result, MeasureResult):
        changed["profile"] = None
    return result.model_copy(update=changed)


def _costed(trials: Sequence[RecordedTrial]) -> list[RecordedTrial]:
    """A network that was trained for one trial and found done for others costs each the same: who
    comes first in a replay pays for it."""
    done: dict[str, Recorded] = {}
    for trial in trials:
        for name, recorded in trial.stages.items():
            if not recorded.result.reused:
                done.setdefault(_identity(name, recorded), recorded)
    return [
        RecordedTrial(
            trial.number,
            trial.recipe,
            {name: done.get(_identity(name, r), r) for name, r in trial.stages.items()},
        )
        for trial in trials
    ]


def _identity(stage: str, recorded: Recorded) -> str:
    content = recorded.result.model_dump(mode="json", exclude={"cpu_s", "reused"})
    return json.dumps([stage, content], sort_keys=True)


# the file


def check_place(path: Path) -> None:
    """Whether a table can be written there, before days are spent on it.

    Raises:
        UsageFault: when there is no such folder, or a file that is no table.
    """
    _pyarrow()
    if not path.parent.is_dir():
        raise UsageFault(f"{path}: no such folder {path.parent}")
    if path.exists():
        try:
            read_table(path)
        except UsageFault as fault:
            raise UsageFault(f"{fault}; it would be replaced: choose another place") from fault


def write_table(table: RecordedTable, path: Path) -> None:
    """Write a table as Parquet."""
    arrow, parquet = _pyarrow()
    subjects: list[tuple[int | None, str, Mapping[str, Recorded]]] = [
        (None, "", table.study_stages)
    ]
    subjects += [(t.number, json.dumps(t.recipe.content()), t.stages) for t in table.trials]
    rows = [
        {
            "trial": number,
            "recipe": recipe,
            "stage": stage,
            "duration_s": recorded.duration_s,
            "result": recorded.result.model_dump_json(),
        }
        for number, recipe, stages in subjects
        for stage, recorded in stages.items()
    ]
    schema = arrow.schema(
        [
            ("trial", arrow.int64()),
            ("recipe", arrow.string()),
            ("stage", arrow.string()),
            ("duration_s", arrow.float64()),
            ("result", arrow.string()),
        ],
        metadata={_METADATA: table.origin.model_dump_json()},
    )
    content = arrow.Table.from_pylist(rows, schema=schema)
    partial = Path(partial_name(str(path)))
    try:
        parquet.write_table(content, partial, compression="zstd")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_table(path: Path) -> RecordedTable:
    """Read a table.

    Raises:
        UsageFault: when the file is not one, naming the row that is wrong.
    """
    arrow, parquet = _pyarrow()
    fault = why_not_a_file(path)
    if fault is not None:
        raise UsageFault(f"{path}: {fault}")
    try:
        content = parquet.read_table(path)
        origin = Origin.model_validate_json((content.schema.metadata or {})[_METADATA])
        rows = content.to_pylist()
    except OSError as error:
        raise UsageFault(f"{path}: {error.strerror or error}") from error
    except (KeyError, ValidationError, arrow.ArrowInvalid) as error:
        raise UsageFault(f"{path}: not a recorded table (search record writes them)") from error
    if origin.version != _FORMAT:
        raise UsageFault(f"{path}: format {origin.version}; this version reads {_FORMAT}")
    stages: dict[int | None, dict[str, Recorded]] = {}
    recipes: dict[int, Recipe] = {}
    for place, row in enumerate(rows, 1):
        try:
            _take(row, stages, recipes)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageFault(f"{path}: row {place}: {error}") from error
    trials = tuple(RecordedTrial(n, recipe, stages[n]) for n, recipe in recipes.items())
    return RecordedTable(origin, stages.get(None, {}), trials)


def _take(
    row: Mapping[str, JsonValue],
    stages: dict[int | None, dict[str, Recorded]],
    recipes: dict[int, Recipe],
) -> None:
    number, stage, duration_s = row["trial"], str(row["stage"]), float(str(row["duration_s"]))
    if isinstance(number, int):
        recipes.setdefault(number, Recipe.model_validate_json(str(row["recipe"])))
    result = RESULT.validate_json(str(row["result"]))
    key = number if isinstance(number, int) else None
    stages.setdefault(key, {})[stage] = Recorded(result, duration_s)


def _pyarrow() -> tuple[Any, ModuleType]:
    """pyarrow brings no types."""
    return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
