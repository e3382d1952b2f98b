"""What of a space decides a study's trials, as one digest.

How many, how long and how parallel does not decide them; nor does a comment, or where the file
lies. Written so that a space has the digest that earlier versions gave it: what they did not
know is left out where it changes nothing.
"""

from __future__ import annotations

from spaces.recipe import digest_of
from spaces.space import WHERE_IT_IS_REACHED, Space
from spaces.space.sections import DecodeAxes

_HOW_IT_IS_RUN = {
    "trials",
    "hours",
    "compute_hours",
    "parallel",
    "retries",
    "stage_timeout_s",
    "device_patience_s",
    "confirm",
    "device",
    "precision",
    "trials_per_gpu",
}
_HOW_IT_IS_CALLED = {"at_once": True, "time_limit_s": True}
_OF_THE_FIRST = {**_HOW_IT_IS_CALLED, "top_k": True}  # said once for all teachers
# What later versions added, with what stands for how it was before.
_LATER: dict[str, object] = {
    "formats": "sampled",
    "rungs": [],
    "stop_early": True,
    "settings": "sampled",
    "warm_start": [],
    "weight_sharing": "off",
}


def space_digest(space: Space) -> str:
    """Hex digest of the content that a study's trials follow from."""
    content = space.model_dump(
        mode="json",
        exclude={
            "name": True,
            "description": True,
            "budgets": True,
            "forbid": True,
            "data": {"test": True, "synthetic": {"test_utterances": True}},  # tells at the end
            "teacher": {
                **_HOW_IT_IS_CALLED,
                "also": {"__all__": _OF_THE_FIRST},
            },
            "targets": {"__all__": WHERE_IT_IS_REACHED},
            "search": _HOW_IT_IS_RUN,
        },
    )
    content["budgets"] = {str(b.metric): b.written for b in space.budgets}
    content["forbid"] = [rule.written for rule in space.forbid]
    content["search"]["expert_trials"] = content["search"].pop("initial_trials")
    for name, default in _LATER.items():
        if content["search"][name] == default:
            del content["search"][name]
    for name in ("waveform", "as_recorded", "sherpa", "command", "language", "also", "top_k"):
        if not content["teacher"][name]:
            del content["teacher"][name]
    if space.search.weight_sharing == "off":
        del content["search"]["slice_epochs"]
    for name in ("losses", "stages"):
        if not content[name]:
            del content[name]
    if not space.front_end.varied():
        del content["front_end"]
    if space.decode == DecodeAxes():
        del content["decode"]
    if space.task == "offline":
        del content["task"], content["streaming"]
    return digest_of(content)
