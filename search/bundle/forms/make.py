"""Writes a form of a bundle: a folder, whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from search.bundle.forms import browser, triton
from search.errors import UsageFault
from workers.decoding import SETTINGS
from workers.recognizer import OpenedBundle, checked_files, copied_bundle

Write = Callable[[OpenedBundle, Path, Path, str], None]
FORMS: dict[str, Write] = {form.NAME: form.write for form in (triton, browser)}
BUNDLE = "bundle"  # the folder with what a form was made of


def make_form(form: str, bundle: Path, target: Path, overwrite: bool) -> Path:
    """Write a form of a bundle to a folder.

    Raises:
        UsageFault: when something is there already, or the form is not for such a bundle.
        BundleFault: when it is no bundle, or not any more.
    """
    if target.suffix == ".zip":
        raise UsageFault(f"{target}: a form is a folder; take the .zip away")
    if target.exists() and not (overwrite and (target / BUNDLE / "bundle.json").is_file()):
        raise UsageFault(f"{target} exists already; choose another place or give --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".form-") as work:
        out, source, unpacked = (Path(work) / n for n in ("out", "source", "unpacked"))
        for folder in (out, source, unpacked):
            folder.mkdir()
        opened = copied_bundle(bundle, source)
        if (source / SETTINGS).is_file():
            raise UsageFault(
                f"--form {form}: decodes greedily, and this student was scored with beam search; "
                "choose the trial of the same network without `decode.beam`"
            )
        kept = out / BUNDLE
        kept.mkdir()
        for name, file in checked_files(bundle, unpacked).items():
            shutil.copyfile(file, kept / name)
        FORMS[form](opened, source, out, _name(target))
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(out, target)
    return target


def _name(target: Path) -> str:
    """What the model is called: as its folder, of letters that every server takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", target.name) or "student"
