"""A search that sees only part of the recorded dev set: its scores are then as noisy as those of a
small dev set, and what it chose can be judged by the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.replay.table import RecordedTable
from workers.errors import WorkError
from workers.results import AnyResult, Reading, RungResult, RungScore, ScoreResult, TrainResult

TRUE_WER = "wer_of_all"  # over all utterances, for whoever judges the search


@dataclass(frozen=True)
class DevView:
    """`places` of the utterances that are seen, `words` int64 [utterances] of all."""

    places: np.ndarray
    words: np.ndarray

    @classmethod
    def of(cls, table: RecordedTable, places: Sequence[int]) -> DevView:
        """Of a table.

        Raises:
            WorkError: when it holds no errors by utterance.
        """
        for trial in table.trials:
            for scored in trial.results.scored.values():
                if isinstance(scored, ScoreResult) and scored.words:
                    return cls(np.asarray(places), np.asarray(scored.words))
        raise WorkError("the table was recorded without word errors by utterance")

    def seen(self, result: AnyResult) -> AnyResult:
        """A result as it is on the utterances that are seen."""
        match result:
            case ScoreResult() if result.errors:
                return self._score(result)
            case TrainResult():
                return result.model_copy(update={"rungs": tuple(map(self._rung, result.rungs))})
            case RungResult():
                return result.model_copy(update={"score": self._rung(result.score)})
            case _:
                return result

    def _score(self, result: ScoreResult) -> ScoreResult:
        errors = np.asarray(result.errors)[self.places]
        readings = [r for r in result.readings if r.metric not in ("wer", "wer_low", "wer_high")]
        readings.append(Reading(metric="wer", value=self._wer(errors)))
        readings += [
            r.model_copy(update={"metric": TRUE_WER}) for r in result.readings if r.metric == "wer"
        ]
        changes = {
            "readings": tuple(readings),
            "errors": tuple(errors.tolist()),
            "words": tuple(self.words[self.places].tolist()),
        }
        return result.model_copy(update=changes)

    def _rung(self, score: RungScore) -> RungScore:
        errors = np.asarray(score.errors)[self.places]
        changes = {"errors": tuple(errors.tolist()), "wer": self._wer(errors)}
        return score.model_copy(update=changes)

    def _wer(self, errors: np.ndarray) -> float:
        return float(errors.sum() / max(1, self.words[self.places].sum()))
