# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Chromium of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It has nothing to do on any network but this machine's own.
FLAGS = ("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")


class NoChromium(Exception):
    """There is no browser here that could be used."""


def find() -> str:
    """The path of Chromium: $CHROMIUM, or the first of NAMES that is installed. Raises NoChromium."""
    for name in (os.environ.get("CHROMIUM"), *NAMES):
        if name and (path := shutil.which(name)):
            return path
    raise NoChromium("Chromium is missing: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")


@contextmanager
def running() -> Iterator[Browser]:
    """A headless Chromium with a profile of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
