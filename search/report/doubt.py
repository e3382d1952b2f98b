"""What is not certain of a trial's place, in words: marks of charts, tables and tiles."""

from __future__ import annotations

import pandas as pd

from search.report.labels import SURE, format_chance
from spaces.metrics import MetricRef

UNSTEADY = "times unsteady"


def doubts(frame: pd.DataFrame, target: str = "") -> pd.Series:
    """Of each trial what chance may have made: times that were not measured in quiet, and a place
    on the front that not nearly all draws give it; empty where nothing is in doubt.

    Args:
        frame: trials (`search.analysis.trial_frame`).
        target: whose times are shown; the first of the space by default.
    """
    if frame.empty:
        return pd.Series("", index=frame.index, dtype=object)
    flag = MetricRef("unsteady", target)
    is_unsteady = frame[flag].fillna(0) > 0 if flag in frame else pd.Series(False, frame.index)
    is_unsure = frame["on_front"] & (frame["front_chance"] < SURE)
    places = "front in " + frame["front_chance"].map(format_chance) + " of draws"
    words = is_unsteady.map({True: UNSTEADY, False: ""}).str.cat(
        places.where(is_unsure, ""), sep="; "
    )
    return words.str.strip("; ")
