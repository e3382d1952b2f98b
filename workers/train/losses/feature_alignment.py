"""Agreement with the teacher's hidden layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALIGNED_SHARE = 0.4  # hidden layers guide the first part of training only (TutorNet's order)


class FeatureAlignmentLoss(nn.Module):
    """Projects layers of a student onto those of its teacher and compares them: the last ones,
    and those at half the depth where sizes are given.

    L1 plus cosine distance, as in DistilHuBERT (arXiv 2110.01900); the mean over the layers.
    """

    def __init__(
        self, n_student: int, n_teacher: int, halfway: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.project = nn.Linear(n_student, n_teacher)
        self.project_halfway = nn.Linear(*halfway) if halfway else None

    def forward(
        self, hidden: Tensor, lengths: Tensor, teacher: Tensor, halfway: Tensor | None = None
    ) -> Tensor:
        """hidden float32 [N, T', C], halfway the same of half the depth, lengths int64 [N], teacher
        float32 [N, T', C of its own]: its layer at half the depth, if it has that, then its last.
        """
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        frames = (positions[None, :] < lengths[:, None]).float() / lengths.sum()
        n_last = self.project.out_features
        last = _distance(self.project(hidden.float()), teacher[..., -n_last:], frames)
        if self.project_halfway is None or halfway is None:
            return last
        theirs = teacher[..., : self.project_halfway.out_features]
        return (last + _distance(self.project_halfway(halfway.float()), theirs, frames)) / 2


def _distance(mine: Tensor, teacher: Tensor, frames: Tensor) -> Tensor:
    distance = (mine - teacher).abs().mean(-1) + 1 - F.cosine_similarity(mine, teacher, dim=-1)
    return (distance * frames).sum()
