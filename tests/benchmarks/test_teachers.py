"""Every kind of teacher, and what a student learns from it.

make bench ONLY=teachers; BENCH_HOME keeps what is trained. Weights of public models cannot be had
here: six kinds are the network that comes with the package, brought in six ways, the seventh is
trained on the study's own audio. Hugging Face's classes are left out: a wav2vec 2.0 learns nothing
from half an hour of audio in ten minutes. Dev is of voices that none of them heard.
"""

from __future__ import annotations

import os
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from heard_samples import write_on_samples
from transducers import write_transducer

from search.home import Home
from search.results import TrialResults
from spaces.load import SHIPPED_FOLDER
from storage.store import Store
from workers.checkpoint import load_network
from workers.data.audio import read_audio
from workers.data.text import write_tokens
from workers.export.onnx import export_onnx
from workers.measure.bootstrap import difference_interval, rate_interval
from workers.recognizer import open_model

SPOKEN = SHIPPED_FOLDER / "teachers" / "spoken.safetensors"
DATA = {
    "synthetic": {"train_utterances": 1000, "dev_utterances": 1500, "speakers": 85},
    "speeds": [1.0],
}
STUDENT = {
    "students": {"separable_conv": {"channels": 96, "blocks": 6, "dropout": 0.0}},
    "training": {"epochs": 12, "learning_rate": 0.01, "augment": 0.3, "batch_s": 16},
    "targets": {"cpu": {"runs": 20, "restarts": 1, "max_s": 0.5}},
    "search": {"trials": 1, "parallel": 1, "confirm": False},
}
CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", {port})) as s:
    s.sendall(sys.argv[1].encode() + b"\\n")
    print(s.makefile().readline().strip())
"""
TRAINED = {
    "student": {
        "family": "separable_conv",
        "channels": 160,
        "blocks": 6,
        "expand": 3,
        "dropout": 0.1,
    },
    "training": {"epochs": 24, "learning_rate": 0.003, "intermediate_ctc": 0.3, "consistency": 0.2},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("BENCH_HOME")
    place = Path(kept) if kept else tmp_path_factory.mktemp("teachers")
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def asr_server(model: Path, tokens: Path) -> Iterator[int]:
    """A recognizer that a command is the client of, as programs at work are; its port."""
    recognizer, lock = open_model(model, tokens), threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            samples = read_audio(self.rfile.readline().decode().strip())
            with lock:
                self.wfile.write(f"{recognizer.transcribe(samples)}\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
    recognizer.session.close()


def launched(place: Path, name: str, teacher: dict[str, object], weight: float):
    """Teacher's and student's errors of a study of one trial, with the words, and its events."""
    space = {"name": name, "data": DATA, "teacher": teacher, **STUDENT}
    space["distil"] = {"weight": weight, "temperature": 2.0}
    path = place / f"{name}.yaml"
    path.write_text(yaml.safe_dump(space))
    home = Home.at(place / "home")
    command = [sys.executable, "-c", "from search.cli import main; main()", "--home", home.folder]
    begun = time.monotonic()
    done = subprocess.run(
        [*command, "launch", "--plain", "--space", path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    spent_s = time.monotonic() - begun
    with closing(Store(home.store_url)) as store:
        study = store.studies.get(name)
        of_student = TrialResults.of(store.stage_runs.of(study.id, 0)).score("cpu")
        assert of_student is not None
        teacher_wer = study.teacher_metrics["wer"]
    ready = next(line for line in done.stdout.splitlines() if "teacher ready" in line)
    return teacher_wer, np.array(of_student.errors), np.array(of_student.words), ready, spent_s


def test_every_kind_of_teacher_teaches(place: Path) -> None:
    network, symbols, _ = load_network(SPOKEN)
    onnx, tokens, samples = (place / n for n in ("model.onnx", "tokens.txt", "samples.onnx"))
    export_onnx(network, symbols, onnx)
    write_tokens(symbols, tokens)
    write_on_samples(network, samples)
    zipformer, transducer = place / "zipformer-ctc", place / "transducer"
    zipformer.mkdir(exist_ok=True)
    shutil.copy(onnx, zipformer / "model.onnx")
    shutil.copy(tokens, zipformer / "tokens.txt")
    if not transducer.exists():
        write_transducer(onnx, symbols, transducer)
    plain = launched(place, "undistilled", {"checkpoint": str(SPOKEN)}, 0.0)
    _, errors, words, _, _ = plain
    low, high = rate_interval(errors, words, 2000)
    wer = errors.sum() / words.sum()
    print(
        f"\nstudent without a teacher: {wer:.1%} ({low:.1%} to {high:.1%}) of {words.sum()} words"
    )
    with asr_server(onnx, tokens) as port:
        (place / "client.py").write_text(CLIENT.format(port=port))
        client = [sys.executable, "-S", "-E", str(place / "client.py"), "{audio}"]
        teachers = {
            "checkpoint": {"checkpoint": str(SPOKEN)},
            "onnx": {"onnx": str(onnx), "tokens": str(tokens)},
            "waveform": {"waveform": str(samples), "tokens": str(tokens), "as_recorded": True},
            "sherpa zipformer CTC": {"sherpa": str(zipformer)},
            "sherpa transducer": {"sherpa": str(transducer)},
            "command": {"command": client, "at_once": 2},
            "train": {"train": TRAINED},
        }
        for kind, teacher in teachers.items():
            name = kind.replace(" ", "-")
            theirs, of_student, _, ready, spent_s = launched(place, name, teacher, 0.9)
            wer = of_student.sum() / words.sum()
            low, high = difference_interval(errors, of_student, words, 2000)
            print(
                f"{kind}: teacher {theirs:.1%}, student {wer:.1%}, against none "
                f"{100 * (wer - errors.sum() / words.sum()):+.1f} points "
                f"({100 * low:+.1f} to {100 * high:+.1f}); {spent_s:.0f} s; "
                f"{ready.partition('teacher ready: ')[2]}",
                flush=True,
            )
