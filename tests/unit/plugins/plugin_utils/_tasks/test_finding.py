# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was found, in words."""

from __future__ import annotations

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Finding, Found, listed


def test_a_line_says_everything() -> None:
    assert Finding("clock", "ok", "agrees").line() == "ok    clock: agrees"
    assert Finding("clock", "fail", "is late", "Set it").line() == "fail  clock: is late. Set it"
    assert Finding("clock", "fail", "慢了", "请校准").line("zh") == "fail  时钟：慢了。请校准"
    assert Finding("API", "ok", "有响应").line("zh") == "ok    API：有响应"


def test_what_was_found_is_said_with_its_values_and_its_advice_apart() -> None:
    found = Found("core-too-old", versions="ansible-core 2.15.0")
    assert found.said("en") == Finding(
        "versions", "fail", "ansible-core 2.15.0", "Supported is ansible-core 2.16 and later", "core-too-old"
    )
    assert found.said("zh").text == "ansible-core 2.15.0"
    assert found.is_broken
    assert not Found("versions", versions="").is_broken


def test_an_integration_is_named_where_there_are_several() -> None:
    found = Found("key")
    assert found.is_of_key
    assert not Found("clock").is_of_key
    found.whose = "integration 8f3c0ad5"
    assert found.said("en").text.startswith("integration 8f3c0ad5: ")


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (0, "0 hosts", "0 台主机"),
        (1, "1 host (h0)", "1 台主机（h0）"),
        (5, "5 hosts (h0, h1, h2, h3, h4)", "5 台主机（h0、h1、h2、h3、h4）"),
        (7, "7 hosts (h0, h1, h2, h3, h4, …)", "7 台主机（h0、h1、h2、h3、h4、…）"),
    ],
)
def test_many_are_counted_and_the_first_of_them_named(number: int, english: str, chinese: str) -> None:
    text = listed([f"h{each}" for each in range(number)], "host")
    assert (text.en, text.zh) == (english, chinese)
