"""What nodes have to have in common, and what a job asks of them."""

from __future__ import annotations

import pytest

from search.errors import UsageFault
from search.executors.ray.cluster import ClusterReport, NodeReport
from search.executors.ray.needs import Needs, needs_of
from spaces.families import SeparableConv
from spaces.recipe import Quantize, Training
from spaces.space import Target
from workers.jobs import Export, Job, Measure, Train
from workers.results import Model

OURS = NodeReport(
    host="head",
    versions={"Python": "3.11.7", "torch": "2.11.0"},
    identity=("head", "cpu", 4, ()),
    cpus=4,
)
MODEL = Model(backend="onnxruntime", main="m", files={"m": "0" * 64})


def _node(**changes: object) -> NodeReport:
    return OURS.model_copy(update={"host": "other", **changes})


def test_nodes_that_are_alike_fit() -> None:
    report = ClusterReport(nodes=(OURS, _node(cpus=8, gpus=1, memory_gb=16)))
    report.check()
    assert report.cpus == 12
    assert report.gpus == 1
    assert report.most_cpus(with_gpu=False) == 8


def test_what_a_stage_wants_has_to_be_on_one_node() -> None:
    big = _node(cpus=64, memory_gb=100)
    report = ClusterReport(nodes=(OURS, big, _node(cpus=8, gpus=1, memory_gb=10)))
    assert report.most_cpus(with_gpu=False) == 64
    assert report.most_cpus(with_gpu=True) == 8
    assert report.fits(8, 1, 10)
    assert not report.fits(9, 1, 10)
    assert not report.fits(8, 1, 11)


def test_all_that_does_not_fit_is_told_in_one_message() -> None:
    other = _node(versions={"Python": "3.12.1"}, missing=("/shared/home",))
    far = _node(host="far", identity=("far", "another", 4, ()), targets=("pi5",))
    near = _node(host="near", identity=("near", "cpu", 4, ()), targets=("pi5",))
    with pytest.raises(UsageFault) as refused:
        ClusterReport(nodes=(OURS, other, far, near)).check()
    told = str(refused.value)
    assert "other has Python 3.12.1, head 3.11.7" in told
    assert "other has torch none, head 2.11.0" in told
    assert "other does not see /shared/home" in told
    assert "target pi5 is on unlike machines (far, near)" in told


def test_two_of_the_same_device_are_no_fault() -> None:
    nodes = [_node(host=n, identity=(n, "arm", 4, ()), targets=("pi5",)) for n in ("a", "b")]
    report = ClusterReport(nodes=(OURS, *nodes))
    report.check()
    assert set(report.offered) == {"pi5"}


TRAIN = Train(
    student=SeparableConv(channels=16, blocks=1),
    training=Training(epochs=1),
    corpus="c",
    seed=0,
    threads=3,
)


def _measure(target: Target) -> Measure:
    return Measure(target_name="pi5", target=target, model=MODEL, corpus="c")


@pytest.mark.parametrize(
    ("job", "needs"),
    [
        (TRAIN, Needs(cpus=3.0, memory_bytes=2_000_000_000)),
        (
            TRAIN.model_copy(update={"device": "cuda", "per_gpu": 2}),
            Needs(cpus=3.0, gpus=0.5, memory_bytes=2_000_000_000),
        ),
        (Export(checkpoint="0" * 64, quantize=Quantize(), corpus="c"), Needs()),
        (_measure(Target()), Needs(cpus=0.0, devices={"target_pi5": 1.0})),
        (
            _measure(Target(agent="https://pi5:8765", token_env="SEARCH_TOKEN")),
            Needs(cpus=0.0, here=True),
        ),
    ],
)
def test_a_stage_asks_for_what_it_takes(job: Job, needs: Needs) -> None:
    assert needs_of(job, {"pi5"}, memory_gb=2.0) == needs


def test_a_target_that_no_node_has_is_measured_by_the_coordinator() -> None:
    assert needs_of(_measure(Target()), set()) == Needs(cpus=0.0, here=True)
