"""Teachers on raw audio in torch: a network of anybody's, a torchaudio pipeline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from workers.data.text import folded, with_blank_first
from workers.errors import TeacherFault
from workers.teachers.base import TeacherOutput


class WaveformTeacher:
    """A network on raw audio."""

    wants_samples = True

    def __init__(
        self,
        network: torch.nn.Module,
        symbols: tuple[str, ...],
        run: Callable[[torch.Tensor], torch.Tensor],
        where: str,
        device: torch.device,
    ) -> None:
        found = with_blank_first(symbols, where)
        self.symbols, self._order = found.symbols, list(found.order)
        network.to(device)
        self._run, self._device = run, device
        self.n_parameters: int | None = sum(p.numel() for p in network.parameters())

    def infer(self, features: np.ndarray) -> TeacherOutput:
        with torch.inference_mode():
            logits = self._run(torch.from_numpy(np.array(features))[None].to(self._device))
        log_probs = torch.log_softmax(logits[0].float(), -1).cpu().numpy()
        return TeacherOutput(log_probs[:, self._order], None)


def torchaudio_teacher(name: str, device: torch.device) -> WaveformTeacher:
    """A CTC bundle of torchaudio.pipelines, such as WAV2VEC2_ASR_BASE_960H; weights are fetched
    by torchaudio on first use, which needs the network."""
    import torchaudio

    bundle = getattr(torchaudio.pipelines, name, None)
    if bundle is None or not hasattr(bundle, "get_labels"):
        known = [n for n in dir(torchaudio.pipelines) if "_ASR_" in n]
        raise TeacherFault(f"torchaudio: no CTC pipeline {name} (known: {', '.join(known)})")
    try:
        network = bundle.get_model(dl_kwargs={"weights_only": True}).eval()
    except Exception as error:  # urllib, hashing and unpickling errors of many types
        raise TeacherFault(f"torchaudio: {name}: weights cannot be fetched ({error})") from error
    symbols = tuple(folded(s) for s in bundle.get_labels())
    return WaveformTeacher(network, symbols, lambda samples: network(samples)[0], name, device)
