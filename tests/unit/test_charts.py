"""Charts say what they show: units on axes, a symbol for every colour, text as text."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from search.report.charts import (
    COLOURS,
    SYMBOLS,
    bars,
    correlation_heatmap,
    distribution,
    learning_curves,
    over_time,
    parallel_coordinates,
    scatter_by_utterance,
    spectrogram,
    waveform,
)
from search.report.front_charts import Marks, front_chart
from search.report.labels import metric_label, metric_name
from workers.results import Epoch

NO_MARKS = Marks({}, {})
MARKUP = "<b onclick=alert(1)>x</b>"


def points(count: int = 30, families: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    wer = rng.uniform(0.05, 0.3, count)
    return pd.DataFrame(
        {
            "number": range(count),
            "label": [f"student {i}" for i in range(count)],
            "family": [f"family {i % families}" for i in range(count)],
            "on_front": [i % 3 == 0 for i in range(count)],
            "fits": [i % 5 != 0 for i in range(count)],
            "doubt": ["times unsteady" if i % 7 == 0 else "" for i in range(count)],
            "wer": wer,
            "wer_low": wer * 0.9,
            "wer_high": wer * 1.2,
            "latency_p95_ms": rng.uniform(1, 50, count),
            "size_mb": rng.uniform(0.1, 0.2, count),
        }
    )


def chart(frame: pd.DataFrame, marks: Marks = NO_MARKS, x: str = "latency_p95_ms") -> go.Figure:
    return front_chart(frame, x, "wer", "family", marks, ["wer", x])


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("wer", "WER (%)"),
        ("latency_p95_ms", "latency p95 (ms)"),
        ("latency_p95_ms@pi5", "latency p95 on pi5 (ms)"),
        ("size_mb", "size (MB)"),
        ("energy_mj", "energy (mJ)"),
        ("word_f1", "word f1 (%)"),
        ("tail_factor", "tail factor"),
    ],
)
def test_an_axis_says_its_unit_and_target(metric: str, said: str) -> None:
    assert metric_label(metric) == said
    assert said.startswith(metric_name(metric))


def test_every_trial_is_drawn_once_and_knows_its_number() -> None:
    figure = chart(points())
    drawn = [int(n) for trace in figure.data if trace.ids is not None for n in trace.ids]
    assert sorted(drawn) == list(range(30))


def test_fractions_are_drawn_as_percentages() -> None:
    frame = points()
    values = np.concatenate([t.y for t in chart(frame).data if t.ids is not None])
    assert sorted(values) == pytest.approx(sorted(frame["wer"] * 100))


def test_what_colour_tells_a_symbol_tells_as_well() -> None:
    figure = chart(points(families=6))
    marked = [t for t in figure.data if t.legendgroup]
    looks = {(t.marker.color, t.marker.symbol.removesuffix("-open")) for t in marked}
    assert len({c for c, _ in looks}) == len({s for _, s in looks}) == len(looks) == 6
    assert len(COLOURS) == len(set(COLOURS)) == len(SYMBOLS) == len(set(SYMBOLS))


def test_more_groups_than_colours_share_the_last() -> None:
    figure = chart(points(60, families=20).assign(fits=True))
    names = {t.name for t in figure.data if t.showlegend}
    assert len(names) == len(COLOURS)
    assert "other" in names


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def _seen(colour: str, lost: int) -> np.ndarray:
    """The colour as somebody sees it who lacks one kind of cone (Viénot et al., 1999)."""
    to_cones = np.array(
        [[17.8824, 43.5161, 4.1194], [3.4557, 27.1554, 3.8671], [0.03, 0.1843, 1.467]]
    )
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
    cones = to_cones @ rgb
    if lost == 0:
        cones[0] = 2.02344 * cones[1] - 2.52581 * cones[2]
    elif lost == 1:
        cones[1] = 0.494207 * cones[0] + 1.24827 * cones[2]
    return np.clip(np.linalg.solve(to_cones, cones), 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("lost", [0, 1], ids=["protanopia", "deuteranopia"])
def test_colours_differ_for_the_colour_blind(lost: int) -> None:
    for a, b in itertools.combinations(COLOURS[:6], 2):
        assert np.linalg.norm(_seen(a, lost) - _seen(b, lost)) > 0.1, (a, b)


def test_a_budget_is_a_line_and_what_is_beyond_it_lies_in_the_background() -> None:
    figure = chart(points(), Marks({}, {"latency_p95_ms": 20.0, "wer": 0.2, "size_mb": 1.0}))
    assert [s.x0 for s in figure.layout.shapes if s.x0 == s.x1] == [20.0]
    assert [s.y0 for s in figure.layout.shapes if s.y0 == s.y1] == pytest.approx([20.0])
    (beyond,) = [t for t in figure.data if t.name == "beyond the budgets"]
    assert sorted(map(int, beyond.ids)) == list(range(0, 30, 5))


def test_a_trial_with_several_names_carries_them_together() -> None:
    teacher, limits = {"wer": 0.05, "latency_p95_ms": 3.0}, {"wer": 0.9}
    figure = chart(points(), Marks(teacher, limits, 3, 3, (3,)))
    said = [t.text[0] for t in figure.data if t.mode == "markers+text"]
    assert said == ["teacher", "ship, knee, chosen"]


def test_an_axis_of_costs_is_logarithmic_when_they_span_much() -> None:
    frame = points()
    wide, narrow = chart(frame).layout.xaxis, chart(frame, x="size_mb").layout.xaxis
    assert wide.type == "log" and {"1", "2", "5", "10"} <= set(wide.ticktext)
    assert narrow.type is None
    assert chart(frame).layout.yaxis.type is None


def test_names_are_text_in_charts_that_read_markup() -> None:
    frame = points().assign(label=MARKUP, family=MARKUP)
    texts = scatter_by_utterance([1, 0], [0, 1], [MARKUP, MARKUP], ("a", "b"))
    for figure in (chart(frame), texts):
        assert "<b onclick" not in figure.to_json().replace("\\u003c", "<")


def test_parallel_coordinates_show_names_as_places_and_figures_with_units() -> None:
    frame = points()
    figure = parallel_coordinates(frame, ["family", "size_mb", "wer"], "wer")
    by_name = {d.label: d for d in figure.data[0].dimensions}
    assert list(by_name) == ["family", "size (MB)", "WER (%)"]
    assert by_name["family"].ticktext == ("family 0", "family 1", "family 2")


def test_a_trial_without_a_figure_is_no_line_in_parallel_coordinates() -> None:
    frame = points()
    frame.loc[3, "latency_p95_ms"] = np.nan
    figure = parallel_coordinates(frame, ["latency_p95_ms", "wer"], "wer")
    assert len(figure.data[0].dimensions[0]["values"]) == len(frame) - 1


@pytest.mark.parametrize("at", ["", "@pi5"])
def test_intervals_are_drawn_on_every_target(at: str) -> None:
    frame = points().assign(fits=True, doubt="")
    ms = frame["latency_p95_ms"]
    frame = frame.assign(latency_p95_ms_low=ms * 0.9, latency_p95_ms_high=ms * 1.2)
    measured = [c for c in frame if c.startswith(("wer", "latency"))]
    frame = frame.rename(columns={c: c + at for c in measured})
    x, y = f"latency_p95_ms{at}", f"wer{at}"
    figure = front_chart(frame, x, y, "family", NO_MARKS, [y, x])
    drawn = [t for t in figure.data if t.ids is not None and t.marker.size == 12]
    assert drawn and all(len(t.error_x.arrayminus) and len(t.error_y.array) for t in drawn)
    best = frame[frame["on_front"]].iloc[0]
    trace = next(t for t in drawn if str(best["number"]) in t.ids)
    place = list(trace.ids).index(str(best["number"]))
    assert trace.error_x.arrayminus[place] == pytest.approx(0.1 * best[x])
    assert trace.error_x.array[place] == pytest.approx(0.2 * best[x])


def test_what_is_in_doubt_is_hollow_and_its_tooltip_says_why() -> None:
    frame = points().assign(fits=True)
    for trace in chart(frame).data:
        if trace.ids is None:
            continue
        doubted = [frame["doubt"][int(number)] != "" for number in trace.ids]
        assert all(doubted) if trace.marker.symbol.endswith("-open") else not any(doubted)
        assert [("unsteady" in text) for text in trace.text] == doubted


def test_lines_of_one_category_are_a_little_apart() -> None:
    figure = parallel_coordinates(points(), ["family", "wer"], "wer")
    places = np.array(figure.data[0].dimensions[0]["values"])
    assert len(set(places)) == len(places)
    assert (np.abs(places - places.round()) <= 0.3).all()


def test_importances_are_drawn_with_their_intervals() -> None:
    drawn = bars({"a": 0.2, "b": 0.5}, "what", intervals={"a": (0.1, 0.4), "b": (0.3, 0.6)})
    assert drawn.data[0].error_x.array == pytest.approx((0.2, 0.1))
    assert drawn.data[0].error_x.arrayminus == pytest.approx((0.1, 0.2))


def test_a_baseline_is_marked_where_its_figures_are_known() -> None:
    marks = Marks({}, {}, baseline={"wer": 0.1, "latency_p95_ms": 5.0})
    for x, names in (("latency_p95_ms", ["baseline"]), ("size_mb", [])):
        drawn = [t.text[0] for t in chart(points(), marks, x).data if t.mode == "markers+text"]
        assert drawn == names


def test_what_is_boxed_stands_out_in_every_chart() -> None:
    for x in ("latency_p95_ms", "size_mb"):
        figure = chart(points(), Marks({}, {}, boxed=(4, 5)), x)
        kept = [t.ids[i] for t in figure.data if t.ids is not None for i in t.selectedpoints]
        assert sorted(kept) == ["4", "5"]


def test_a_distribution_of_many_samples_keeps_its_quartiles() -> None:
    samples = np.random.default_rng(0).lognormal(1, 0.5, 50_000)
    figure = distribution({"trial 1": samples}, "ms")
    drawn = np.asarray(figure.data[0].x)
    assert len(drawn) == 2000
    assert np.percentile(drawn, [25, 50, 75]) == pytest.approx(
        np.percentile(samples, [25, 50, 75]), rel=0.01
    )


def test_the_curve_in_question_is_drawn_last_and_thick() -> None:
    history = [Epoch(epoch=e, epochs=2, train_ctc=3.0 - e, cpu_s=1.0) for e in (1, 2)]
    curves = {f"trial {i}": history for i in range(3)}
    figure = learning_curves(curves, "train_ctc")
    assert figure.data[-1].name == "trial 0"
    assert figure.data[-1].line.width > figure.data[0].line.width


def test_a_curve_skips_epochs_that_were_not_scored() -> None:
    history = [
        Epoch(epoch=e, epochs=4, train_ctc=1.0, cpu_s=1.0, dev_wer=None if e % 2 else 0.5 / e)
        for e in (1, 2, 3, 4)
    ]
    figure = learning_curves({"trial 0": history}, "dev_wer")
    assert list(figure.data[0].x) == [2, 4]
    assert list(figure.data[0].y) == [25.0, 12.5]
    assert figure.layout.yaxis.title.text == "WER on dev (%)"


def test_a_long_recording_is_drawn_by_its_extremes() -> None:
    samples = np.zeros(160_000)
    samples[77_777] = 0.9
    figure = waveform(samples, 16_000)
    assert len(figure.data[0].x) <= 1600
    assert max(figure.data[0].y) == 0.9
    assert spectrogram(np.zeros((50, 80)), 100).data[0].z.shape == (80, 50)


def test_bars_are_ordered_and_steps_go_up() -> None:
    figure = bars({"a": 0.1, "b": 0.7, "c": 0.2}, "what matters")
    assert list(figure.data[0].y) == ["a", "c", "b"]
    lines = over_time({"done": ([1, 2], [1, 2])}, "hours", "trials")
    assert lines.data[0].line.shape == "hv"
    table = pd.DataFrame({"wer": [0.5], "size_mb": [-0.5]}, index=["channels"])
    assert list(correlation_heatmap(table, "moves").data[0].x) == ["WER (%)", "size (MB)"]
