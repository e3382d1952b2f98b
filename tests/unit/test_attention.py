"""Attention that looks at frames of its choice, and frames that are summed up to tokens."""

from __future__ import annotations

import torch

from spaces.families import Paraformer
from workers.students.base import Targets, build
from workers.students.blocks.attention import Attention, taken_budget_loss
from workers.students.paraformer import summed_to_tokens


def _attention(attended: float) -> Attention:
    torch.manual_seed(0)
    return Attention(16, 2, 8, attended)


def test_what_is_gathered_says_what_hiding_the_other_frames_says() -> None:
    attention, x = _attention(0.5).eval(), torch.randn(3, 20, 16)
    mask = (torch.arange(20)[None, :] < torch.tensor([20, 13, 1])[:, None]).float().unsqueeze(2)
    said = attention(x, mask)
    marks = attention.predictor(attention.norm(x)).squeeze(2)
    is_key = (marks > 0) & (mask.squeeze(2) > 0)
    assert 0 < is_key[0].sum() < 20
    for row in range(3):
        alone = _attention(1.0).eval()
        alone.load_state_dict(attention.state_dict(), strict=False)
        keys = (
            is_key[row]
            if is_key[row].any()
            else marks[row] == marks[row][mask[row, :, 0] > 0].max()
        )
        hidden = alone(x[row : row + 1], keys.float()[None, :, None])
        n = int(mask[row].sum())
        assert torch.allclose(said[row, :n], hidden[0, :n], atol=1e-5)


def test_in_training_hidden_frames_say_nothing_and_the_share_is_charged_for() -> None:
    attention, x = _attention(0.25).train(), torch.randn(2, 40, 16)
    mask = torch.ones(2, 40, 1)
    trained = attention(x, mask)
    assert torch.allclose(trained, attention.eval()(x, mask), atol=1e-5)
    attention.train()(x, mask)
    loss = taken_budget_loss(attention)
    assert loss is not None and float(loss.detach()) > 0
    loss.backward()
    assert attention.predictor.weight.grad.abs().sum() > 0
    assert taken_budget_loss(attention) is None


def test_the_share_that_is_looked_at_is_learnt() -> None:
    attention, x = _attention(0.25).train(), torch.randn(4, 60, 16)
    mask = torch.ones(4, 60, 1)
    optimizer = torch.optim.Adam(attention.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        attention(x, mask)
        taken_budget_loss(attention).backward()
        optimizer.step()
    share = (attention.predictor(attention.norm(x)) > 0).float().mean()
    assert abs(float(share) - 0.25) < 0.1


def test_attention_to_everything_is_charged_for_nothing() -> None:
    attention = _attention(1.0).train()
    attention(torch.randn(1, 5, 16), torch.ones(1, 5, 1))
    assert taken_budget_loss(attention) is None


def test_one_token_alone_can_be_learnt() -> None:
    dims = Paraformer(channels=16, blocks=1, heads=1, head_size=8, feed_forward=16)
    network = build(dims, 5).train()
    for ids in ([3], [2, 2]):
        told = Targets(torch.tensor(ids), torch.tensor([len(ids)]))
        said = network(torch.randn(1, 40, 80), torch.tensor([40]), told)
        assert torch.isfinite(said.own_loss)
        said.own_loss.backward()


def _one_by_one(x: torch.Tensor, full: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """Frames integrated until a token is full, as the paper has it."""
    tokens, token, room = [], torch.zeros(x.shape[1]), 1.0
    for frame, share in zip(x, full.tolist(), strict=True):
        while share > 1e-9:
            taken = min(share, room)
            token = token + taken * frame
            share, room = share - taken, room - taken
            if room < 1e-6:
                tokens.append(token)
                token, room = torch.zeros(x.shape[1]), 1.0
    return torch.stack([*tokens, token][:n_tokens])


def test_frames_are_summed_up_to_tokens_as_one_by_one() -> None:
    torch.manual_seed(1)
    x, full = torch.randn(1, 30, 4), torch.rand(1, 30)
    full = full * 9 / full.sum()
    summed = summed_to_tokens(x, full, 9)
    assert torch.allclose(summed[0], _one_by_one(x[0], full[0], 9), atol=1e-4)
