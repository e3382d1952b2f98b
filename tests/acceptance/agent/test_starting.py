"""An agent starts only so that it lets nobody else in, also where there is no torch."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from agents import TOKEN, serving
from asking import serve
from shell import command

from workers.errors import DeviceRefused, DeviceUnreachable
from workers.probe.request import LatencyRequest
from workers.targets.agent import Agent


def test_without_tls_others_are_let_in_only_when_it_is_said(tmp_path: Path) -> None:
    done = serve(tmp_path, "--host", "0.0.0.0", "--port", 0, "--token-env", "AGENT_TOKEN")
    assert done.returncode == 2
    assert "--plain-http" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--token-env", "NOT_SET"), "$NOT_SET: holds no token"),
        (("--token-env", "AGENT_TOKEN", "--host", "no.such.host.invalid"), "--host"),
        (("--token-env", "AGENT_TOKEN", "--tls-key", __file__), "--tls-cert"),
        (("--token-env", "AGENT_TOKEN", "--tls-cert", __file__, "--port", "0"), "no such pair"),
    ],
)
def test_a_start_that_cannot_be_is_refused(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = serve(tmp_path, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_is_made_for_its_owner_alone_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "home" / ".config" / "compression-search" / "agent.token"
    with serving(tmp_path, "--token-file", path, token_env=False) as one:
        token = path.read_text().strip()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(token) == 43
        assert one.agent(token).device()["version"] == 2
        log = one.log.read_text()
        assert str(path) in log
        assert token not in log
    with serving(tmp_path, token_env=False) as again:  # by default in the same place
        assert again.agent(token).device()["version"] == 2


def test_over_tls_only_the_authority_that_is_given_is_trusted(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    cert, key = _certificate(tmp_path)
    options = ("--tls-cert", cert, "--tls-key", key, "--host", "0.0.0.0")
    with serving(tmp_path, *options, scheme="https") as one:
        url = f"https://localhost:{one.port}"
        assert len(Agent(url, TOKEN, cert).run(asked)) == 1
        with pytest.raises(DeviceRefused, match="certificate is not to be trusted"):
            Agent(url, TOKEN).device()
        with pytest.raises(DeviceRefused, match="certificate is not to be trusted"):
            Agent(f"https://127.0.0.1:{one.port}", TOKEN, cert).device()  # not its name
        with pytest.raises(DeviceUnreachable):
            Agent(f"http://localhost:{one.port}", TOKEN).device()


def _certificate(folder: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    cert, key = folder / "cert.pem", folder / "key.pem"
    line = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *line.split(), *more], check=True, capture_output=True)
    return cert, key


# On a device that has only what an agent needs


def _bare_python(folder: Path) -> Path:
    """A Python with those packages alone, linked from here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = (folder / "lib").glob("python3*/site-packages")
    wanted, seen = ["onnxruntime", "numpy", "psutil", "starlette", "uvicorn", "click"], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        found = importlib.metadata.distribution(name)
        tops = {p.parts[0] for p in found.files or () if p.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
        needs = [r for r in found.requires or () if "extra ==" not in r]
        wanted += [re.split(r"[^A-Za-z0-9._-]", r)[0] for r in needs if _is_here(r)]
    return folder / "bin" / "python"


def _is_here(requirement: str) -> bool:
    try:
        importlib.metadata.distribution(re.split(r"[^A-Za-z0-9._-]", requirement)[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_one_packed_file_serves_where_there_is_no_torch(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    packed = tmp_path / "agent.pyz"
    subprocess.run(command("agent", "pack", packed), check=True, capture_output=True)
    assert packed.stat().st_size < 1_000_000
    python = _bare_python(tmp_path / "python")
    lacking = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('workers'))"
    told = subprocess.run([python, "-c", lacking], capture_output=True, text=True, cwd=tmp_path)
    assert told.stdout.strip() == "None None"
    with serving(tmp_path / "device", program=[python, packed]) as one:
        (restart,) = one.agent().run(asked)
        assert one.agent().device()["machine"]["features_by"] == "numpy"
        assert restart.end_to_end_ms


def test_a_device_that_lacks_a_package_is_told_which(tmp_path: Path) -> None:
    packed = tmp_path / "agent.pyz"
    subprocess.run(command("agent", "pack", packed), check=True, capture_output=True)
    python = _bare_python(tmp_path / "python")
    (site,) = (tmp_path / "python" / "lib").glob("python3*/site-packages")
    (site / "uvicorn").unlink()
    done = subprocess.run([python, packed, "serve"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert 'needs uvicorn: pip install "compression-search[agent]"' in done.stderr
