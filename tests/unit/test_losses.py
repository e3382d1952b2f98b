"""A student's agreement with its teacher, and how a teacher's words fit a student's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.teachers.rate import at_rate, output_steps
from workers.teachers.targets import columns_for, normalised
from workers.train.losses.cr_ctc import cr_ctc_loss
from workers.train.losses.ctc import ctc_per_frame
from workers.train.losses.distillation import (
    delayed,
    followed_frames,
    kl_per_frame,
    with_silent_end,
)

TEMPERATURES = [0.5, 1.0, 2.0, 4.0]


def _logits(seed: int, n: int = 2, steps: int = 5, vocabulary: int = 7) -> Tensor:
    return torch.randn(n, steps, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3


def _by_hand(logits: Tensor, lengths: Tensor, teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for row, length in enumerate(lengths.tolist()):
        for step in range(length):
            p = torch.softmax(teacher[row, step] / temperature, -1)
            q = torch.softmax(logits[row, step] / temperature, -1)
            total += float((p * (p / q).log()).sum())
    return total / int(lengths.sum()) * temperature**2


# agreement


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equal_distributions_diverge_by_nothing(temperature: float) -> None:
    logits, lengths = _logits(0), torch.tensor([5, 3])
    teacher = torch.log_softmax(logits, -1)
    same = kl_per_frame(logits + 4.0, lengths, teacher, temperature)  # logits up to a constant
    assert float(same) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_divergence_is_averaged_over_frames_and_scaled_by_the_temperature(
    temperature: float,
) -> None:
    logits, teacher, lengths = _logits(0), torch.log_softmax(_logits(1), -1), torch.tensor([5, 2])
    found = float(kl_per_frame(logits, lengths, teacher, temperature))
    assert found == pytest.approx(_by_hand(logits, lengths, teacher, temperature), rel=1e-4)
    assert found > 0


def test_a_higher_temperature_looks_less_at_the_best_symbol() -> None:
    lengths = torch.tensor([1])
    teacher = torch.log_softmax(torch.tensor([[[9.0, 1.0, -1.0]]]), -1)
    wrong_at_the_top = torch.tensor([[[1.0, 9.0, -1.0]]])
    wrong_in_the_tail = torch.tensor([[[9.0, -1.0, 1.0]]])
    ratios = []
    for temperature in (1.0, 4.0):
        top = kl_per_frame(wrong_at_the_top, lengths, teacher, temperature)
        tail = kl_per_frame(wrong_in_the_tail, lengths, teacher, temperature)
        ratios.append(float(tail / top))
    assert ratios[1] > 10 * ratios[0]


def test_padding_does_not_count() -> None:
    logits, teacher = _logits(0), torch.log_softmax(_logits(1), -1)
    lengths = torch.tensor([5, 2])
    before = kl_per_frame(logits, lengths, teacher, 2.0)
    logits[1, 2:], teacher[1, 2:] = 100.0 * torch.rand(3, 7), 0.0
    assert float(kl_per_frame(logits, lengths, teacher, 2.0)) == pytest.approx(float(before))


def test_padding_is_not_learnt_from() -> None:
    logits = _logits(0).requires_grad_()
    lengths = torch.tensor([5, 2])
    kl_per_frame(logits, lengths, torch.log_softmax(_logits(1), -1), 1.0).backward()
    assert logits.grad is not None
    assert (logits.grad[1, 2:] == 0).all()
    assert (logits.grad[1, :2].abs().sum(-1) > 0).all()


def test_a_student_that_follows_the_divergence_becomes_its_teacher() -> None:
    teacher, lengths = torch.log_softmax(_logits(1), -1), torch.tensor([5, 5])
    logits = torch.zeros(2, 5, 7, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        kl_per_frame(logits, lengths, teacher, 2.0).backward()
        optimizer.step()
    assert torch.equal(logits.argmax(-1), teacher.argmax(-1))


def test_two_views_that_agree_disagree_by_nothing() -> None:
    half, lengths = _logits(0), torch.tensor([5, 3, 5, 3])
    assert float(cr_ctc_loss(torch.cat([half, half]), lengths)) == pytest.approx(0.0, abs=1e-6)
    other = _logits(1)
    one_way = cr_ctc_loss(torch.cat([half, other]), lengths)
    other_way = cr_ctc_loss(torch.cat([other, half]), lengths)
    assert (
        float(one_way)
        == pytest.approx(float(other_way))
        == pytest.approx(
            float(_by_hand(half, lengths[:2], other, 1.0) + _by_hand(other, lengths[:2], half, 1.0))
            * int(lengths[:2].sum())
            / int(lengths.sum()),
            rel=1e-4,
        )
    )


def test_the_loss_of_an_utterance_is_not_changed_by_its_padding() -> None:
    logits = _logits(0, n=1, steps=6)
    targets, target_lengths = torch.tensor([1, 2]), torch.tensor([2])
    plain = ctc_per_frame(logits, torch.tensor([6]), targets, target_lengths)
    padded = torch.cat([logits, _logits(3, n=1, steps=4)], dim=1)
    assert float(ctc_per_frame(padded, torch.tensor([6]), targets, target_lengths)) == (
        pytest.approx(float(plain))
    )


# a teacher's frames at the student's rate


def test_rows_at_their_own_rate_are_left_alone() -> None:
    rows = np.random.default_rng(0).random((7, 3)).astype(np.float32)
    assert at_rate(rows, 7) is rows


def test_half_the_rate_averages_pairs() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [3.0], [6.0], [8.0]])
    np.testing.assert_allclose(at_rate(rows, 3), [[0.5], [2.5], [7.0]])


def test_twice_the_rate_interpolates_and_holds_the_ends() -> None:
    np.testing.assert_allclose(at_rate(np.array([[0.0], [4.0]]), 4), [[0.0], [1.0], [3.0], [4.0]])


def test_a_single_row_fills_every_step() -> None:
    np.testing.assert_allclose(at_rate(np.array([[2.0, 5.0]]), 3), [[2.0, 5.0]] * 3)


@given(st.integers(1, 40), st.integers(1, 40))
def test_at_any_rate_the_order_and_the_range_are_kept(n_rows: int, n_steps: int) -> None:
    ramp = np.linspace(0.0, 1.0, n_rows)[:, None]
    out = at_rate(ramp, n_steps)
    assert out.shape == (n_steps, 1)
    assert (np.diff(out[:, 0]) >= 0).all()
    assert out.min() >= 0.0
    assert out.max() <= 1.0
    np.testing.assert_allclose(out[:, 0] + out[::-1, 0], 1.0 if n_rows > 1 else 0.0, atol=1e-9)


@given(st.integers(1, 5000))
def test_a_student_has_a_frame_for_every_four_begun(n_frames: int) -> None:
    assert output_steps(n_frames, 4) == -(-n_frames // 4)


@given(st.integers(1, 5000), st.integers(1, 8))
def test_whatever_it_subsamples_by_the_last_frame_begun_is_whole(n_frames: int, by: int) -> None:
    n_steps = output_steps(n_frames, by)
    assert (n_steps - 1) * by < n_frames <= n_steps * by


# a teacher's symbols in the student's order


def test_columns_lead_from_the_students_symbols_to_the_teachers() -> None:
    teacher = ("<blk>", "c", "a", "▁", "b")
    assert columns_for(("<blk>", "▁", "a", "b"), teacher) == [0, 3, 2, 4]
    assert columns_for(teacher, teacher) == [0, 1, 2, 3, 4]


def test_a_symbol_the_teacher_has_not_leaves_no_columns() -> None:
    assert columns_for(("<blk>", "a", "z"), ("<blk>", "a", "b")) is None


def test_of_a_symbol_given_twice_the_first_is_taken() -> None:
    assert columns_for(("<blk>", "a"), ("<blk>", "a", "b", "a")) == [0, 1]


def test_chosen_columns_are_made_a_distribution_again() -> None:
    log_probs = torch.log_softmax(_logits(2)[0], -1).numpy()
    chosen = normalised(log_probs[:, [0, 3, 5]])
    np.testing.assert_allclose(np.exp(chosen).sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.diff(chosen), np.diff(log_probs[:, [0, 3, 5]]), atol=1e-5)


# frames that are followed


def _says(*symbols: int) -> Tensor:
    return torch.log_softmax(torch.nn.functional.one_hot(torch.tensor([symbols]), 4) * 9.0, -1)


def test_frames_that_say_something_are_followed_alone_or_with_the_blanks_beside_them() -> None:
    teacher, frames = _says(0, 0, 2, 3, 0, 0, 0, 1), torch.ones(1, 8, dtype=torch.bool)
    speech = followed_frames(teacher, frames, "speech")[0].tolist()
    assert speech == [False, False, True, True, False, False, False, True]
    symmetric = followed_frames(teacher, frames, "symmetric")[0].tolist()
    assert symmetric == [False, True, True, True, True, False, True, True]
    frames[0, 6:] = False
    assert followed_frames(teacher, frames, "symmetric")[0].tolist()[6:] == [False, False]


def test_the_divergence_is_the_mean_over_the_frames_that_are_followed() -> None:
    teacher, logits, lengths = _says(0, 0, 2, 0), _logits(3, 1, 4, 4), torch.tensor([4])
    only = kl_per_frame(logits[:, 2:3], torch.tensor([1]), teacher[:, 2:3], 1.0)
    assert torch.isclose(kl_per_frame(logits, lengths, teacher, 1.0, "speech"), only)
    silent = _says(0, 0, 0, 0)
    assert float(kl_per_frame(logits, lengths, silent, 1.0, "speech")) == 0


# live speech


def _teacher(n_frames: int) -> torch.Tensor:
    torch.manual_seed(0)
    said = torch.log_softmax(torch.randn(2, n_frames, 5), -1)
    said[1, n_frames - 2 :] = 0.0  # padding
    return said


def test_a_delayed_teacher_says_the_same_later_and_nothing_before() -> None:
    said = _teacher(6)
    later = delayed(said, 2)
    assert torch.equal(later[:, 2:], said[:, :4])
    assert later[:, :2].argmax(-1).tolist() == [[0, 0], [0, 0]]
    assert delayed(said, 0) is said


def test_of_silence_that_was_added_the_teacher_says_blank() -> None:
    said = _teacher(6)
    longer = with_silent_end(said, 9)
    assert longer.shape == (2, 9, 5)
    assert torch.equal(longer[0, :6], said[0]) and torch.equal(longer[1, :4], said[1, :4])
    added = torch.cat([longer[0, 6:], longer[1, 4:]]).softmax(-1)
    assert torch.allclose(added[:, 0], torch.ones(len(added)))
