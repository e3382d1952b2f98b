"""`search doctor`: is everything here that a search needs?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable

import click

from search.cli.common import home_of

_CORE = (
    "torch torchaudio onnx onnxruntime optuna sqlalchemy soundfile soxr sentencepiece "
    "kaldi-native-fbank espeakng-loader jiwer moocore safetensors"
).split()
_EXTRAS = {
    "hf": "transformers",
    "denoise": "noisereduce",
    "postgresql": "psycopg",
    "sherpa": "sherpa_onnx",
    "agent": "starlette",
}


@click.command("doctor")
@click.pass_context
def doctor_command(ctx: click.Context) -> int:
    """Check versions, audio, devices and the store; exit code 1 if something is broken."""
    checks = [_versions, _extras, _backends, _machine, _audio, _features, _synthesiser, _runtime]
    n_bad = sum(_report(check.__name__.strip("_"), check) for check in checks)
    n_bad += _report("store", lambda: _store(ctx))
    click.echo("all well" if not n_bad else f"{n_bad} of {len(checks) + 1} checks failed")
    return 1 if n_bad else 0


def _report(name: str, check: Callable[[], str]) -> int:
    try:
        message = check()
    except Exception as error:
        click.echo(f"FAIL {name}: {type(error).__name__}: {error}")
        return 1
    click.echo(f"ok   {name}: {message}")
    return 0


def _versions() -> str:
    found = [f"{p} {importlib.metadata.version(p)}" for p in _CORE]
    return f"python {platform.python_version()}, {', '.join(found)}"


def _extras() -> str:
    return ", ".join(
        f"{extra} {'there' if importlib.util.find_spec(module) else 'not installed'}"
        for extra, module in _EXTRAS.items()
    )


def _backends() -> str:
    from spaces.backends import BACKENDS, backend_info
    from workers.backends.environments import is_installed

    infos = [backend_info(name) for name in BACKENDS]
    here = [i.name for i in infos if is_installed(i) and i.status != "for tests"]
    return f"{', '.join(here)} (all: `search backends`)"


def _machine() -> str:
    from search.study.place import place_of, told
    from spaces.space import Search
    from workers.train.placement import has_native_bf16

    trains = told(place_of(Search(), deterministic=False))
    bf16 = "bfloat16 in hardware" if has_native_bf16() else "no bfloat16"
    free_gb = shutil.disk_usage(".").free / 1e9
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.machine()}, {cores} cores, {bf16}"
    return f"{machine}, trains on {trains}, {free_gb:.0f} GB free here"


def _audio() -> str:
    import soundfile

    formats = soundfile.available_formats()
    return ", ".join(f for f in ("WAV", "FLAC", "OGG", "MP3", "NIST") if f in formats)


def _features() -> str:
    import numpy as np

    from workers.data.features import SAMPLE_RATE_HZ, fbank

    features = fbank(np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE_HZ).astype(np.float32))
    if features.shape != (100, 80) or not np.isfinite(features).all():
        raise ValueError(f"one second of noise gave features {features.shape}")
    return "100 frames of 80 bins a second"


def _synthesiser() -> str:
    import espeakng_loader

    return f"espeak-ng at {os.path.basename(espeakng_loader.get_library_path())}"


def _runtime() -> str:
    import onnxruntime

    return ", ".join(onnxruntime.get_available_providers())


def _store(ctx: click.Context) -> str:
    from storage.store import Store

    home = home_of(ctx)
    store = Store(home.store_url)
    count = len(store.studies.all())
    kind = store.engine.dialect.name
    store.close()
    return f"{kind}, {count} studies"
