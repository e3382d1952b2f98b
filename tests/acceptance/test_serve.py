"""`search serve`: recordings and live speech for others, whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import soundfile
import websockets
from serving import RATE, Served, bundle, metric, run_apart, served, speech

from search.bundle.write import finish_bundle
from workers.recognizer import open_bundle

Cli = Callable[..., subprocess.CompletedProcess[str]]
LENGTHS_S = (0.6, 1.1, 1.7, 2.9)


def wav(samples: np.ndarray) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, samples, RATE, format="WAV", subtype="FLOAT")
    return written.getvalue()


RECORDINGS = [wav(speech(s, i)) for i, s in enumerate(LENGTHS_S)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "whole": bundle(folder / "whole.zip"),
        "live": bundle(folder / "live.zip", "dsconv_lstm", live=True),
    }


@pytest.fixture(scope="module")
def expected(bundles: dict[str, Path]) -> dict[str, list[str]]:
    """What `search transcribe` writes."""
    texts = {}
    for name, path in bundles.items():
        recognizer = open_bundle(path)
        texts[name] = [
            " ".join(w.text for w in recognizer.words(speech(s, i)))
            for i, s in enumerate(LENGTHS_S)
        ]
        assert all(texts[name])
    return texts


@pytest.fixture(scope="module")
def server(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with served(folder, *bundles.values(), "--copies", 1, "--max-mb", 2) as running:
        yield running


def transcribed(server: Served, recording: bytes, model: str, **fields: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        files={"file": ("a.wav", recording)},
        data={"model": model, **fields},
        timeout=60,
    )


# recordings


@pytest.mark.parametrize("model", ["whole", "live"])
def test_openais_client_transcribes(
    model: str, server: Served, expected: dict[str, list[str]]
) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
    assert {m.id for m in client.models.list()} == {"whole", "live"}
    for recording, text in zip(RECORDINGS, expected[model], strict=True):
        heard = client.audio.transcriptions.create(model=model, file=("a.wav", recording))
        assert heard.text == text
    verbose = client.audio.transcriptions.create(
        model=model, file=("a.wav", RECORDINGS[3]), response_format="verbose_json"
    )
    assert verbose.duration == pytest.approx(LENGTHS_S[3], abs=0.11)
    assert verbose.words is not None
    assert " ".join(w.word for w in verbose.words) == expected[model][3]
    with pytest.raises(openai.NotFoundError, match="there are: whole, live"):
        client.audio.transcriptions.create(model="none", file=("a.wav", RECORDINGS[0]))


def test_every_form_is_given(server: Served, expected: dict[str, list[str]]) -> None:
    said = {
        form: transcribed(server, RECORDINGS[3], "whole", response_format=form).text
        for form in ("text", "srt", "vtt")
    }
    assert said["text"].strip() == expected["whole"][3]
    assert said["srt"].startswith("1\n00:00:0") and said["vtt"].startswith("WEBVTT")


def test_long_recordings_are_heard_by_stretches(server: Served) -> None:
    pauses = [np.concatenate([speech(4, i), np.zeros(RATE, np.float32)]) for i in range(8)]
    long = np.concatenate(pauses)
    written = io.BytesIO()
    soundfile.write(written, long, RATE, format="FLAC")
    heard = transcribed(server, written.getvalue(), "whole", response_format="verbose_json")
    assert heard.status_code == 200, heard.text
    words = heard.json()["words"]
    assert heard.json()["duration"] == pytest.approx(len(long) / RATE)
    assert [w["start"] for w in words] == sorted(w["start"] for w in words)
    assert words[-1]["end"] > 30


# live speech


def stream(
    url: str, samples: np.ndarray, piece: int, query: str = "?model=live"
) -> list[dict[str, object]]:
    async def spoken() -> list[dict[str, object]]:
        said = []
        async with websockets.connect(url + query) as connection:
            pcm = (samples * 32767).astype("<i2")
            for begin in range(0, len(pcm), piece):
                await connection.send(pcm[begin : begin + piece].tobytes())
            await connection.send('{"type": "end"}')
            async for message in connection:
                said.append(json.loads(message))
        return said

    return run_apart(spoken())


@pytest.mark.parametrize("piece", [640, 5120, 100_000])
def test_live_speech_is_written_as_it_is_heard(
    piece: int, server: Served, bundles: dict[str, Path]
) -> None:
    samples = speech(2.9, 3)
    rounded = (samples * 32767).astype(np.int16).astype(np.float32) / 32768
    said = stream(server.socket_url, samples, piece)
    *growing, final = said
    assert final["type"] == "final"
    assert final["text"] == open_bundle(bundles["live"]).transcribe(rounded) != ""
    texts = [str(m["text"]) for m in growing]
    assert len(texts) >= (3 if piece < 10_000 else 1)
    assert all(b.startswith(a) for a, b in itertools.pairwise([*texts, str(final["text"])]))


def test_progress_is_told_after_every_chunk(server: Served) -> None:
    said = stream(server.socket_url, speech(2.0), 5120, "?model=live&progress=true")
    heard = [float(str(m["heard_s"])) for m in said if m["type"] == "text"]
    assert len(heard) >= 4 and heard == sorted(heard)


@pytest.mark.parametrize(
    ("query", "sent", "why"),
    [
        ("?model=whole", [b"\0\0"], "live speech is heard by students of"),
        ("?model=none", [b"\0\0"], "no model 'none'"),
        ("?model=live&encoding=mp3", [b"\0\0"], "encoding is one of"),
        ("?model=live", [b"\0\0\0"], "no whole samples"),
        ("?model=live", ["hello"], "a message is audio"),
        ("?model=live", ["[" * 4000], "a message is audio"),
        ("?model=live&encoding=pcm_f32le", [b"\0\0\xc0\x7f"], "finite numbers"),
    ],
)
def test_what_is_no_speech_is_told(
    query: str, sent: list[bytes | str], why: str, server: Served
) -> None:
    async def asked() -> tuple[dict[str, object], int | None]:
        async with websockets.connect(server.socket_url + query) as connection:
            for message in sent:
                with contextlib.suppress(websockets.ConnectionClosed):  # refused before it
                    await connection.send(message)
            told = json.loads(await connection.recv())
            await connection.wait_closed()
            return told, connection.close_code

    told, code = run_apart(asked())
    assert told["type"] == "error" and why in str(told["message"])
    assert code == 1008


# whatever happens to it


class Load:
    """Clients that ask as fast as they are answered, until the block ends."""

    def __init__(self, server: Served, model: str, n_clients: int) -> None:
        self.answers: list[tuple[int, str]] = []
        self._end = threading.Event()
        self._clients = [
            threading.Thread(target=self._ask, args=(server, model, i)) for i in range(n_clients)
        ]

    def _ask(self, server: Served, model: str, which: int) -> None:
        recording = RECORDINGS[which % len(RECORDINGS)]
        while not self._end.is_set():
            answer = transcribed(server, recording, model)
            self.answers.append((answer.status_code, answer.text))

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for client in self._clients:
            client.join()


def test_swaps_and_deaths_under_load_lose_no_request(tmp_path: Path) -> None:
    path = bundle(tmp_path / "model.zip", seed=0)
    others = [bundle(tmp_path / f"{seed}.zip", seed=seed) for seed in (1, 2)]
    with served(tmp_path, path, "--copies", 2) as server:
        with Load(server, "model", 8) as load:
            for n in range(6):
                replacement = tmp_path / "next.zip"
                replacement.write_bytes(others[n % 2].read_bytes())
                os.replace(replacement, path)
                _wait_for(server, "search_serve_swaps_total", n + 1)
                if n % 2:
                    server.workers[0].send_signal(signal.SIGKILL)
                    time.sleep(0.3)
        told = httpx.get(f"{server.url}/metrics").text
        assert {status for status, _ in load.answers} == {200}
        assert len({text for _, text in load.answers}) > len(RECORDINGS), "models were swapped"
        assert metric(told, "search_serve_process_deaths_total") >= 1
        n_batches = metric(told, "search_serve_batch_size_count")
        assert metric(told, "search_serve_batch_size_sum") > n_batches, "some were heard together"
        deadline = time.monotonic() + 20
        while len(server.workers) > 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(server.workers) == 2, "what was replaced has ended"


def _wait_for(server: Served, name: str, value: float) -> None:
    deadline = time.monotonic() + 60
    while metric(httpx.get(f"{server.url}/metrics").text, name) < value:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)


def test_live_speech_outlives_its_process_and_its_model(tmp_path: Path) -> None:
    path = bundle(tmp_path / "live.zip", "dsconv_lstm", live=True)
    samples = speech(3.0)
    pcm = (samples * 32767).astype("<i2")

    async def spoken(server: Served) -> str:
        async with websockets.connect(f"{server.socket_url}?model=live") as connection:
            for i, begin in enumerate(range(0, len(pcm), 4800)):
                await connection.send(pcm[begin : begin + 4800].tobytes())
                await asyncio.sleep(0.2)
                if i == 2:
                    for process in server.workers:
                        process.send_signal(signal.SIGKILL)
                if i == 5:
                    other = bundle(tmp_path / "next.zip", "dsconv_lstm", seed=5, live=True)
                    os.replace(other, path)
            await connection.send('{"type": "end"}')
            async for message in connection:
                told = json.loads(message)
        return str(told["text"])

    rounded = pcm.astype(np.float32) / 32768
    text = open_bundle(path).transcribe(rounded)
    with served(tmp_path, path, "--copies", 1) as server:
        assert run_apart(spoken(server)) == text, "the model that it began with"
        _wait_for(server, "search_serve_swaps_total", 1)


def test_a_bundle_that_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    path = bundle(tmp_path / "model.zip")
    with served(tmp_path, path, "--copies", 1) as server:
        before = transcribed(server, RECORDINGS[0], "model").text
        (tmp_path / "next.zip").write_bytes(path.read_bytes()[:2000])
        os.replace(tmp_path / "next.zip", path)
        _wait_for(server, "search_serve_swaps_total", 1)
        assert transcribed(server, RECORDINGS[0], "model").text == before
        assert "is not used" in server.log.read_text()


def test_a_bundle_whose_tokens_are_of_another_model_is_not_used(tmp_path: Path) -> None:
    path = bundle(tmp_path / "model.zip")

    def cut(folder: Path) -> dict[str, object]:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        (folder / "bundle.json").unlink()
        lines = (folder / "tokens.txt").read_text().splitlines()[:5]
        (folder / "tokens.txt").write_text("\n".join(lines) + "\n")
        return {"backend": "onnxruntime", "main": "model.onnx"}

    other = finish_bundle(cut, tmp_path / "next.zip", overwrite=True)
    with served(tmp_path, path, "--copies", 1) as server:
        before = transcribed(server, RECORDINGS[0], "model").text
        os.replace(other, path)
        _wait_for(server, "search_serve_swaps_total", 1)
        assert transcribed(server, RECORDINGS[0], "model").text == before
        assert "its tokens are 5" in server.log.read_text()


def test_it_ends_though_a_process_hangs(tmp_path: Path) -> None:
    with served(tmp_path, bundle(tmp_path / "model.zip"), "--copies", 1) as server:
        (worker,) = server.workers
        worker.send_signal(signal.SIGSTOP)
        asking = threading.Thread(target=_asked_in_vain, args=(server,))
        asking.start()
        time.sleep(1)
        server.process.terminate()
        server.process.wait(60)
        asking.join()
        assert not worker.is_running() or worker.status() == "zombie"


def _asked_in_vain(server: Served) -> None:
    with contextlib.suppress(httpx.HTTPError):
        transcribed(server, RECORDINGS[0], "model")


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"members": []}', '{"members": [{"name": "../x", "service_ms": {}}]}', "x"],
)
def test_a_policy_that_is_none_is_told(text: str, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "policy.json").write_text(text)
    done = cli("serve", "--port", 0, tmp_path)
    assert done.returncode == 2 and "is not a policy" in done.stderr, done.stderr


HOSTILE = [
    (b"", {}),
    (b"x" * 1000, {}),
    (b"x" * 1000, {"content-type": "multipart/form-data"}),
    (b"--b\r\n\r\n" * 500, {"content-type": "multipart/form-data; boundary=b"}),
    (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="../../etc/x"\r\n\r\n',
        {"content-type": "multipart/form-data; boundary=b"},
    ),
    (b"{" * 5000, {"content-type": "application/json"}),
]


def test_hostile_requests_are_refused_and_others_are_answered(server: Served) -> None:
    recordings = [b"", b"RIFF", RECORDINGS[0][:60], b"\xff" * 5000, RECORDINGS[0][:-7000]]
    recordings += [wav(np.full(8000, np.nan, np.float32)), wav(np.zeros(8000, np.float32))]
    before_mb = server.memory_mb
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(10):
            for body, headers in HOSTILE:
                answer = client.post("/v1/audio/transcriptions", content=body, headers=headers)
                assert answer.status_code == 400, answer.text
                assert answer.json()["error"]["message"]
            for recording in recordings:
                answer = transcribed(server, recording, "whole")
                assert answer.status_code == 400, answer.text
                assert "/tmp" not in answer.text
        for form in ("exe", "x" * 5000):
            assert transcribed(server, RECORDINGS[0], "whole", response_format=form).is_error
        assert transcribed(server, b"\0" * 2_100_000, "whole").status_code == 413
        assert client.post("/v1/audio/transcriptions", data={"model": "whole"}).is_error
        assert client.get("/v1/audio/transcriptions").status_code == 405
        assert client.get("/etc/passwd").status_code == 404
        assert transcribed(server, RECORDINGS[0], "whole").status_code == 200
    assert server.memory_mb < before_mb + 60


def test_who_sends_nothing_is_cut_off(server: Served) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    for each in slow:
        each.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\nx")
    assert transcribed(server, RECORDINGS[0], "whole").status_code == 200
    deadline = time.monotonic() + 30
    for each in slow:
        each.settimeout(max(0.1, deadline - time.monotonic()))
        while each.recv(4096):
            pass
        each.close()


# who may ask


def test_without_a_token_only_this_machine_asks(server: Served, tmp_path: Path, cli: Cli) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 403
    assert httpx.get(
        f"{server.url}/v1/models", headers={"origin": "http://localhost:3000"}
    ).is_success
    done = cli("serve", "x.zip", "--address", "0.0.0.0")
    assert done.returncode == 2 and "give it a token" in done.stderr


def test_with_a_token_who_has_it_asks(bundles: dict[str, Path], tmp_path: Path) -> None:
    token = "secret-of-twenty-letters"
    with served(tmp_path, bundles["live"], "--copies", 1, token=token) as server:
        assert httpx.get(f"{server.url}/v1/models").status_code == 401
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
        headers = {"authorization": f"Bearer {token}", "host": "asr.example"}
        assert httpx.get(f"{server.url}/v1/models", headers=headers).is_success
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=token)
        assert client.audio.transcriptions.create(model="live", file=("a.wav", RECORDINGS[0])).text
        with pytest.raises(websockets.InvalidStatus):
            stream(server.socket_url, speech(0.1), 1600)
        assert token not in server.log.read_text()


def test_faults_of_the_command_are_told(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "short").write_text("abc")
    (tmp_path / "no.zip").write_bytes(b"no zip")
    for arguments, why in (
        (["missing.zip"], "no such bundle"),
        ([tmp_path / "no.zip"], "neither a bundle's folder nor its zip"),
        (["a.zip", "b/a.zip"], 'two bundles are called "a"'),
        (["a.zip", "--token-file", tmp_path / "short"], "at least 16"),
    ):
        done = cli("serve", "--port", 0, *arguments)
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr
