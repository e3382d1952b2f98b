"""What a view of the front draws."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from search.report.front_charts import Marks
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Study

COLOURS = {
    "family": "family",
    "bits": "number format",
    "pruned": "pruned share",
    "source": "who proposed it",
}


@dataclass(frozen=True)
class Seen:
    """`trials` are all of the study, with `fits` (within the budgets) and `doubt`; `points` what a
    chart carries; `names` the figures in question, an error first."""

    study: Study
    space: Space
    target: str
    trials: pd.DataFrame
    points: pd.DataFrame
    names: list[MetricRef]
    marks: Marks
    n_points: int  # of which `points` are some
