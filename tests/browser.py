"""Chromium for the browser tests: finds it, installs Debian's package where that can be done, or says how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Path of an installed Chromium or Chrome; CHROMIUM in the environment comes first."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> int:
    """Make sure that there is a browser; returns the exit code."""
    if find_chromium():
        return 0
    install = [["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "chromium"]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium for the browser tests …", flush=True)
        for command in install:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if find_chromium():
        return 0
    print("The browser tests need Chromium: run `sudo apt-get install chromium`, or set CHROMIUM to its path.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
