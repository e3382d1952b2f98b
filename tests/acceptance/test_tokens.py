"""Which variables a space may send as tokens, and that a host is agreed to before the first."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from browser import hear, serving
from fabricated import QUICKSTART, fabricate
from playwright.sync_api import Browser
from shell import command

from search.cli.main import run
from storage.store import Store

COMMANDS = {
    "launch": ("launch", "--plain", "--space", "SPACE"),
    "validate": ("validate", "SPACE"),
    "check": ("devices", "check", "--space", "SPACE"),
    "calibrate": ("devices", "calibrate", "board", "--space", "SPACE"),
    "measure": ("measure", "done"),
    "compare": ("compare", "0", "1", "--study", "done", "--again", "--target", "board"),
}
FOREIGN = (
    "targets.board.token_env: 'AWS_SECRET_ACCESS_KEY': is not a variable that a space may send: "
    "those begin with SEARCH_"
)


@pytest.fixture
def board() -> Iterator[socket.socket]:
    """Something that listens at an address which is not taken for this machine's own."""
    with socket.create_server(("127.0.0.2", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def _text(port: int, variable: str = "SEARCH_BOARD_TOKEN") -> str:
    board = f'{{agent: "https://127.0.0.2:{port}", token_env: {variable}}}'
    return QUICKSTART.partition("\ntargets:")[0] + f"\ntargets: {{cpu: {{}}, board: {board}}}\n"


def _space(home: Path, text: str) -> Path:
    """A file with that space, and the finished study `done` of it in the home."""
    home.mkdir()
    with closing(Store(f"sqlite:///{home / 'store.sqlite'}")) as store:
        fabricate(store, "done", 2, text=text)
    path = home.parent / "space.yaml"
    path.write_text(text)
    return path


def _search(home: Path, space: Path, what: str, *more: str) -> int:
    words = [str(space) if w == "SPACE" else w for w in COMMANDS[what]]
    return run(["--home", str(home), *words, *more])


def _port(board: socket.socket) -> int:
    return int(board.getsockname()[1])


@pytest.mark.parametrize("what", COMMANDS)
def test_no_token_goes_to_a_new_host_without_being_asked_for(
    what: str,
    board: socket.socket,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SEARCH_BOARD_TOKEN", "secret")
    space = _space(home, _text(_port(board)))
    assert _search(home, space, what) == 2
    said = capsys.readouterr().err
    assert f"the token in SEARCH_BOARD_TOKEN would go to 127.0.0.2:{_port(board)}" in said
    assert "nothing was sent" in said
    assert "--yes" in said
    with pytest.raises(BlockingIOError):
        board.accept()


def test_what_was_agreed_to_is_remembered_for_the_owner_only(
    board: socket.socket,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SEARCH_BOARD_TOKEN", "secret")
    space = _space(home, _text(_port(board)))
    file = home / "trusted_hosts.json"
    board.close()  # from here on nobody answers
    assert _search(home, space, "check", "--yes") == 1
    assert "board (onnxruntime on https://127.0.0.2:" in capsys.readouterr().out
    assert file.stat().st_mode & 0o777 == 0o600
    assert "secret" not in file.read_text()
    assert _search(home, space, "check") == 1  # known by now
    other = home.parent / "other.yaml"  # another token to the same host, the same to another
    other.write_text(space.read_text().replace("SEARCH_BOARD_TOKEN", "SEARCH_OTHER_TOKEN"))
    monkeypatch.setenv("SEARCH_OTHER_TOKEN", "secret")
    assert _search(home, other, "check") == 2
    other.write_text(space.read_text().replace("https://127.0.0.2:", "https://127.0.0.3:"))
    assert _search(home, other, "check") == 2


@pytest.mark.parametrize("kind", ["readable by others", "not JSON", "other JSON"])
def test_a_list_of_hosts_that_others_may_have_written_counts_for_nothing(
    kind: str, board: socket.socket, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_BOARD_TOKEN", "secret")
    space = _space(home, _text(_port(board)))
    file = home / "trusted_hosts.json"
    pairs = [["SEARCH_BOARD_TOKEN", f"127.0.0.2:{_port(board)}"]]
    content = {"not JSON": "{", "other JSON": '{"a": 1, "b": [2]}'}.get(kind, json.dumps(pairs))
    file.write_text(content)
    file.chmod(0o644 if kind == "readable by others" else 0o600)
    assert _search(home, space, "check") == 2


def test_a_device_on_this_machine_needs_no_agreement(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_BOARD_TOKEN", "secret")
    space = _space(home, _text(1).replace("https://127.0.0.2", "http://127.0.0.1"))
    assert _search(home, space, "check") == 1  # it is away
    assert not (home / "trusted_hosts.json").exists()


@pytest.mark.parametrize(("answer", "code"), [("y", 1), ("n", 2), ("", 2)])
def test_on_a_terminal_the_user_is_asked(home: Path, answer: str, code: int) -> None:
    space = _space(home, _text(1))
    terminal, theirs = pty.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        done = subprocess.run(
            command("--home", home, "devices", "check", "--space", space),
            stdin=theirs,
            capture_output=True,
            text=True,
            env={**os.environ, "SEARCH_BOARD_TOKEN": "secret"},
        )
    finally:
        os.close(terminal)
        os.close(theirs)
    assert "Send the token in SEARCH_BOARD_TOKEN to 127.0.0.2:1? [y/N]" in done.stderr
    assert done.returncode == code
    assert (home / "trusted_hosts.json").exists() == (code == 1)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "variable", ["AWS_SECRET_ACCESS_KEY", "SEARCH_STORE", "SEARCH_ARTIFACTS", "search_token"]
)
def test_a_space_sends_no_variable_that_is_not_meant_for_it(
    variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(_text(8765, variable))
    assert run(["validate", "--quick", str(space)]) == 2
    said = capsys.readouterr().err
    assert f"space.yaml:{len(space.read_text().splitlines())}: targets.board.token_env" in said
    assert "is not a variable that a space may send: those begin with SEARCH_" in said
    assert "SEARCH_TOKEN_VARIABLES of your environment" in said


def test_the_environment_allows_other_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(_text(8765, "PI5_TOKEN"))
    monkeypatch.setenv("SEARCH_TOKEN_VARIABLES", "OTHER, PI5_TOKEN")
    assert run(["validate", "--quick", str(space)]) == 0
    monkeypatch.setenv("SEARCH_TOKEN_VARIABLES", "OTHER,PI5")
    assert run(["validate", "--quick", str(space)]) == 2


@pytest.fixture
def old(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose study names a variable that no space may send any more."""
    with monkeypatch.context() as then:
        then.setenv("SEARCH_TOKEN_VARIABLES", "AWS_SECRET_ACCESS_KEY")
        _space(home, _text(1, "AWS_SECRET_ACCESS_KEY"))
    return home


@pytest.mark.parametrize(
    "words",
    [("measure", "done"), ("devices", "list", "--study", "done"), ("front", "done")],
    ids=lambda words: words[0],
)
def test_a_study_that_names_another_variable_says_so(
    words: tuple[str, ...], old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(old), *words]) == 2
    assert FOREIGN in capsys.readouterr().err


def test_the_dashboard_says_so_too(old: Path, chromium: Browser) -> None:
    with serving(old) as url:
        page = chromium.new_page()
        page.goto(f"{url}/front?study=done")
        hear(page, "cannot be used as it stands", "is not a variable that a space may send")
        assert page.get_by_test_id("stException").count() == 0
        page.close()
