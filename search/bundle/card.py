"""What a bundle says to people."""

from __future__ import annotations

from search.tables import shown
from spaces.recipe import Recipe
from spaces.space import Space
from storage.records import Study, Trial

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


def card_text(study: Study, space: Space, trial: Trial) -> str:
    """CARD.md: figures beside the teacher's, how to use it, what they do not say."""
    teacher = study.facts.get("teacher", {})
    recipe = Recipe.model_validate(trial.recipe)
    metrics = trial.metrics
    rows = [
        f"| {name} | {shown(name, metrics.get(name))} | {shown(name, teacher.get(name))} |"
        for name in _FIGURES
    ]
    interval = f"{shown('wer', metrics.get('wer_low'))} to {shown('wer', metrics.get('wer_high'))}"
    targets = ", ".join(
        f"{name}: {t.backend}, {t.threads} thread{'s' if t.threads > 1 else ''}"
        for name, t in space.targets.items()
    )
    return f"""# {recipe.label()}

Trial {trial.number} of study "{study.name}".

| measured on the file in this package | student | teacher |
| --- | --- | --- |
{chr(10).join(rows)}

WER is of {metrics.get("n_words", 0):.0f} words of the study's dev set, 95 % interval {interval}
(bootstrap over utterances). Latency is from samples to text, one utterance at a time, on
{targets}; another machine gives other figures. No language model was used.

## Use

    search transcribe . recording.wav

    import sherpa_onnx
    recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc("model.onnx", "tokens.txt")

Input: 16 kHz speech, Kaldi filter banks as in features.json. Output: CTC log-probabilities at a
quarter of the frame rate; symbol 0 of tokens.txt is the blank.
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
