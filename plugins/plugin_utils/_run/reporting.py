# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a run is reported to one integration: its changes, and their events until they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change, Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import EventSink
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Progress


class Reporting:
    """The part of a run that one integration gets.

    :ivar connection: the integration.
    :ivar changes: of the hosts that report to it.
    :ivar sink: takes their events.
    :param run: the id of this part of the run in the outbox.
    :param events: makes the events.
    :param only_changed: whether a change is reported when a task changes something.
    """

    def __init__(
        self, run: str, connection: Connection, changes: Changes, events: Events, sink: EventSink, only_changed: bool
    ) -> None:
        self.connection = connection
        self.changes = changes
        self.sink = sink
        self._run = run
        self._events = events
        self._only_changed = only_changed
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
        return self._only_changed and len(self.changes.open) != len(self.changes.all)

    @property
    def as_current(self) -> CurrentRun:
        """What the run's own tasks see of it."""
        return CurrentRun(self._run, self.sink.store if self.is_open else None, self._joined_by)

    def prepare(self) -> None:
        """Deliver what waits, where this run may have nothing of its own to send."""
        if self._only_changed:
            self.sink.deliver_what_waits()

    def report(self, changes: Sequence[Change], progress: Progress | None) -> list[ChangeEvent]:
        """Report changes that begin or go on; returns their events.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        new = [change for change in changes if not change.reported]
        events = self._beginning = [self._events.started(change, progress) for change in changes]
        # Before they are stored, so that there is no moment at which nobody would close them.
        _mark(new, True)
        try:
            self.sink.put(events)
        except OutboxError:
            _mark(new, False)
            self._beginning = []
            raise
        self._beginning = []
        for origin in sorted({change.expected.env_origin() for change in new} - {""}):
            self.sink.remark("env-guessed", origin)
        return events

    def close(self, last_event: Callable[[Events, Change], ChangeEvent]) -> None:
        """Store the last event of each change that is open.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        # Should this be interrupted, it is these events that are stored, and only once.
        self._ending = self._ending or [last_event(self._events, change) for change in self.changes.open]
        keys = {event.change_key for event in self._ending}
        self.sink.close([*(event for event in self._beginning if event.change_key in keys), *self._ending])
        self._beginning = []
        _mark(self.changes.all, False)

    def taken(self) -> tuple[int, int]:
        """How many events of this part were delivered, and how many there are.

        :raises OutboxError: where that cannot be looked at.
        """

        def counted(outbox: Outbox) -> tuple[int, int]:
            states = outbox.events.states_of(self._run)
            return states.count("delivered"), len(states)

        return (0, 0) if self.sink.store is None else self.sink.store.look(counted)

    def _joined_by(self, host: str) -> ChangeEvent | None:
        change = next((change for change in self.changes.of_host(host) if change.reported), None)
        return None if change is None else self._events.joined(change)


def _mark(changes: Iterable[Change], reported: bool) -> None:
    for change in changes:
        change.reported = reported
