# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why nothing is reported or delivered, in Chinese. What networks do is real."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    MissingAppKey,
    MissingKey,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts.reasons import in_chinese
from flashduty_sandbox.receiver import Receiver

EVENT = ChangeEvent.validated({"change_key": "a", "change_status": "Done", "title": "x"}, time.time()).to_json()


def _why(connection: Connection, budget: float) -> str:
    with closing(Api(connection)) as api, pytest.raises(ApiError) as caught:
        api.push(EVENT, budget)
    return caught.value.message


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "hang"}, "0.5 秒内没有响应"),
        ({"kind": "reset"}, "收到响应之前连接中断"),
        ({"kind": "redirect", "location": "https://other.example/x"}, "HTTP 302，被重定向到 other.example，没有跟随："),
        ({"kind": "portal"}, "HTTP 200，不是 Flashduty 的响应：请检查 api_url"),
        ({"kind": "html"}, "HTTP 502，不是 Flashduty 的响应：请检查 api_url"),
    ],
)
def test_what_came_instead_of_an_answer(tmp_path: Path, fault: dict[str, Any], expected: str) -> None:
    with Receiver(tmp_path / "receiver.db", ["key"]) as receiver:
        receiver.faults.set(**fault)
        budget = 0.5 if fault["kind"] == "hang" else 20.0
        assert in_chinese(_why(Connection(receiver.url, "key"), budget)).startswith(expected)
        url = receiver.url
    assert in_chinese(_why(Connection(url, "key"), 20.0)) == "连接被拒绝"


@pytest.mark.parametrize("problem", [MissingKey(), MissingAppKey()])
def test_a_key_that_is_not_set(problem: Exception) -> None:
    assert in_chinese(problem).startswith("没有设置")


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        (
            "the Python package requests is missing for /a b/py, install it with: /a b/py -m pip install requests",
            "/a b/py 缺少 Python 包 requests，请安装：/a b/py -m pip install requests",
        ),
        ("more than 100,000 events were waiting", "等待的事件超过 100,000 个"),
    ],
)
def test_what_this_machine_lacks(english: str, expected: str) -> None:
    assert in_chinese(english) == expected


def test_a_message_of_flashduty_stays_as_it_is() -> None:
    assert in_chinese("InvalidParameter: labels: too many requests") == "InvalidParameter: labels: too many requests"


def test_a_notice_says_its_reason_in_its_own_language() -> None:
    for language, reason in (("en", "the connection was refused"), ("zh", "连接被拒绝")):
        notices = Notices()
        notices.language = language
        said = notices.said("nobody-now", problem="the connection was refused")
        assert said.endswith(reason)
        assert bool(re.search("[\u4e00-\u9fff]", said)) == (language == "zh")
