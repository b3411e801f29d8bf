# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the README's picture of the page while the demo keeps it open: `make picture` calls this."""

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

import chromium
from playwright.sync_api import expect

DEMO = Path(__file__).parents[3] / "examples" / "demo.py"
# Whose picture it is says nothing to its readers.
USER, HOST = "li.na", "control01"
NEUTRAL = f"import socket\nsocket.gethostname = lambda: {HOST!r}\n"
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


def main(picture: Path) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, demo(Path(folder)) as address, chromium.running() as browser:
        context = browser.new_context(
            viewport={"width": 1200, "height": 600}, color_scheme="light", locale="en-US", reduced_motion="reduce"
        )
        page = context.new_page()
        page.goto(address)
        expect(page.locator(".row")).to_have_count(5)
        canceled = page.locator(".row[data-status=Canceled] .title").last
        canceled.click()
        expect(page.locator(".arrivals > li")).to_have_count(2)
        assert not re.search(r"\b(root|vm)\b", page.locator("body").inner_text())
        page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
        page.mouse.move(0, 0)
        page.screenshot(path=picture)
        context.close()
    print(f"{picture}: {picture.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
