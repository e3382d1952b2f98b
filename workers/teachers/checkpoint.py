"""A teacher that is a network of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from workers.checkpoint import load_network
from workers.errors import TeacherFault
from workers.students.blocks.fold import fold_norms
from workers.teachers.base import TeacherOutput


class CheckpointTeacher:
    """A network of ours, from its checkpoint."""

    wants_samples = False

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        network, self.symbols, _ = load_network(path)
        if network.dims.written_per_frame > 1:
            raise TeacherFault(
                f"{path}: a {network.dims.family} writes tokens, not what it makes of each frame, "
                "which students would follow; take a teacher with CTC"
            )
        self.n_parameters: int | None = sum(p.numel() for p in network.parameters())
        self.network = fold_norms(network).to(device or torch.device("cpu"))

    def infer(self, features: np.ndarray) -> TeacherOutput:
        with torch.inference_mode():
            device = self.network.head.weight.device
            x = self.network.normalise(torch.from_numpy(np.array(features))[None].to(device))
            output = self.network(x, torch.tensor([len(features)], device=device))
            log_probs = torch.log_softmax(output.logits[0], -1)
        halfway = None if output.halfway is None else output.halfway[0].cpu().numpy()
        return TeacherOutput(log_probs.cpu().numpy(), output.hidden[0].cpu().numpy(), halfway)
