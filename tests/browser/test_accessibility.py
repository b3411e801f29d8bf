# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page for people who see or type otherwise, by axe-core: contrast, names, structure, keyboard; with pictures.

The pictures are in .build/screenshots, for a person to look at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sandbox_page import LABELS, Opened, OpenPage, Sandbox, fill

BUILD = Path(__file__).parents[2] / ".build"
AXE = BUILD / "npm" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = BUILD / "screenshots"
# https://github.com/dequelabs/axe-core/blob/develop/doc/API.md#axe-core-tags
RUN = """() => axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    resultTypes: ["violations"],
})"""


class Views:
    """The page in one look: each view is checked and pictured."""

    def __init__(self, page: Page, look: str) -> None:
        self.page = page
        self.look = look
        self.seen: set[str] = set()

    def check(self, view: str) -> None:
        """Take the picture, and find nothing wrong."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{view}-{self.look}.png", full_page=True)
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        result: dict[str, Any] = self.page.evaluate(RUN)
        assert result["testEngine"]["name"] == "axe-core"
        found = [
            f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]
        assert not found, view + "\n" + "\n".join(found)
        self.seen |= {check["id"] for check in result["passes"]}


@pytest.mark.parametrize("options", [{"route_label": "team"}])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wrong_in_any_view(
    sandbox: Sandbox, open_page: OpenPage, opened: Opened, theme: str, width: int, locale: str
) -> None:
    page = open_page(
        color_scheme=theme,
        locale=locale,
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",
        # axe-core is no part of the page.
        bypass_csp=True,
    )
    views = Views(page, f"{theme}-{width}-{locale}")
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 24)"}[theme]
    views.check("empty")
    fill(sandbox)
    sandbox.native("JOB-1", "Failed", title="AWX job", labels={"result": "failed"})
    outcome = {"result": "failed", "failed_host": "web02", "failed_task": "Restart nginx"}
    sandbox.run("FAIL-1", "Canceled", ago=250, took=90, title="Deploy checkout", labels={**LABELS, "team": "web"})
    sandbox.push("FAIL-1", "Canceled", ago=160, labels={**LABELS, **outcome, "team": "web"})
    sandbox.push("FAIL-1", "Canceled", ago=150, labels={**LABELS, **outcome, "team": "web"})
    sandbox.push("FAIL-1", "Canceled", ago=100, labels={**LABELS, **outcome, "team": "db"}, title="Elsewhere")
    sandbox.push("FAIL-1", "Nope")
    sandbox.push("LOST-1", key="wrong")
    sandbox.ask("/event/push/change/standard?integration_key=made-up", {})
    expect(page.locator(".row")).to_have_count(8)
    views.check("timeline")
    page.locator(".row[data-status=Canceled] .title", has_text="Deploy checkout").click()
    expect(page.locator(".arrivals > li")).to_have_count(5)
    page.locator(".chip").first.hover()
    views.check("change")
    page.locator("#forget").click()
    views.check("forget")
    page.locator("#forget-no").click()
    for query, view, ready in (
        ("view=correlate&alert=service%3Dstorefront%0Ahost%3Dweb01", "correlate", ".matches mark"),
        ("view=refused", "refused", "#strays li"),
        ("view=connect", "connect", "#keys code"),
    ):
        page.goto(f"{sandbox.receiver.page_url}?{query}")
        expect(page.locator(ready).first).to_be_visible()
        if view == "refused":
            page.locator("#show-probes").check()
            page.locator("#strays summary").first.click()
        views.check(view)
    page.goto(sandbox.receiver.page_url)
    expect(page.locator(".row")).to_have_count(8)
    sandbox.receiver.close()
    expect(page.locator("#stopped")).to_be_visible()
    views.check("stopped")
    assert {"color-contrast", "button-name", "label", "list"} <= views.seen
    page.close()
    # The browser itself tells of connections that failed.
    opened.problems = [problem for problem in opened.problems if "net::ERR" not in problem]
