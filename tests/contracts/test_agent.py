"""A device agent measures as this machine does; its messages and its cache keep their bounds."""

from __future__ import annotations

import hashlib
import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import agents
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.agent.cache import Cache, Missing, NoRoom, TooBig, WrongDigest, WrongOffset
from workers.agent.messages import MessageFault, parse_job, parse_json
from workers.errors import UserFault
from workers.measure.latency import measure_latency
from workers.probe.request import LatencyRequest, Runner
from workers.targets.local import run_here

HEAVY = {"torch", "pydantic", "sqlalchemy", "yaml", "rich", "onnxruntime", "optuna", "requests"}


# What measures, here and on a device


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> LatencyRequest:
    folder = tmp_path_factory.mktemp("asked")
    return agents.request(agents.student(folder / "model"), folder / "audio")


def _there(folder: Path) -> Iterator[Runner]:
    with agents.serving(folder) as here:
        yield here.agent()


def _here(_folder: Path) -> Iterator[Runner]:
    yield run_here


@pytest.fixture(scope="module", params=[_here, _there], ids=["here", "agent"])
def runner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runner]:
    yield from request.param(tmp_path_factory.mktemp("runner"))


def test_a_runner_gives_a_restart_for_each_candidate(runner: Runner, asked: LatencyRequest) -> None:
    candidate = asked.candidates[0]
    both = LatencyRequest((candidate, candidate), asked.audio, asked.audio_s, max_s=0.3)
    for restart in runner(both):
        assert len(restart.end_to_end_ms) >= 2
        assert all(len(row) == len(asked.audio) for row in restart.model_ms)
        assert restart.load_ms > 0
        assert len(restart.texts) == len(asked.audio)
        assert restart.machine["cores"] >= 1


def test_details_are_given_where_they_are_asked_for(runner: Runner, asked: LatencyRequest) -> None:
    (plain,) = runner(asked)
    assert plain.profile is None
    (detailed,) = runner(LatencyRequest(asked.candidates, asked.audio, asked.audio_s, details=True))
    assert detailed.profile
    assert detailed.peak_gflops > 0


def test_a_runner_serves_a_whole_measurement(runner: Runner, asked: LatencyRequest) -> None:
    (latency,) = measure_latency(asked, runner)
    assert latency.summary()["latency_p50_ms"] > 0


# Messages

DIGEST = "0" * 64
JOB: dict[str, Any] = {
    "candidates": [
        {
            "backend": "onnxruntime",
            "files": {"model.onnx": DIGEST, "model.bin": DIGEST},
            "main": "model.onnx",
            "tokens": DIGEST,
            "settings": {"threads": 2, "arena": True, "graph_level": "all", "precision": "fp32"},
        }
    ],
    "audio": [DIGEST],
    "audio_s": [1.5],
    "threads": 1,
    "min_runs": 60,
    "max_s": 20,
    "within": 0.01,
    "details": False,
}


def _job(**changed: Any) -> bytes:
    return json.dumps({**JOB, **changed}).encode()


def _candidate(**changed: Any) -> bytes:
    return _job(candidates=[{**JOB["candidates"][0], **changed}])


def test_a_message_comes_back_as_it_was_written() -> None:
    message = parse_job(_job())
    assert parse_job(message.to_json().encode()) == message
    assert message.digests == {DIGEST}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "job: has to be an object"),
        (_job(more=1), "job: unknown field 'more'"),
        (_job(candidates=[]), "job.candidates: has to be a list of 1 to 64"),
        (_job(threads=True), "job.threads: has to be a whole number"),
        (_job(threads=1.0), "job.threads: has to be a whole number"),
        (_job(threads=0), "job.threads: has to be a whole number from 1 to 256"),
        (_job(min_runs=10**9), "job.min_runs: has to be a whole number"),
        (_job(max_s=-1), "job.max_s: has to be a number above 0"),
        (_job(max_s="20"), "job.max_s: has to be a number"),
        (_job(max_s=True), "job.max_s: has to be a number"),
        (_job(max_s=10**400), "job.max_s: has to be a number above 0"),
        (_job(within=2), "job.within: has to be a number above 0, at most 1"),
        (_job(details=1), "job.details: has to be true or false"),
        (_job(audio=["../../etc/passwd"]), "job.audio[0]: is not a SHA-256"),
        (_job(audio=[DIGEST.replace("0", "A")]), "job.audio[0]: is not a SHA-256"),
        (_job(audio=[DIGEST + "\n"]), "job.audio[0]: is not a SHA-256"),
        (_job(audio=[DIGEST, DIGEST]), "job: audio and audio_s differ in length"),
        (_candidate(backend="../x"), "backend: is not a name of a backend"),
        (_candidate(main="other.onnx"), "main: is none of the files"),
        (_candidate(main="../model.onnx"), "main: is not a plain file name"),
        (_candidate(files={"../m.onnx": DIGEST}), "is not a plain file name"),
        (_candidate(files={"a/b.onnx": DIGEST}), "is not a plain file name"),
        (_candidate(files={".hidden": DIGEST}), "is not a plain file name"),
        (_candidate(files={"m.onnx\n": DIGEST}), "is not a plain file name"),
        (_candidate(files={"m.onnx": 1}), "is not a SHA-256"),
        (_candidate(files={}), "has to be an object of 1 to 16 files"),
        (_candidate(settings={"threads": 0}), "settings.threads: has to be a whole number"),
        (_candidate(settings={"arena": 1}), "settings.arena: has to be true or false"),
        (_candidate(settings={"graph_level": "most"}), "settings.graph_level: has to be one of"),
        (_candidate(settings={"precision": ["fp32"]}), "settings.precision: has to be one of"),
        (_candidate(settings={"provider": "x"}), "settings: unknown field 'provider'"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 500_000, "is not JSON"),
        (b'{"max_s": ' + b"9" * 10_000 + b"}", "is not JSON"),
        (_job().replace(b"20", b"NaN"), "NaN is not a number in JSON"),
        (_job().replace(b"20", b"1e999"), "job.max_s: has to be a number"),
        (b'{"threads": 1, "threads": 2}', "a name is given twice"),
    ],
)
def test_a_message_with_a_fault_is_refused_by_its_place(body: bytes, said: str) -> None:
    with pytest.raises(MessageFault) as caught:
        parse_job(body)
    assert said in str(caught.value)


def test_all_faults_of_a_message_are_told_at_once() -> None:
    with pytest.raises(MessageFault) as caught:
        parse_job(_job(threads=0, max_s=0, audio=[], more=1))
    text = str(caught.value)
    assert all(f"job.{name}" in text for name in ("threads", "max_s", "audio"))
    assert "unknown field" in text


def test_what_is_said_of_a_message_is_bounded_and_plain_ascii() -> None:
    with pytest.raises(MessageFault) as caught:
        parse_job(json.dumps({"\x1b[31m\n" + chr(i) * 999: 1 for i in range(300, 900)}).encode())
    assert len(str(caught.value)) < 10_000
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(name=st.sampled_from(sorted(JOB)), value=_ANY)
def test_no_value_of_a_field_does_more_than_be_refused(name: str, value: Any) -> None:
    try:
        message = parse_job(json.dumps({**JOB, name: value}).encode())
    except MessageFault:
        return
    assert parse_job(message.to_json().encode()) == message


@given(name=st.sampled_from(sorted(JOB["candidates"][0])), value=_ANY)
def test_no_value_of_a_candidate_does_more_than_be_refused(name: str, value: Any) -> None:
    try:
        parse_job(_candidate(**{name: value}))
    except MessageFault:
        return


@given(st.binary())
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    try:
        assert not (isinstance(parse_json(body), float) and math.isnan(parse_json(body)))
    except MessageFault:
        return


# The cache


def _put(cache: Cache, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    upload = cache.begin(digest, 0, len(content))
    try:
        upload.write(content)
        assert upload.end()
    finally:
        upload.close()
    return digest


Make = Callable[..., Cache]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Gives a cache in one folder; the one before it is closed with `again`."""
    made: list[Cache] = []

    def cache(most: int = 100_000, most_file: int = 50_000, again: bool = False) -> Cache:
        if again:
            made.pop().close()
        made.append(Cache(tmp_path / "cache", most, most_file))
        return made[-1]

    yield cache
    for one in made:
        one.close()


def test_a_file_is_kept_by_its_digest(make: Make, tmp_path: Path) -> None:
    cache = make()
    digest = _put(cache, b"content")
    assert cache.is_whole(digest)
    cache.place(digest, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"content"


def test_a_file_is_there_for_the_agent_after_this_one(make: Make) -> None:
    digest = _put(make(), b"content")
    assert make(again=True).is_whole(digest)


def test_an_upload_goes_on_where_it_was_cut(make: Make) -> None:
    cache, content = make(), b"a" * 20_000
    digest = hashlib.sha256(content).hexdigest()
    upload = cache.begin(digest, 0, len(content))
    upload.write(content[:7000])
    upload.close()
    assert not cache.is_whole(digest)
    assert cache.received(digest) == 7000
    with pytest.raises(WrongOffset) as caught:
        cache.begin(digest, 0, len(content))
    assert caught.value.offset == 7000
    upload = cache.begin(digest, 7000, len(content))
    upload.write(content[7000:])
    assert upload.end()
    upload.close()
    assert cache.is_whole(digest)


def test_a_file_is_written_by_one_upload_at_a_time(make: Make) -> None:
    cache = make()
    upload = cache.begin(DIGEST, 0, 10)
    with pytest.raises(WrongOffset):
        cache.begin(DIGEST, 0, 10)
    upload.close()
    cache.begin(DIGEST, 0, 10).close()


def test_content_that_is_not_what_its_name_says_is_dropped(make: Make) -> None:
    cache = make()
    upload = cache.begin(DIGEST, 0, 4)
    upload.write(b"evil")
    with pytest.raises(WrongDigest):
        upload.end()
    upload.close()
    assert cache.received(DIGEST) == 0
    assert not cache.is_whole(DIGEST)


def test_more_than_announced_or_allowed_is_not_written(make: Make) -> None:
    cache = make()
    with pytest.raises(TooBig):
        cache.begin(DIGEST, 0, 50_001)
    upload = cache.begin(DIGEST, 0, 4)
    with pytest.raises(TooBig):
        upload.write(b"12345")
    upload.close()
    assert cache.received(DIGEST) == 0


def test_what_was_used_longest_ago_makes_room(make: Make) -> None:
    cache = make(most=3 * 40_000)
    first, second, third = (_put(cache, bytes([i]) * 40_000) for i in range(3))
    assert cache.is_whole(first)  # used now
    _put(cache, b"d" * 40_000)
    assert [cache.is_whole(d) for d in (first, second, third)] == [True, False, True]


def test_what_a_job_needs_stays(make: Make) -> None:
    cache = make(most=80_000)
    first, second = (_put(cache, bytes([i]) * 40_000) for i in range(2))
    cache.need([first, second])
    with pytest.raises(NoRoom):
        _put(cache, b"c" * 40_000)
    assert cache.is_whole(first)
    assert cache.is_whole(second)
    cache.release([first, second])
    _put(cache, b"c" * 40_000)


def test_a_job_that_lacks_files_is_told_which_and_keeps_none(make: Make) -> None:
    cache = make(most=80_000)
    first = _put(cache, b"a" * 40_000)
    with pytest.raises(Missing) as caught:
        cache.need([first, DIGEST])
    assert caught.value.digests == [DIGEST]
    _put(cache, b"b" * 40_000)
    _put(cache, b"c" * 40_000)
    assert not cache.is_whole(first)


def test_a_file_that_was_damaged_is_dropped_when_it_is_first_asked_for(
    make: Make, tmp_path: Path
) -> None:
    digest = _put(make(), b"content")
    (tmp_path / "cache" / "files" / digest).write_bytes(b"conten")
    assert not make(again=True).is_whole(digest)


def test_empty_uploads_without_end_are_bounded_as_well(make: Make, tmp_path: Path) -> None:
    cache = make(most=100_000)
    for i in range(300):
        cache.begin(hashlib.sha256(bytes([i % 256, i // 256])).hexdigest(), 0, 10).close()
    assert len(list((tmp_path / "cache" / "partial").iterdir())) <= 100_000 // 4096


def test_whatever_comes_the_bounds_hold(make: Make, tmp_path: Path) -> None:
    rng, cache = random.Random(0), make(most=200_000)
    for _ in range(400):
        content = rng.randbytes(8) * rng.randrange(5000)
        digest = hashlib.sha256(content).hexdigest()
        upload = cache.begin(digest, 0, len(content))
        upload.write(content[: rng.randrange(len(content) + 1)])
        upload.end()
        upload.close()
        on_disk = sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*") if p.is_file())
        assert on_disk <= cache.used_bytes <= 200_000


def test_a_cache_serves_one_agent(make: Make) -> None:
    make()
    with pytest.raises(UserFault, match="another agent uses this cache"):
        make()


def test_work_that_was_left_is_cleared_away(make: Make, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "work" / "0" / "model"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"")
    make()
    assert not list((tmp_path / "cache" / "work").iterdir())


# What a device need not have


@pytest.mark.parametrize(
    "module", ["workers.agent.server", "search.cli.agent", "workers.isolated_call"]
)
def test_an_agent_imports_nothing_that_a_device_lacks(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))


def test_a_measurement_imports_nothing_that_a_device_lacks() -> None:
    code = "import json, sys, workers.probe.sampling; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))
