# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page and its policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sandbox_client import call

from flashduty_sandbox import page
from flashduty_sandbox.receiver import Receiver


def test_the_page_may_run_its_own_script_and_style_and_nothing_else(receiver: Receiver) -> None:
    reply = call(receiver, "GET", "/sandbox/?q=x")
    html = reply.body.decode()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))
    for name, element in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[name] == f"'sha256-{digest}'"
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert (policy["connect-src"], policy["require-trusted-types-for"]) == ("'self'", "'script'")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert receiver.requests() == []


def test_the_page_is_one_file_that_names_no_outside_address(receiver: Receiver) -> None:
    html = call(receiver, "GET", "/sandbox/").body.decode()
    assert set(re.findall(r"https?://[^\s'\"`)]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "https://www.gnu.org/licenses/gpl-3.0.txt",
    }
    assert not re.search(r"<(link(?! rel=\"icon\" href=\"data:)|img|iframe|object|embed|script[^>]* src|base)\b", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function| on[a-z]+=\"", html)


def test_a_browser_at_the_root_is_led_to_the_page_and_a_client_is_not(receiver: Receiver) -> None:
    reply = call(receiver, "GET", "/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (reply.status, reply.headers["Location"]) == (302, "/sandbox/")
    assert receiver.requests() == []
    assert call(receiver, "GET", "/", Accept="*/*").status == 404
    assert call(receiver, "POST", "/", {}, Accept="text/html").status == 404
    assert len(receiver.requests()) == 2


@pytest.mark.parametrize("target", ["/sandbox/", "/sandbox/stream", "/sandbox/change?change_id=x"])
def test_other_names_for_this_machine_see_nothing(receiver: Receiver, target: str) -> None:
    assert call(receiver, "GET", target, Host="evil.example").status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_link_here_and_no_more(receiver: Receiver, site: str) -> None:
    assert call(receiver, "GET", "/sandbox/", Sec_Fetch_Site=site).status == 200
    for method, target in (("GET", "stream"), ("GET", "changes"), ("DELETE", "changes"), ("POST", "correlate")):
        assert call(receiver, method, f"/sandbox/{target}", {}, Sec_Fetch_Site=site).status == 403
    assert call(receiver, "GET", "/sandbox/changes", Sec_Fetch_Site="none").status == 200


def _texts(language: str) -> dict[str, Any]:
    folder = Path(page.__file__).with_name("page")
    return dict(json.loads((folder / f"{language}.json").read_text(encoding="utf-8")))


def _placeholders(text: object) -> set[str]:
    return set(re.findall(r"\{\d\}", json.dumps(text)))


def test_both_languages_say_everything() -> None:
    english, chinese = _texts("en"), _texts("zh")
    assert list(chinese) == list(english)
    assert len(english) > 100
    for name, text in english.items():
        if isinstance(text, dict) and "other" not in text:
            assert list(chinese[name]) == list(text), name
        assert _placeholders(chinese[name]) == _placeholders(text), name
        if name not in ("request", "appKey", "update"):
            assert re.search(r"[\u4e00-\u9fff]", str(chinese[name])), name


def test_every_text_is_used_and_every_text_that_is_used_is_there() -> None:
    folder = Path(page.__file__).with_name("page")
    source = "".join((folder / name).read_text(encoding="utf-8") for name in ("app.js", "index.html"))
    named = set(re.findall(r'\bt\("(\w+)"', source)) | set(re.findall(r'data-(?:text|label|hint)="(\w+)"', source))
    # The others are found by a name that is worked out.
    assert named <= set(_texts("en"))
    for name in set(_texts("en")) - named:
        assert re.search(rf'["\s{{]{name}["\s,:]', source), name
