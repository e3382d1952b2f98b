"""The axes that are open to every family: front end, training, distillation, pruning, number
formats."""

from __future__ import annotations

from typing import get_args

from pydantic import field_validator

from spaces.axes import Axis, Choice
from spaces.extensions import PRUNING_RULES
from spaces.front_end import SAMPLES
from spaces.recipe import PARTS, Distil, Prune, Quantize, Scheme, Training
from spaces.record import Grown, Record
from spaces.space.names import AxisField


class FrontEndAxes(Record):
    """How samples become features: Kaldi filter banks of windows of 25 ms."""

    mels: AxisField = Choice((80,))
    """mel bins, 20 to 128; sherpa-onnx is told by feature_dim"""
    shift_ms: AxisField = Choice((10.0,))
    """between two windows, 10 to 20; other than 10 is for our own bundle only"""
    sample_rate_hz: AxisField = Choice((16_000,))
    """of the samples, 8000 or 16000; sherpa-onnx is told by sample_rate"""

    @field_validator("mels")
    @classmethod
    def _no_samples(cls, axis: Axis) -> Axis:
        """As many values as a frame has samples are what only a brought model hears."""
        if SAMPLES.mels in axis.values_in_order():
            raise ValueError(f"{SAMPLES.mels}: mels are 20 to 128")
        return axis

    def varied(self) -> dict[str, Axis]:
        """The axes of what is not left as usual."""
        return {
            name: axis
            for name, field in type(self).model_fields.items()
            if (axis := getattr(self, name)) != field.default
        }


class StreamingAxes(Record):
    """How students hear live speech; read where `task` is streaming or both."""

    chunk_ms: AxisField = Choice((320,))
    """audio heard at a time, 80 to 2560, in steps of 40"""
    look_ahead_ms: AxisField = Choice((160,))
    """what is waited for after each chunk, 0 to 1280, in steps of 40"""


class DecodeAxes(Record):
    """How text is found in what a student says: beam search with an n-gram model of tokens, for
    targets of ONNX Runtime on machines with the extra `beam`."""

    beam: AxisField = Choice((1,))
    """hypotheses that are kept; 1 is greedy, without a language model"""
    lm_order: AxisField = Choice((5,))
    """the longest gram, 2 to 10; the model is learnt from the training transcripts and ships"""
    lm_weight: AxisField = Choice((0.5,))
    """what it counts beside what was heard"""


class PruneAxes(Grown):
    """How much is removed, how long is trained afterwards, and by which rule units are kept."""

    later = Prune.later

    ratio: AxisField = Choice((0.0,))
    """share of every prunable width that is removed"""
    epochs: AxisField = Choice((10,))
    """of training after that"""
    rule: AxisField = Choice(("l1",))
    """which units stay: by their weights (l1), by what the loss would be without them (taylor), by
    gates that are trained first (gates)"""
    rounds: AxisField = Choice((1,))
    """in how many steps it is removed, with training after each"""
    scope: AxisField = Choice(("module",))
    """where from: the same share everywhere (module), where least is lost (global), where least is
    lost for the time it saves (time)"""

    @field_validator("rule")
    @classmethod
    def _known_rule(cls, axis: Axis) -> Axis:
        for value in axis.values if isinstance(axis, Choice) else (str(axis),):
            if value not in PRUNING_RULES:
                raise ValueError(
                    f"{value!r} is not a pruning rule; {PRUNING_RULES.hint(str(value))}"
                )
        return axis


class QuantizeAxes(Grown):
    """`scheme` sets every part; a part named on its own is chosen on its own."""

    later = Quantize.later

    scheme: AxisField = Choice(("fp32",))
    """number format of every part"""
    frontend: AxisField | None = None
    """of this part on its own"""
    encoder: AxisField | None = None
    """of this part on its own"""
    head: AxisField | None = None
    """of this part on its own"""
    qat_epochs: AxisField = Choice((0,))
    """of training with weights rounded as they will be; 0 is without"""
    calibration: AxisField = Choice(("minmax",))
    """how ranges are taken from audio for int8_static: minmax, entropy or percentile"""
    equalise: AxisField = Choice((False,))
    """even out the channels of neighbouring layers before int8; without qat_epochs"""
    keep: AxisField = Choice((0,))
    """how many layers, those that suffer most, stay in 16 bits; without qat_epochs"""

    @field_validator("scheme", *PARTS)
    @classmethod
    def _known(cls, axis: Axis | None) -> Axis | None:
        known = get_args(Scheme)
        for value in axis.values if isinstance(axis, Choice) else ():
            if value not in known:
                raise ValueError(f"{value!r} is not a number format (known: {', '.join(known)})")
        if axis is not None and not isinstance(axis, Choice):
            raise ValueError("is a choice of number formats, not a range")
        return axis


class DistilAxes(Grown):
    """How much, and how softly, the teacher is followed."""

    later = Distil.later

    weight: AxisField = Choice((0.67,))
    """of the teacher in the loss; 0 is without"""
    temperature: AxisField = Choice((1.0,))
    """softens teacher and student"""
    hidden_weight: AxisField = Choice((0.0,))
    """of the agreement with the teacher's hidden layer, early in training"""
    hidden_layers: AxisField = Choice((1,))
    """which: 1 the last, 2 the middle one as well"""
    frames: AxisField = Choice(("all",))
    """in which frames it is followed: all, speech (not blank), symmetric (and the blanks beside)"""
    halfway: AxisField = Choice((0.0,))
    """share of the following that is done halfway up the network"""
    delay_ms: AxisField = Choice((0,))
    """how much later than an offline teacher the same is said, 0 to 960, in steps of 40"""


class TrainingAxes(Grown):
    """How long and how gently a student is trained."""

    later = Training.later

    epochs: AxisField = Choice((40,))
    """passes over the training set"""
    learning_rate: AxisField = Choice((4e-3,))
    """the highest"""
    weight_decay: AxisField = Choice((0.01,))
    """of AdamW"""
    batch_s: AxisField = Choice((32.0,))
    """seconds of audio in a batch, padding included"""
    augment: AxisField = Choice((1.0,))
    """strength of SpecAugment; 0 is without"""
    intermediate_ctc: AxisField = Choice((0.0,))
    """share of a CTC loss halfway up the network"""
    consistency: AxisField = Choice((0.0,))
    """weight of CR-CTC; doubles the work of a step"""
    start: AxisField = Choice(("nothing",))
    """what a student begins as: nothing, or part of the teacher (teacher), where that is a network
    of this program, of its family and as wide; others begin from nothing"""
