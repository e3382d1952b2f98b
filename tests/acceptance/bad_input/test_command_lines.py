"""Command lines that make no sense, and commands that have nothing to work on yet."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from refusals import NO_MAPPING, Refused

EDGE = "launch --space edge.yaml"
SENSELESS = {
    "launhc --space edge.yaml": 'No command "launhc". Did you mean "launch"?',
    "train": "Try 'search --help' for help.\n\nError: No command \"train\".",
    "--stoer x status": "No such option '--stoer'. (Did you mean one of: '--home', '--store'?)",
    "launch --sapce edge.yaml": "No such option '--sapce'. (Did you mean one of: ",
    "launch": "Error: Missing option '--space'.",
    "launch --space": "Error: Option '--space' requires an argument.",
    f"{EDGE} more": "Error: Got unexpected extra argument (more)",
    f"{EDGE} --trials 0": "Invalid value for '--trials': 0 is not in the range x>=1.",
    f"{EDGE} --trials few": "Invalid value for '--trials': 'few' is not a valid integer range.",
    f"{EDGE} --sampler x": "Invalid value for '--sampler': 'x' is not one of 'tpe', 'nsga2',",
    f"{EDGE} --hours 0": "Invalid value for '--hours': 0.0 is not in the range x>0.",
    f"{EDGE} --hours 1e9": "--hours 1000000000.0: input should be less than or equal to 10000",
    f"{EDGE} --hours nan": "--hours nan: input should be",
    f"{EDGE} --parallel 999": "--parallel 999: input should be less than or equal to 256",
    f"{EDGE} --seed -1": "--seed -1: input should be greater than or equal to 0",
    f"{EDGE} --study ../x": '--study: "../x" is not a valid name: a letter or digit, then up to 63',
    f"{EDGE} --study ''": '--study: "" is not a valid name: a letter or digit, then up to 63',
    "validate": "Error: Missing argument 'SPACE'.",
    "compare 0": "Error: Missing argument 'B'.",
    "measure tiny --trial x": "Invalid value for '--trial': 'x' is not a valid integer range.",
    "devices chekc": "No such command 'chekc'.",
    "devices calibrate gpu --space edge.yaml": 'no target "gpu" (targets: cpu)',
    "backends install": "Error: Missing argument 'NAMES...'.",
    "backends install onnxruntim": 'no backend "onnxruntim"; did you mean "onnxruntime"?',
    "backends install torch zzz": 'no backend "zzz"; known: onnxruntime, openvino, litert, ncnn,',
    "export": "Error: Missing argument 'OUT'.",
    "transcribe student": "Error: Missing argument 'AUDIO...'.",
    "extend": "Error: Missing option '--trials'.",
}


@pytest.mark.parametrize("line", SENSELESS)
def test_a_command_line_that_makes_no_sense_is_refused(
    refused: Refused, home: Path, line: str
) -> None:
    assert SENSELESS[line] in refused("--home", home, *shlex.split(line))
    assert not home.exists()


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "front",
        "show 0",
        "export student --best wer",
        "stop",
        "cancel 0",
        "extend --trials 2",
        "compare 0 1",
        "measure",
        "devices list",
        "devices check --study tiny",
    ],
)
def test_where_nothing_was_launched_the_command_that_launches_is_told(
    refused: Refused, home: Path, line: str
) -> None:
    assert (
        f"no studies in {home} yet; start one with `search launch --space quickstart.yaml`, "
        "or name another place with --home"
    ) in refused("--home", home, *shlex.split(line))


NOTHING_INITED = {
    "there.yaml": "there.yaml exists already; choose another name or give --overwrite",
    "mine.txt": "mine.txt: a space file ends in .yaml",
    "folder.yaml": "File 'folder.yaml' is a directory.",
    "mine.yaml --like egde": 'egde: no such file (did you mean the shipped space "edge.yaml"?)',
    "mine.yaml --minimal --like there.yaml": "--like there.yaml: a minimal file leans on a shipped",
    "mine.yaml --like there.yaml": f"there.yaml:1: {NO_MAPPING}",
}


@pytest.mark.parametrize("line", NOTHING_INITED)
def test_init_says_why_it_writes_nothing(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.yaml").write_text("mine")
    Path("folder.yaml").mkdir()
    assert NOTHING_INITED[line] in refused("init", *line.split())
    assert Path("there.yaml").read_text() == "mine"
    assert not Path("mine.yaml").exists()
