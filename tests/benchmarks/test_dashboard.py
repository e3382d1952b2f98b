"""The dashboard over a study of 10,000 trials, beside optuna-dashboard over the same trials."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from browser import serving, settled, wait_for
from fabricated import add_like, alive, fabricate
from folders import HOME

from storage.records import StudyState, Trial
from storage.store import Store

TRIALS = 10_000
VISITS, MOVES, CLICKS = 6, 10, 6
OBJECTIVES = ("wer", "latency_p95_ms", "size_mb")
FRONT_DRAWN = """() => {
  const charts = [...document.querySelectorAll('.js-plotly-plot')];
  return charts.length === 3 && charts.every(c => c.calcdata && c.querySelector('.main-svg'))
    && /complete trials meet/.test(document.body.innerText)
}"""
FIGURES_TOLD = "() => /complete trials meet/.test(document.body?.innerText ?? '')"
LIMIT = """() =>
  document.querySelector('.js-plotly-plot')?._fullLayout.shapes?.[0]?.x0 ?? null"""
REDRAWN = """before => {
  const charts = [...document.querySelectorAll('.js-plotly-plot')];
  const [first, , third] = charts.map(c => c._fullLayout?.shapes?.[0]?.x0 ?? null);
  return charts.length === 3 && first !== null && first !== before && third === first
    && charts.every(c => c.calcdata && c.querySelector('.main-svg'))
}"""
POINT = """place => {
  const chart = document.querySelector('.js-plotly-plot'), box = chart.getBoundingClientRect();
  const [d] = chart._fullData.filter(d => d.ids).sort((a, b) => b.ids.length - a.ids.length);
  const i = 37 * place % d.ids.length, {xaxis, yaxis} = chart._fullLayout;
  return [box.left + xaxis._offset + xaxis.d2p(d.x[i]), box.top + yaxis._offset + yaxis.d2p(d.y[i])]
}"""
OPENED = """before => {
  const heading = [...document.querySelectorAll('h3')].find(h => /^Trial/.test(h.textContent));
  return heading && heading.textContent !== before
    && document.querySelectorAll('[data-testid=stMetric]').length > 3
}"""
PARETO_DRAWN = """count => {
  const chart = document.getElementById('graph-pareto-front');
  return chart?.calcdata && chart.data.reduce((n, t) => n + (t.x?.length ?? 0), 0) >= count
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("large") / "home"
    home.mkdir()
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    fabricate(store, "large", TRIALS)
    store.close()
    return home


def test_dashboard(home: Path, chromium: Any, tmp_path: Path) -> None:
    print(f"\n{TRIALS:,} trials; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with serving(home) as url:
        port = int(url.rpartition(":")[2])
        address = f"{url}/front?study=large"
        fresh = [_first_visit(chromium, address, FRONT_DRAWN) for _ in range(VISITS)]
        words = [_first_visit(chromium, address, FIGURES_TOLD) for _ in range(VISITS)]
        paint = [_first_contentful_paint(chromium, address) for _ in range(VISITS)]
        context = chromium.new_context(viewport={"width": 1440, "height": 1800})
        page = context.new_page()
        again = [_time(page, lambda: page.goto(address, wait_until="commit"), FRONT_DRAWN)]
        for _ in range(VISITS):
            again.append(_time(page, lambda: page.goto(address, wait_until="commit"), FRONT_DRAWN))
        _say("first contentful paint, new browser", paint)
        _say("figures of the front told, new browser", words)
        _say("front drawn, server just started, new browser", fresh[:1])
        _say("front drawn, new browser", fresh[1:])
        _say("front drawn, browser that was here before", again[1:])
        _say("budget slider to redrawn front", _moves(page))
        _say("click on a point to its trial", _clicks(page))
        print(f"memory of the server: {_peak_mb(port):.0f} MB at most")
        context.close()
    with _optuna_dashboard(home, tmp_path) as address:
        other = _first_visit(chromium, address, PARETO_DRAWN, TRIALS)
        _say("optuna-dashboard: Pareto plot drawn, new browser", [other])


def _first_visit(chromium: Any, address: str, drawn: str, argument: Any = None) -> float:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(600_000)
    try:
        return _time(page, lambda: page.goto(address, wait_until="commit"), drawn, argument)
    finally:
        context.close()


def _first_contentful_paint(chromium: Any, address: str) -> float:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(address)
    page.wait_for_function(FRONT_DRAWN)
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    spent_ms = float(page.evaluate(paint))
    context.close()
    return spent_ms / 1000


def _time(page: Any, do: Callable[[], object], until: str, argument: Any = None) -> float:
    start = time.perf_counter()
    do()
    page.wait_for_function(until, arg=argument, polling=20)
    return time.perf_counter() - start


def _moves(page: Any) -> list[float]:
    settled(page).get_by_role("slider", name="latency p95 at most").focus()
    spent = []
    for _ in range(MOVES):
        before = page.evaluate(LIMIT)
        spent.append(_time(page, lambda: page.keyboard.press("ArrowLeft"), REDRAWN, before))
        page.wait_for_timeout(700)
    return spent[1:]


def _clicks(page: Any) -> list[float]:
    spent = []
    for i in range(CLICKS):
        headings = [
            text
            for text in page.get_by_role("heading", level=3).all_inner_texts()
            if text.startswith("Trial")
        ]
        page.mouse.move(*page.evaluate(POINT, 7 * i + 3))
        page.locator(".hoverlayer .hovertext").first.wait_for()
        before = headings[0] if headings else ""
        spent.append(_time(page, lambda: (page.mouse.down(), page.mouse.up()), OPENED, before))
        page.wait_for_timeout(1000)
    return spent


TABS, WATCHED_S, TRIAL_EVERY_S = 5, 150.0, 12.0


@pytest.mark.parametrize("stage", ["train", "measure@cpu"])
def test_five_tabs_on_a_running_study(stage: str, chromium: Any, tmp_path: Path) -> None:
    """What the pages cost the machine that trains, and the one that measures."""
    home = tmp_path / "home"
    home.mkdir()
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    doing = [{"trial": 40, "stage": stage, "elapsed_s": 1.0, "progress": None}]
    live = {"state": StudyState.RUNNING, "wanted": 90, "live": alive(doing)}
    study = fabricate(store, "live", 40, **live)
    with serving(home, "--redraw-s", 60) as url:
        port = int(url.rpartition(":")[2])
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        tabs = [context.new_page() for _ in range(TABS)]
        for tab, path in zip(tabs, ("", "front", "front", "trial", "compare"), strict=True):
            tab.goto(f"{url}/{path}?study=live")
            settled(tab)
        begun, before_s, n_added = time.monotonic(), _cpu_s(port), 0
        while (passed_s := time.monotonic() - begun) < WATCHED_S:
            store.studies.change(study.id, live=alive(doing))
            if passed_s > (n_added + 1) * TRIAL_EVERY_S:
                n_added += 1
                add_like(store, "live", 1)
            tabs[0].wait_for_timeout(2000)
        spent_s = _cpu_s(port) - before_s
        context.close()
    store.close()
    print(
        f"\n{TABS} tabs, {stage} under way, {n_added} trials in {passed_s:.0f} s: "
        f"{spent_s / passed_s:.1%} of a core"
    )


def _cpu_s(port: int) -> float:
    """CPU time of the process listening there."""
    status = _process(port)
    fields = status.with_name("stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _say(what: str, seconds: list[float]) -> None:
    each = ", ".join(f"{s:.2f}" for s in seconds)
    print(f"{what}: median {statistics.median(seconds):.2f} s ({each})")


def _peak_mb(port: int) -> float:
    """The most memory that the process listening there has held (VmHWM)."""
    lines = _process(port).read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1000


def _process(port: int) -> Path:
    """The status of the process listening there: of those so called, the latest."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = status.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile
            continue
        if f"--port={port}" in command:
            found.append(status)
    return max(found, key=lambda status: int(status.parent.name))


# the other one


@contextmanager
def _optuna_dashboard(home: Path, folder: Path) -> Iterator[str]:
    """optuna-dashboard in an environment of its own, on a study with the same trials."""
    python = _installed(HOME / "optuna-dashboard")
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    trials = store.trials.of(store.studies.get("large").id)
    store.close()
    url = f"sqlite:///{folder / 'optuna.sqlite'}"
    _written(trials, url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python.with_name("optuna-dashboard"), url, "--port", str(port)]
    with (folder / "optuna.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/dashboard", process)
            yield f"http://127.0.0.1:{port}/dashboard/studies/1"
        finally:
            process.terminate()
            process.wait(20)


def _installed(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not (folder / "bin" / "optuna-dashboard").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "optuna-dashboard"]
        if subprocess.run(pip, check=False).returncode:
            pytest.skip("optuna-dashboard cannot be installed here")
    return python


def _written(trials: list[Trial], url: str) -> None:
    """Optuna's own way to add trials takes a transaction a parameter, which is hours of them."""
    import optuna
    import sqlalchemy as sa
    from optuna.storages._rdb import models as m

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(url)
    directions = ["minimize"] * len(OBJECTIVES)
    optuna.create_study(storage=storage, study_name="large", directions=directions)
    numbers = {name: i for i, name in enumerate(CHOICES)}
    choice = optuna.distributions.CategoricalDistribution(CHOICES)
    number = optuna.distributions.FloatDistribution(0, 1e4)
    rows: dict[Any, list[dict[str, Any]]] = {
        m.TrialModel: [],
        m.TrialParamModel: [],
        m.TrialValueModel: [],
    }
    for t in trials:
        key = t.number + 1
        at = datetime.fromtimestamp(t.created_at)
        rows[m.TrialModel].append(
            {
                "trial_id": key,
                "number": t.number,
                "study_id": 1,
                "state": optuna.trial.TrialState.COMPLETE,
                "datetime_start": at,
                "datetime_complete": at,
            }
        )
        rows[m.TrialParamModel] += [
            {
                "trial_id": key,
                "param_name": name,
                "param_value": numbers.get(value, value),
                "distribution_json": optuna.distributions.distribution_to_json(
                    choice if isinstance(value, str) else number
                ),
            }
            for name, value in t.values.items()
        ]
        rows[m.TrialValueModel] += [
            {
                "trial_id": key,
                "objective": i,
                "value": t.metrics[name],
                "value_type": m.TrialValueModel.TrialValueType.FINITE,
            }
            for i, name in enumerate(OBJECTIVES)
        ]
    with storage.engine.begin() as connection:
        for model, content in rows.items():
            connection.execute(sa.insert(model.__table__), content)


CHOICES = (
    "separable_conv",
    "dsconv_lstm",
    "fp32",
    "fp16",
    "int8_dynamic",
    "int8_static",
)
