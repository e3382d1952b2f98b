"""A bundle is published as it was written, with a card that hubs can read."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
import yaml

from search.bundle.publish import publish
from workers.recognizer import check_bundle


@pytest.fixture(scope="module")
def bundle(finished, cli, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "student.zip"
    done = cli("--home", finished, "export", "--best", "wer", path)
    assert done.returncode == 0, done.stderr
    return path


def test_a_published_bundle_is_a_bundle_with_a_card_in_front(bundle, cli, tmp_path) -> None:
    there = tmp_path / "there"
    done = cli("publish", bundle, there)
    assert done.returncode == 0, done.stderr
    assert "files to" in done.stdout
    check_bundle(there)
    _, head, card = (there / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["pipeline_tag"] == "automatic-speech-recognition"
    (result,) = told["model-index"][0]["results"]
    assert 0 < result["metrics"][0]["value"] < 200
    assert card.strip() == (there / "CARD.md").read_text().strip()


def test_what_lies_there_is_not_written_over_unasked(bundle, cli, tmp_path) -> None:
    (tmp_path / "README.md").write_text("mine")
    done = cli("publish", bundle, tmp_path)
    assert done.returncode == 2
    assert "README.md is there already" in done.stderr
    assert (tmp_path / "README.md").read_text() == "mine"
    assert cli("publish", "--overwrite", bundle, tmp_path).returncode == 0


def test_a_bundle_may_go_to_any_file_system_and_only_whole(bundle, cli, tmp_path) -> None:
    places = publish(bundle, "memory://published/one", overwrite=False)
    memory = fsspec.filesystem("memory")
    assert all(memory.exists(place.removeprefix("memory:/")) for place in places)
    for where in ("nowhere://x", "/proc/no/such"):
        done = cli("publish", bundle, where)
        assert done.returncode == 2
        assert "cannot be written to" in done.stderr
    folder = tmp_path / "harmed"
    publish(bundle, str(folder), overwrite=False)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = cli("publish", folder, tmp_path / "further")
    assert done.returncode == 2
    assert "is damaged" in done.stderr
    assert not (tmp_path / "further").exists()
