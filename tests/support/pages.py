"""Pages of the dashboard: going there, looking at them, and their stores."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from browser import figures_of, said, settled
from playwright.sync_api import Page, expect

from storage.store import Store

PAGES = ("", "front", "trial", "compare", "try_it")
WIDTHS = ((1440, 900), (390, 844))
SCHEMES = ("light", "dark")
PICTURES = os.environ.get("PICTURES")  # a folder for the screenshots
MARKUP = "<img src=x onerror=alert(1)><b>b</b>**s**[l](javascript:1)"


def with_store(home: Path, do: Callable[[Store], Any]) -> Any:
    home.mkdir(parents=True, exist_ok=True)
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    try:
        return do(store)
    finally:
        store.close()


def go(page: Page, url: str, path: str = "", **query: object) -> Page:
    asked = "&".join(f"{k}={v}" for k, v in query.items())
    page.goto(f"{url}/{path}?{asked}")
    return settled(page)


def looks_fine_everywhere(page: Page, name: str) -> None:
    """At both widths, in light and dark: no fault for axe, nothing that sticks out."""
    for width, height in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            settled(page)
            page.wait_for_timeout(300)  # colours fade
            assert serious_faults(page) == [], f"{name} at {width} px, {scheme}"
            wide = page.get_by_test_id("stMain").evaluate("e => e.scrollWidth - e.clientWidth")
            assert wide <= 0, f"{name} at {width} px is {wide} px too wide"
            if PICTURES:
                whole = page.get_by_test_id("stMain").evaluate("e => e.scrollHeight")
                page.set_viewport_size({"width": width, "height": min(whole + 20, 4000)})
                page.wait_for_timeout(500)
                page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png")
                page.set_viewport_size({"width": width, "height": height})


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds, in words."""
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {n['html'][:120]} {n['failureSummary'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"]
    ]


def slider_of(page: Page, name: str) -> Any:
    return page.get_by_role("slider", name=name)


def count_of(page: Page) -> int:
    """How many trials meet the budgets, as the page says it."""
    match = re.search(r"(\d+) of \d+ complete trials meet", said(page))
    assert match is not None
    return int(match[1])


def click_point(page: Page, place: int) -> int:
    """Click a trial of the front in the first chart; the number that its tooltip told."""
    page.locator(".front-chart").first.scroll_into_view_if_needed()
    settled(page)
    x, y = figures_of(
        page,
        f"""(() => {{
          const d = chart._fullData.find(
            d => d.ids && d.marker.size === 12 && d.ids.length > {place});
          const {{xaxis, yaxis}} = chart._fullLayout, box = chart.getBoundingClientRect();
          return [box.left + xaxis._offset + xaxis.d2p(d.x[{place}]),
                  box.top + yaxis._offset + yaxis.d2p(d.y[{place}])]
        }})()""",
    )
    page.mouse.move(x, y)
    tooltip = page.locator(".hoverlayer .hovertext").first
    expect(tooltip).to_contain_text(re.compile(r"trial \d+ .*WER \(%\): \d"))
    match = re.search(r"trial (\d+)", tooltip.text_content() or "")
    assert match is not None
    page.mouse.click(x, y)
    return int(match[1])
