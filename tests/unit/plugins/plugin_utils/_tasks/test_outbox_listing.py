# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that a task shows of an outbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from outboxes import CONNECTION, START, claimed, deliver_all, event, outbox_in

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.outbox_listing import listing


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with outbox_in(tmp_path / "state", lambda: START) as opened:
        yield opened


def lines(outbox: Outbox, language: str = "en") -> list[str]:
    notices = Notices()
    notices.language = language
    listed: list[str] = listing(outbox.folder, {"limit": 9}, True, CONNECTION, notices)["lines"]
    return listed


@pytest.mark.parametrize(
    ("language", "before", "after"),
    [("en", "refused    Processing  a deploy [", "]: "), ("zh", "被拒绝  Processing  a deploy [", "]：")],
)
def test_a_line_says_what_became_of_it(outbox: Outbox, language: str, before: str, after: str) -> None:
    uid = outbox.put(event()).uid
    outbox.claims.refused(claimed(outbox), ApiError("no such label", False, 400, "InvalidParameter", "r-17"))
    assert lines(outbox, language) == [f"2027-01-15 08:00:00 UTC  {before}{uid}, request_id r-17{after}no such label"]


def test_one_whose_text_is_no_longer_kept_is_a_line_too(outbox: Outbox) -> None:
    uid = outbox.put(event()).uid
    deliver_all(outbox)
    with outbox.database.writing() as transaction:
        transaction.execute("UPDATE events SET body = NULL")
    assert lines(outbox) == [f"2027-01-15 08:00:00 UTC  delivered  Processing  a [{uid}, request_id request]"]
