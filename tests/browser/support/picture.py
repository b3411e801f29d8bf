# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the READMEs' pictures of the page while the demo keeps it open: `make picture` calls this."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import chromium
from playwright.sync_api import expect

DEMO = Path(__file__).parents[3] / "examples" / "demo.py"
# Whose picture it is says nothing to its readers.
USER, HOST = "li.na", "control01"
NEUTRAL = f"import socket\nsocket.gethostname = lambda: {HOST!r}\n"
# What a monitoring system says of the service whose rollout the demo interrupts.
ALERT = "service=storefront\ncluster=shop-bj\nenv=prod"
END_SECONDS = 60.0


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """The demo with its page kept open; the page's address. Its playbooks know no user or host of this machine."""
    (folder / "sitecustomize.py").write_text(NEUTRAL, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder), "SUDO_USER": USER}
    process = subprocess.Popen(
        [sys.executable, str(DEMO), "--keep"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := re.search(r"stays at (http\S+/sandbox/)", line):
                yield found[1]
                break
        else:
            raise SystemExit("the demo did not keep its page open")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(END_SECONDS)
        process.stdout.close()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, demo(Path(home)) as address, chromium.running() as browser:
        for locale, name in (("en-US", "sandbox.png"), ("zh-CN", "sandbox.zh-CN.png")):
            context = browser.new_context(
                viewport={"width": 1200, "height": 600}, color_scheme="light", locale=locale, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto(f"{address}?view=correlate&alert={quote(ALERT)}")
            expect(page.locator(".matches mark").first).to_be_visible()
            assert not re.search(r"\b(root|vm)\b", page.locator("body").inner_text())
            page.screenshot(path=folder / name)
            context.close()
            print(f"{folder / name}: {(folder / name).stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
