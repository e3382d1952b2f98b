"""Agreement with the teacher's hidden layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALIGNED_SHARE = 0.4  # hidden layers guide the first part of training only (TutorNet's order)


class FeatureAlignmentLoss(nn.Module):
    """Projects a student's last hidden layer onto the teacher's and compares them.

    L1 plus cosine distance, as in DistilHuBERT (arXiv 2110.01900).
    """

    def __init__(self, n_student: int, n_teacher: int) -> None:
        super().__init__()
        self.project = nn.Linear(n_student, n_teacher)

    def forward(self, hidden: Tensor, lengths: Tensor, teacher: Tensor) -> Tensor:
        """hidden float32 [N, T', C], lengths int64 [N], teacher float32 [N, T', C of its own]."""
        mine = self.project(hidden.float())
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        frames = (positions[None, :] < lengths[:, None]).float()
        distance = (mine - teacher).abs().mean(-1) + 1 - F.cosine_similarity(mine, teacher, dim=-1)
        return (distance * frames).sum() / lengths.sum()
