# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts that share a change make of it."""

from __future__ import annotations

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import DESCRIPTION_MAX, ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part, concluded, described

EVENT = ChangeEvent("Processing", "a", "deploy")


def parts(*outcomes: str) -> list[Part]:
    return [Part(f"h{number}", outcome, "", "", float(number)) for number, outcome in enumerate(outcomes)]


def described_lines(*outcomes: str) -> list[str]:
    description: str = concluded(parts(*outcomes), EVENT, 0.0)[0]["description"]
    return description.splitlines()


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        (["done"], "Done"),
        (["done", "done"], "Done"),
        (["done", "failed"], "Canceled"),
        (["done", "started"], "Canceled"),
        (["failed"], "Canceled"),
        (["started"], "Canceled"),
    ],
)
def test_a_change_is_done_only_when_every_host_is(outcomes: list[str], status: str) -> None:
    assert concluded(parts(*outcomes), EVENT, 0.0)[0]["change_status"] == status


def test_it_ended_when_the_last_host_was_through_in_whatever_order_they_are_told() -> None:
    told = [Part("b", "done", "", "", 20.0), Part("c", "done", "", "", 30.0), Part("a", "done", "", "", 10.0)]
    assert concluded(told, EVENT, 0.0)[0]["event_time"] == 30


def test_those_that_failed_come_first_then_those_that_were_lost_and_nobody_else_is_named() -> None:
    told = [
        Part("fine", "done", "all well", "", 1.0),
        Part("lost", "started", "", "", 2.0),
        Part("broken", "failed", "disk full", "fill it", 3.0),
        Part("mute", "failed", "", "", 4.0),
    ]
    lines = concluded(told, EVENT, 0.0)[0]["description"].splitlines()
    assert len(lines) == 4
    assert "broken" in lines[0]
    assert "disk full" in lines[0]
    assert "mute" in lines[1]
    assert not lines[1].rstrip().endswith(":")
    assert "lost" in lines[2]
    assert "1 of 4" in lines[3]


def test_the_labels_name_the_hosts_and_tasks_at_fault_and_a_change_that_is_done_has_none() -> None:
    broken = [Part("a", "failed", "", "Restart", 1.0), Part("b", "failed", "", "Restart", 2.0)]
    other = [Part("c", "failed", "", "Migrate", 3.0), Part("d", "started", "", "", 4.0)]
    assert concluded([*broken, *other], EVENT, 0.0)[1] == {
        "result": "failed",
        "failed_host": "a,b,c,d",
        "failed_task": "Restart,Migrate",
    }
    assert concluded(parts("done", "started"), EVENT, 0.0)[1] == {"result": "stopped", "failed_host": "h1"}
    assert concluded(parts("done"), EVENT, 0.0)[1] == {"result": "ok"}


def test_of_many_hosts_twenty_are_named_and_the_others_counted() -> None:
    lines = described_lines(*["failed"] * 15, *["started"] * 8, "done")
    assert len(lines) == 22
    assert "3 more" in lines[20]
    assert "1 of 24" in lines[21]
    assert len(described_lines(*["failed"] * 20)) == 21


@pytest.mark.parametrize(
    ("text", "description", "whole"),
    [
        ("how it ended", "what it was about", "how it ended\nwhat it was about"),
        ("how it ended", None, "how it ended"),
        ("", "what it was about", "what it was about"),
        ("two\nlines", "a\x00b", "two\nlines\na b"),
    ],
)
def test_a_closing_event_says_how_it_ended_before_what_it_was_about(
    text: str, description: str | None, whole: str
) -> None:
    assert described(text, description) == whole


def test_a_long_description_is_cut_and_how_it_ended_stays() -> None:
    text = described("how it ended", "x" * DESCRIPTION_MAX)
    assert len(text) == DESCRIPTION_MAX
    assert text.startswith("how it ended\nxxx")
    assert text.endswith("…")
