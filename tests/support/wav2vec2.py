"""A wav2vec 2.0 CTC model of a few thousand random weights, saved as transformers does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]


def write_wav2vec2(folder: Path) -> Path:
    """The folder; the test is skipped without the extra."""
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    (folder / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(LETTERS)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=len(LETTERS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8, 8, 8, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder
