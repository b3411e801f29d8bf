# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user is told: each subject once, and no secret."""

from __future__ import annotations

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notice, Notices


def test_without_anybody_to_show_them_to_notices_are_kept_until_they_are_taken() -> None:
    notices = Notices()
    notices.warning("first")
    notices.debug("second")
    assert notices.take() == [Notice("warning", "first"), Notice("debug", "second")]
    assert notices.take() == []


def test_where_they_are_shown_none_is_kept() -> None:
    shown: list[Notice] = []
    notices = Notices(shown.append)
    notices.warning("first")
    assert (shown, notices.take()) == ([Notice("warning", "first")], [])


def test_a_subject_is_told_once_even_after_it_was_taken_and_at_another_level() -> None:
    notices = Notices()
    notices.warning("web1 cannot be read", subject="cannot be read")
    notices.warning("web2 cannot be read", subject="cannot be read")
    assert [notice.text for notice in notices.take()] == ["web1 cannot be read"]
    notices.debug("web3 cannot be read", subject="cannot be read")
    notices.warning("something else")
    notices.warning("something else")
    assert [notice.text for notice in notices.take()] == ["something else"]


def test_what_must_not_be_shown_is_taken_out_from_when_it_is_known() -> None:
    notices = Notices()
    notices.warning("the key is k3y")
    notices.redact = lambda text: text.replace("k3y", "***")
    # That it is the same text is known all the same.
    notices.warning("the key is k3y")
    notices.warning("again k3y")
    assert [notice.text for notice in notices.take()] == ["the key is k3y", "again ***"]


def test_a_warning_is_in_the_language_that_is_set_and_told_once_in_whichever() -> None:
    notices = Notices()
    notices.warning("one", chinese="一")
    notices.language = "zh"
    notices.warning("one", chinese="一")
    notices.warning("two", chinese="二")
    notices.warning("三")
    assert [notice.text for notice in notices.take()] == ["one", "二", "三"]
