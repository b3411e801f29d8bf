# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a run is reported to one integration: its changes, and their events until they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change, Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import RunDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Progress

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import Preview


class Reporting:
    """The part of a run that one integration gets.

    :ivar run: the id of this part of the run in the outbox.
    :ivar connection: the integration.
    :ivar changes: of the hosts that report to it.
    :ivar events: makes their events.
    :ivar sink: takes these.
    """

    def __init__(
        self,
        run: str,
        connection: Connection,
        changes: Changes,
        events: Events,
        sink: RunDelivery | Preview,
    ) -> None:
        self.run = run
        self.connection = connection
        self.changes = changes
        self.events = events
        self.sink = sink
        # What is being stored: a Ctrl-C leaves open whether it was.
        self._beginning: list[ChangeEvent] = []
        self._ending: list[ChangeEvent] = []

    @property
    def is_open(self) -> bool:
        """Whether a change was reported that has not ended."""
        return bool(self.changes.open)

    @property
    def awaits_change(self) -> bool:
        """Whether a task that changes something begins a change."""
        return self.events.settings.only_changed and len(self.changes.open) != len(self.changes.all)

    @property
    def as_current(self) -> CurrentRun:
        """What the run's own tasks see of it."""
        return CurrentRun(self.run, self.sink.store if self.is_open else None, self._joined_by)

    def report(self, changes: Sequence[Change], progress: Progress | None) -> list[ChangeEvent]:
        """Report changes that begin or go on; returns their events.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        new = [change for change in changes if not change.reported]
        events = self._beginning = [self.events.started(change, progress) for change in changes]
        # Before they are stored, so that there is no moment at which nobody would close them.
        _mark(new, True)
        try:
            self.sink.put(events)
        except OutboxError:
            _mark(new, False)
            self._beginning = []
            raise
        self._beginning = []
        self.sink.remark(new)
        return events

    def close(self, last_event: Callable[[Events, Change], ChangeEvent]) -> None:
        """Store the last event of each change that is open.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        # Should this be interrupted, it is these events that are stored, and only once.
        self._ending = self._ending or [last_event(self.events, change) for change in self.changes.open]
        keys = {event.change_key for event in self._ending}
        self.sink.close([*(event for event in self._beginning if event.change_key in keys), *self._ending])
        self._beginning = []
        _mark(self.changes.all, False)

    def _joined_by(self, host: str) -> ChangeEvent | None:
        change = next((change for change in self.changes.of_host(host) if change.reported), None)
        return None if change is None else self.events.joined(change)


def _mark(changes: Iterable[Change], reported: bool) -> None:
    for change in changes:
        change.reported = reported
