"""Two hours of audio in one file: memory, time, and when words were said against when the
synthesiser said them. make bench ONLY=long_audio"""

from __future__ import annotations

import difflib
import json
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from shell import command
from spoken_times import write_recording

from spaces.load import SHIPPED_FOLDER
from workers.checkpoint import load_network
from workers.data.text import write_tokens
from workers.export.onnx import export_onnx

HOURS = 2.0


def _largest_mb(process: subprocess.Popen[bytes], found: list[float]) -> None:
    """The most that a process and those that it started hold together."""
    while process.poll() is None:
        try:
            family = psutil.Process(process.pid)
            every = [family, *family.children(recursive=True)]
            found.append(sum(one.memory_info().rss for one in every) / 1e6)
        except psutil.Error:
            pass
        time.sleep(0.1)


def test_two_hours(tmp_path: Path) -> None:
    network, symbols, _ = load_network(SHIPPED_FOLDER / "teachers" / "spoken.safetensors")
    export_onnx(network, symbols, tmp_path / "model.onnx")
    write_tokens(symbols, tmp_path / "tokens.txt")
    said = write_recording(tmp_path / "talk.wav", HOURS * 3600)
    begun = time.monotonic()
    asked = command("transcribe", "--format", "json", tmp_path, tmp_path / "talk.wav")
    with subprocess.Popen(asked, stdout=subprocess.PIPE) as process:
        found: list[float] = []
        watcher = threading.Thread(target=_largest_mb, args=(process, found))
        watcher.start()
        written, _ = process.communicate()
        watcher.join()
    spent_s = time.monotonic() - begun
    words = json.loads(written)["words"]
    matcher = difflib.SequenceMatcher(
        None, [w.text for w in said], [w["text"] for w in words], autojunk=False
    )
    apart = np.array(
        [
            words[block.b + i]["start_s"] - said[block.a + i].start_s
            for block in matcher.get_matching_blocks()
            for i in range(block.size)
        ]
    )
    low, middle, high = (1000 * x for x in np.percentile(apart, [2.5, 50, 97.5]))
    print(
        f"\n{HOURS:g} h with {len(said)} words in {spent_s:.0f} s, {max(found):.0f} MB at most, "
        f"both processes; {len(apart)} words that were written as they were said begin "
        f"{middle:+.0f} ms from there (95 % within {low:+.0f} to {high:+.0f}), "
        f"{np.mean(np.abs(apart) <= 0.2):.1%} within 200 ms"
    )
