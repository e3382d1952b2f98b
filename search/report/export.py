"""A study's figures as files to share: CSV and Parquet, the one place that writes them."""

from __future__ import annotations

import io

import pandas as pd

from search.analysis.trial_frame import ERROR_GROUPS
from search.report.redaction import redact


def as_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV to share: without the folders of this machine, and with nothing that a
    spreadsheet would take for a formula."""
    return _shared(frame).map(_no_formula).to_csv(index=False)


def _shared(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.drop(columns=ERROR_GROUPS, errors="ignore")
    if "reason" not in frame:
        return frame
    reasons = frame["reason"].map(redact, na_action="ignore")
    return frame.assign(reason=reasons.astype(object))


def _no_formula(value: object) -> object:
    """As OWASP advises against CSV injection: what begins like a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def as_parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet to share, without the folders of this machine; columns of mixed kinds
    become text.
    """
    buffer, frame = io.BytesIO(), _shared(frame)
    mixed = [c for c in frame.columns if pd.api.types.infer_dtype(frame[c]).startswith("mixed")]
    frame.astype(dict.fromkeys(mixed, str)).to_parquet(buffer, index=False)
    return buffer.getvalue()
