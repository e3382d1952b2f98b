"""The end of a run of a study: its state, and what is told of it."""

from __future__ import annotations

from search.policy import Policy
from search.strategy.rungs import with_predictions
from search.strategy.settings import findings
from search.study.ledger import Ledger
from spaces.space import Space
from storage.records import StudyState, TrialState


def tell_settings(ledger: Ledger, space: Space, policy: Policy) -> None:
    """Say what was learnt of the settings of training, as far as it is sure."""
    if space.search.settings == "learned":
        trials = with_predictions(space, policy, list(ledger.trials.values()))
        for finding in findings(space, trials):
            if finding.is_sure:
                ledger.event("settings", str(finding))


def conclude(
    ledger: Ledger,
    state: StudyState,
    propose_new: bool,
    is_exhausted: bool,
    is_out_of_time: bool,
) -> StudyState:
    """Put the state that the study ends in into the record, and say why it ends.

    Returns:
        Stopped when it was ended before what was asked for was done, else finished: `search
        measure` is done while trials are still to come.
    """
    has_more = len(ledger.trials) < ledger.study.trials_wanted
    if state is StudyState.STOPPED:
        message = "stopped; what was running continues from its checkpoints"
    elif not propose_new and has_more:
        message = "measured what there was; `search launch` goes on"
    else:
        message = _closing_message(ledger, is_exhausted, is_out_of_time)
    waits = not propose_new and has_more
    ledger.set_state(StudyState.STOPPED if waits else state)
    ledger.event("study", message)
    return state


def _closing_message(ledger: Ledger, is_exhausted: bool, is_out_of_time: bool) -> str:
    unmeasured = ledger.count(TrialState.UNMEASURED)
    waits = f", {unmeasured} wait to be measured" if unmeasured else ""
    why = "every recipe of the space has been tried" if is_exhausted else "finished"
    if is_out_of_time:
        why = "time is up"
    complete, stopped = ledger.count(TrialState.COMPLETE), ledger.count(TrialState.STOPPED)
    early = f", {stopped} stopped early" if stopped else ""
    return f"{why}: {complete} of {len(ledger.trials)} trials complete{early}{waits}"
