"""Makes sure that there is a Chromium for the tests of the pages; says so where there is none.

The system's, else the one that Playwright downloads, else, as root on Debian, its package. Run by
`make test`; never fails: without a browser those tests are skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def system_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> None:
    if system_chromium() is not None or _does(
        sys.executable, "-m", "playwright", "install", "chromium"
    ):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _does("apt-get", "update", "-qq")
        if _does("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"):
            return
    print("no Chromium: the tests of the pages will be skipped")


def _does(*command: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=240)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()
