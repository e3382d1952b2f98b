"""Every kind of teacher: it infers once, aligned to the students' tokens and frame rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from wav2vec2 import write_wav2vec2

from spaces.families import SeparableConv
from spaces.space import TeacherSource
from workers.checkpoint import save_network
from workers.data.text import write_tokens
from workers.errors import TeacherFault
from workers.export.onnx import export_onnx
from workers.students.base import untrained_student
from workers.teachers.base import TeacherOutput
from workers.teachers.load import load_teacher
from workers.teachers.runner import TeacherRunner
from workers.teachers.targets import Layers, infer_targets
from workers.train.losses.soft_targets import SoftTargets

SUBSAMPLING_FACTOR = SeparableConv.contract.subsampling_factor


@pytest.fixture(scope="module")
def network(corpus):
    torch.manual_seed(0)
    return untrained_student(SeparableConv(channels=16, blocks=2), corpus).eval()


def inferred(teacher, corpus, folder):
    runner = TeacherRunner(teacher, corpus, (1.0,))
    infer_targets(
        runner, folder, SUBSAMPLING_FACTOR, hidden=Layers(last=True), progress=lambda done, of: None
    )
    return SoftTargets(folder)


def test_a_checkpoint_and_its_onnx_export_say_the_same(network, corpus, tmp_path):
    save_network(network, corpus.symbols, tmp_path / "t.safetensors")
    export_onnx(network, corpus.symbols, tmp_path / "t.onnx")
    write_tokens(corpus.symbols, tmp_path / "tokens.txt")
    config = TeacherSource(checkpoint=str(tmp_path / "t.safetensors"))
    first = inferred(load_teacher(config), corpus, tmp_path / "a")
    config = TeacherSource(onnx=str(tmp_path / "t.onnx"), tokens=str(tmp_path / "tokens.txt"))
    second = inferred(load_teacher(config), corpus, tmp_path / "b")
    items = ((0, 0), (3, 0))
    assert first.kind == second.kind == "frames"
    assert first.hidden_size == 16
    assert second.hidden_size is None
    assert torch.allclose(first.log_probs(items), second.log_probs(items), atol=2e-2)


def test_a_teacher_whose_tokens_stand_in_another_order_is_aligned(network, corpus, tmp_path):
    class Shuffled:
        wants_samples = False
        n_parameters = None
        symbols = ("<blk>", *reversed(corpus.symbols[1:]), "extra")

        def __init__(self, inner):
            self.inner = inner

        def infer(self, features):
            output = self.inner.infer(features)
            order = [0, *range(len(corpus.symbols) - 1, 0, -1)]
            extra = np.full((len(output.log_probs), 1), -20.0, np.float32)
            return output._replace(log_probs=np.hstack([output.log_probs[:, order], extra]))

    save_network(network, corpus.symbols, tmp_path / "t.safetensors")
    plain = load_teacher(TeacherSource(checkpoint=str(tmp_path / "t.safetensors")))
    first = inferred(plain, corpus, tmp_path / "a")
    second = inferred(Shuffled(plain), corpus, tmp_path / "b")
    assert torch.allclose(first.log_probs(((2, 0),)), second.log_probs(((2, 0),)), atol=2e-2)


def test_a_teacher_with_other_tokens_is_used_through_its_transcripts(corpus, tmp_path):
    class Oracle:
        """Writes whole words, as a teacher with another token set does."""

        wants_samples = False
        n_parameters = None

        def __init__(self):
            words = sorted({w for u in corpus.train for w in u.text.split()})
            self.symbols = ("<blk>", *("▁" + w for w in words))
            self.turn = 0

        def infer(self, features):
            utterance = corpus.train[self.turn % len(corpus.train)]
            self.turn += 1
            ids = [i for w in utterance.text.split() for i in (self.symbols.index("▁" + w), 0)]
            log_probs = np.full((len(ids), len(self.symbols)), -20.0, np.float32)
            log_probs[range(len(ids)), ids] = 0.0
            return TeacherOutput(log_probs, None)

    targets = inferred(Oracle(), corpus, tmp_path / "t")
    assert targets.kind == "transcripts"
    assert targets.targets == [list(u.ids) for u in corpus.train]
    assert targets.n_pseudo_labels == len(corpus.train)


@pytest.fixture(scope="module")
def huggingface_folder(tmp_path_factory):
    return write_wav2vec2(tmp_path_factory.mktemp("hf"))


@pytest.mark.filterwarnings("ignore")  # of transformers' own making
def test_a_hugging_face_model_infers_at_its_own_frame_rate(huggingface_folder, corpus, tmp_path):
    teacher = load_teacher(TeacherSource(huggingface=str(huggingface_folder)))
    assert teacher.wants_samples
    assert teacher.symbols[0] == "<blk>"
    assert {"▁", "a", "z"} <= set(teacher.symbols)
    log_probs = TeacherRunner(teacher, corpus, (1.0,)).infer(corpus.train[0]).log_probs
    assert len(log_probs) == pytest.approx(corpus.train[0].seconds * 50, abs=2)  # 20 ms frames
    targets = inferred(teacher, corpus, tmp_path / "t")
    assert targets.kind == "frames"
    assert targets.log_probs(((0, 0),)).shape[2] == len(corpus.symbols)


@pytest.mark.filterwarnings("ignore")
def test_a_hugging_face_folder_with_pickled_weights_only_is_refused(huggingface_folder, tmp_path):
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(huggingface_folder, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(TeacherFault, match="cannot be loaded"):
        load_teacher(TeacherSource(huggingface=str(folder)))


def test_a_torchaudio_pipeline_infers(corpus, tmp_path, monkeypatch):
    import torchaudio

    class Bundle:
        """As torchaudio's bundles are, with a small network: no weights are fetched in a test."""

        def get_labels(self):
            return ("-", "|", *"ETAOINSHRDLUCMWFGYPBVKXJQZ'")

        def get_model(self, dl_kwargs):
            assert dl_kwargs == {"weights_only": True}  # nothing is unpickled
            torch.manual_seed(0)
            return torchaudio.models.wav2vec2_model(
                extractor_mode="group_norm",
                extractor_conv_layer_config=[(8, 10, 5), (8, 8, 8), (8, 8, 8)],
                extractor_conv_bias=False,
                encoder_embed_dim=16,
                encoder_projection_dropout=0.0,
                encoder_pos_conv_kernel=16,
                encoder_pos_conv_groups=2,
                encoder_num_layers=1,
                encoder_num_heads=2,
                encoder_attention_dropout=0.0,
                encoder_ff_interm_features=16,
                encoder_ff_interm_dropout=0.0,
                encoder_dropout=0.0,
                encoder_layer_norm_first=False,
                encoder_layer_drop=0.0,
                aux_num_out=29,
            )

    monkeypatch.setattr(torchaudio.pipelines, "TINY_ASR", Bundle(), raising=False)
    teacher = load_teacher(TeacherSource(torchaudio="TINY_ASR"))
    assert inferred(teacher, corpus, tmp_path / "t").kind == "frames"


def test_a_checkpoint_that_is_not_ours_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, said in (("other.safetensors", "not a checkpoint written by"), ("no", "no such")):
        with pytest.raises(TeacherFault, match=said):
            load_teacher(TeacherSource(checkpoint=str(Path(tmp_path) / name)))
