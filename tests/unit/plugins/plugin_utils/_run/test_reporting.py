# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes to one integration: when a change counts as reported, and what is stored where that was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change, Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.reporting import Reporting
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings

CONNECTION = Connection("http://127.0.0.1:1", "the key of web")


class Events:
    """Makes events that say nothing but their status."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @staticmethod
    def started(change: Change, _progress: object) -> ChangeEvent:
        return ChangeEvent("Processing", change.target, "t")

    joined = staticmethod(lambda change: ChangeEvent("Processing", change.target, "t"))

    @staticmethod
    def done(change: Change) -> ChangeEvent:
        return ChangeEvent("Done", change.target, "t")


class Sink:
    """Keeps the events, or fails as it is told to."""

    store = None

    def __init__(self) -> None:
        self.stored: list[tuple[str, str]] = []
        self.problem: BaseException | None = None

    def put(self, events: Sequence[ChangeEvent]) -> None:
        if self.problem is not None:
            raise self.problem
        self.stored += [(event.change_key, event.change_status) for event in events]

    close = put

    def remark(self, changes: Sequence[Change]) -> None:
        """Nobody looks at them."""


class Part:
    """The reporting of a play on web1 and web2, with the scope ``host``."""

    def __init__(self, settings: Settings) -> None:
        changes = Changes(settings, Notices())
        targets = [TargetHost(name, (), {}) for name in ("web1", "web2")]
        self.web1, self.web2 = changes.add_play(["all"], targets, "site.yml", None, 0.0)
        self.sink = Sink()
        self.reporting = Reporting("run", CONNECTION, changes, Events(settings), self.sink)  # type: ignore[arg-type]

    def close(self) -> None:
        self.reporting.close(lambda _events, change: Events.done(change))


@pytest.fixture
def part(made_settings: Callable[..., Settings]) -> Part:
    return Part(made_settings(scope="host"))


def test_what_was_reported_is_closed_once(part: Part) -> None:
    assert [event.change_key for event in part.reporting.report([part.web1], None)] == ["web1"]
    assert part.reporting.is_open
    assert part.reporting.as_current.change_of("web2") is None
    joined = part.reporting.as_current.change_of("web1")
    assert joined is not None
    assert joined.change_key == "web1"
    part.close()
    assert not part.reporting.is_open
    assert part.sink.stored == [("web1", "Processing"), ("web1", "Done")]


def test_what_could_not_be_stored_was_not_reported(part: Part) -> None:
    part.sink.problem = OutboxError("full")
    with pytest.raises(OutboxError):
        part.reporting.report([part.web1, part.web2], None)
    assert not part.reporting.is_open
    part.sink.problem = None
    part.reporting.report([part.web2], None)
    part.close()
    assert part.sink.stored == [("web2", "Processing"), ("web2", "Done")]


def test_where_storing_was_interrupted_beginning_and_end_are_stored(part: Part) -> None:
    part.sink.problem = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        part.reporting.report([part.web1], None)
    # It may have been stored, so somebody has to close it.
    assert part.reporting.is_open
    part.sink.problem = None
    part.close()
    assert part.sink.stored == [("web1", "Processing"), ("web1", "Done")]


@pytest.mark.parametrize(("report_when", "awaits"), [("always", False), ("changed", True)])
def test_a_change_is_awaited_until_all_have_begun(
    made_settings: Callable[..., Settings], report_when: str, awaits: bool
) -> None:
    part = Part(made_settings(scope="host", report_when=report_when))
    assert part.reporting.awaits_change is awaits
    part.reporting.report([part.web1], None)
    assert part.reporting.awaits_change is awaits
    part.reporting.report([part.web2], None)
    assert not part.reporting.awaits_change
