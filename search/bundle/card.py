"""What a bundle says to people."""

from __future__ import annotations

from collections.abc import Mapping

from search.tables import shown
from spaces.metrics import METRICS
from spaces.recipe import Recipe
from spaces.space import Space
from storage.records import Study, Trial
from workers.jobs import Model

_FIGURES = (
    "wer",
    "cer",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "graph_p50_ms",
    "rtf",
    "load_ms",
    "peak_memory_mb",
    "size_mb",
    "macs",
    "params",
)


def card_text(study: Study, space: Space, trial: Trial, target: str, model: Model) -> str:
    """CARD.md: figures on a target beside the teacher's, how to use it, what they do not say."""
    recipe = Recipe.model_validate(trial.recipe)
    metrics = _on(target, space, trial.metrics)
    teacher = _on(target, space, study.facts.get("teacher", {}))
    rows = [
        f"| {name} | {shown(name, metrics.get(name))} | {shown(name, teacher.get(name))} |"
        for name in _FIGURES
    ]
    interval = f"{shown('wer', metrics.get('wer_low'))} to {shown('wer', metrics.get('wer_high'))}"
    said = space.targets[target]
    targets = f"{target}: {said.backend}, {said.threads} thread{'s' if said.threads > 1 else ''}"
    unsteady = (
        "\nThe times were NOT taken in quiet: `search measure --unsteady` takes them again."
        if metrics.get("unsteady")
        else ""
    )
    return f"""# {recipe.label()}

Trial {trial.number} of study "{study.name}".

| measured on the file in this package | student | teacher |
| --- | --- | --- |
{chr(10).join(rows)}

WER is of {metrics.get("n_words", 0):.0f} words of the study's dev set, 95 % interval {interval}
(bootstrap over utterances). Latency is from samples to text, one utterance at a time, on
{targets}; another machine gives other figures. No language model was used.{unsteady}

## Use

    search transcribe . recording.wav
{_in_code(model, metrics)}
Input: 16 kHz speech, Kaldi filter banks as in features.json. Output: CTC log-probabilities at a
quarter of the frame rate; symbol 0 of tokens.txt is the blank.
"""


def _on(target: str, space: Space, metrics: Mapping[str, float]) -> dict[str, float]:
    """Figures of one target by their plain names; none of another's."""
    own = {k.partition("@")[0]: v for k, v in metrics.items() if k.endswith(f"@{target}")}
    is_first = target == next(iter(space.targets))
    everywhere = {
        k: v
        for k, v in metrics.items()
        if "@" not in k and (is_first or (k in METRICS and not METRICS[k].per_target))
    }
    return {**everywhere, **own}


def _in_code(model: Model, metrics: Mapping[str, float]) -> str:
    if model.backend == "onnxruntime":
        return """
    import sherpa_onnx
    recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc("model.onnx", "tokens.txt")
"""
    differing = metrics.get("text_diff_share")
    agrees = "" if differing is None else f"; {differing:.1%} of the dev texts differ from its"
    return f"""
The model is in the form of {model.backend} ({model.main}): not for ONNX Runtime{agrees}.
"""


def licence_notice(space: Space) -> str:
    """Whose terms a student is under; nobody can decide that from the files alone."""
    data = (
        "the embedded synthetic corpus (speech by espeak-ng)"
        if space.data.synthetic is not None
        else "the audio and transcripts named in the study's space"
    )
    return (
        f"This model was trained on {data}, with this teacher: {_public(space.teacher.source())}.\n"
        "Their licences apply to it; check that they allow your use before you distribute it.\n"
        "The program that made it claims no rights in it.\n"
    )


def _public(source: str) -> str:
    """Without the folders of the machine it was made on."""
    kind, _, name = source.partition(" ")
    return f"{kind} {name.replace(chr(92), '/').rpartition('/')[2]}"
