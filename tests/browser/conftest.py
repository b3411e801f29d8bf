# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Chromium, a real receiver, and pages that may not misbehave unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import chromium
import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, expect
from sandbox_page import KEY, PATIENCE, SECOND_KEY, Opened, OpenPage, Sandbox

from flashduty_sandbox.receiver import Receiver


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    with chromium.running() as instance:
        yield instance


@pytest.fixture
def options() -> dict[str, Any]:
    """What the receiver is given. A test that needs it otherwise parametrizes it."""
    return {}


@pytest.fixture
def sandbox(tmp_path: Path, options: dict[str, Any]) -> Iterator[Sandbox]:
    keys = [KEY, SECOND_KEY]
    with Receiver(tmp_path / "sandbox.db", keys, per_second=None, per_minute=None, **options) as receiver:
        yield Sandbox(receiver)


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def open_page(browser: Browser, sandbox: Sandbox, opened: Opened) -> Iterator[OpenPage]:
    """Opens the page in a browser of its own, once its first changes are there; takes what new_context() takes.

    In the end no page may have logged an error, shown a dialog, broken its policy or asked anybody but the receiver.
    """
    contexts: list[BrowserContext] = []
    home = urlsplit(sandbox.receiver.url).netloc

    def watch(request: Request) -> None:
        parts = urlsplit(request.url)
        opened.requests.append(parts.path)
        if parts.scheme != "data" and parts.netloc != home:
            opened.problems.append(f"asked {request.url}")

    def dismiss(dialog: Dialog) -> None:
        opened.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open_page(query: str = "", **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        options.setdefault("locale", "en-US")
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        page.on("request", watch)
        page.on("pageerror", lambda error: opened.problems.append(f"error: {error}"))
        page.on("console", lambda message: opened.problems.append(f"console: {message.text}"))
        page.on("dialog", dismiss)
        page.goto(sandbox.receiver.page_url + query)
        page.locator("#link-state[data-state=live]").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert opened.problems == []
