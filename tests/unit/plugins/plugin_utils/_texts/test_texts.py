# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts in two languages: both say the same, and what they are about is in the same language."""

from __future__ import annotations

import string

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import _COUNTED, Text, counted
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts.notices import NOTICES

WAITS = Text("{events} wait: {reason}", "{events}在等待：{reason}")


def test_a_text_among_the_values_and_a_reason_are_in_the_same_language() -> None:
    values = {"events": counted(2, "event"), "reason": "the connection was refused"}
    assert WAITS.said("en", values) == "2 events wait: the connection was refused"
    assert WAITS.said("zh", values) == "2 个事件在等待：连接被拒绝"


def test_what_somebody_else_wrote_stays_as_it_is() -> None:
    values = {"events": Text("{a}", "{b}"), "reason": OSError("{c}")}
    assert WAITS.said("en", values) == "{a} wait: {c}"
    assert WAITS.said("zh", values) == "{b}在等待：{c}"


@pytest.mark.parametrize("what", _COUNTED)
def test_one_and_several_are_counted(what: str) -> None:
    one, several = counted(1, what), counted(2, what)
    assert (one.en, several.en) == (f"1 {what}", f"2 {what}s")
    assert several.zh == one.zh.replace("1", "2")


@pytest.mark.parametrize("name", NOTICES)
def test_both_languages_have_the_same_values(name: str) -> None:
    english, chinese = ({part[1] for part in string.Formatter().parse(text) if part[1]} for text in NOTICES[name])
    assert english == chinese
