# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user is told: each subject once, in the language that is set, and no secret."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins import plugin_utils
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notice, Notices, language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import TEXTS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts.notices import NOTICES

PLUGINS = Path(next(iter(plugin_utils.__path__))).parent
# What RunDelivery adds to each of its warnings.
BY_THE_CALLED = {"events", "flush", "doctor"}


def test_without_anybody_to_show_them_to_notices_are_kept_until_they_are_taken() -> None:
    notices = Notices()
    notices.warning("end-left", problem="first")
    notices.debug("second")
    assert notices.take() == [
        Notice("warning", "the end of this run is left to the courier: first"),
        Notice("debug", "second"),
    ]
    assert notices.take() == []


def test_where_they_are_shown_none_is_kept() -> None:
    shown: list[Notice] = []
    notices = Notices(shown.append)
    notices.warning("rolled-back")
    assert (shown, notices.take()) == ([Notice("warning", " Rolled back.")], [])


def test_a_subject_is_told_once_even_after_it_was_taken_and_at_another_level() -> None:
    notices = Notices()
    notices.warning("failed", subject="cannot be read", problem="web1 cannot be read")
    notices.warning("failed", subject="cannot be read", problem="web2 cannot be read")
    assert [notice.text for notice in notices.take()] == ["web1 cannot be read"]
    notices.debug("web3 cannot be read", subject="cannot be read")
    notices.warning("failed", problem="something else")
    notices.warning("failed", problem="something else")
    assert [notice.text for notice in notices.take()] == ["something else"]


def test_what_must_not_be_shown_is_taken_out_from_when_it_is_known() -> None:
    notices = Notices()
    notices.warning("failed", problem="the key is k3y")
    notices.redact = lambda text: text.replace("k3y", "***")
    # That it is the same text is known all the same.
    notices.warning("failed", problem="the key is k3y")
    notices.warning("failed", problem="again k3y")
    assert [notice.text for notice in notices.take()] == ["the key is k3y", "again ***"]


def test_only_the_warnings_are_taken_where_only_they_are_asked_for() -> None:
    notices = Notices()
    notices.debug("a detail")
    notices.warning("failed", problem="no")
    assert (notices.warnings(), notices.take()) == (["no"], [])


def test_a_warning_is_in_the_language_that_is_set_and_told_once_in_whichever() -> None:
    notices = Notices()
    notices.warning("template-failed", option="title", why="x")
    notices.language = "zh"
    notices.warning("template-failed", option="title", why="x")
    notices.warning("template-failed", option="link", why="x")
    assert notices.warnings() == [
        "title has its default value, because its template failed: x",
        "link 使用默认值，其模板求值失败：x",
    ]


def test_until_it_is_set_the_language_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASHDUTY_LANGUAGE", "zh")
    assert Notices().language == "zh"
    monkeypatch.setenv("FLASHDUTY_LANGUAGE", "")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert Notices().language == "zh"


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
    ],
)
def test_the_language_is_that_of_the_terminal(environ: dict[str, str], language: str) -> None:
    assert language_of("auto", environ) == language
    assert language_of("en", environ) == "en"
    assert language_of("zh", environ) == "zh"


def test_each_text_is_said_somewhere_and_gets_the_values_that_it_has() -> None:
    sources = [path.read_text(encoding="utf-8") for path in PLUGINS.rglob("*.py") if path.parent.name != "_texts"]
    for call in (node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("said", "warning", "_warn"):
            continue
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value not in TEXTS:
            given = {keyword.arg for keyword in call.keywords}
            wanted = {part[1] for part in string.Formatter().parse(NOTICES[first.value].en) if part[1]}
            assert None in given or wanted - BY_THE_CALLED <= given - {"subject"}, ast.unparse(call)
    everything = "".join(sources)
    assert [name for name in NOTICES if not re.search(rf"""["']{name}["']""", everything)] == []
