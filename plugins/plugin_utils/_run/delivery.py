# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of a run's events to the outbox and from there: they are stored, and the courier is woken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import CourierClient
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.integrations import Integrations


class RunDelivery:
    """Stores the events of a run, wakes the courier, and waits for it.

    :ivar store: where the events are stored.
    :ivar nobody: why there is no courier; empty where there is one.
    :param state_dir: the folder of the outbox.
    :param process: the process that closes the run, or vanishes.
    :param run: the run's id.
    :param signals: those of that process.
    :param vanished_text: what the run's changes say then.
    :param interrupted_text: what they say where it was interrupted before.
    :param vanished_result: their label ``result`` then; empty where no label is to say how they ended.
    """

    def __init__(
        self,
        state_dir: str,
        connection: Connection,
        process: Process,
        run: str,
        signals: Signals,
        vanished_text: str,
        interrupted_text: str,
        vanished_result: str,
        notices: Notices,
    ) -> None:
        self.process = process
        self.run = run
        self._watch = Watch(process, vanished_text, vanished_result)
        self._is_begun = False
        self.nobody = ""
        self.notices = notices
        self.store = Store(state_dir, connection, process)
        self.courier = CourierClient(self.store, process, run, signals, interrupted_text)

    def put(self, events: Sequence[ChangeEvent]) -> None:
        """Store events of changes that begin or go on.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        if not self._is_begun:
            # Before there is anything to close, so that there is no moment at which nobody would.
            self.wake_courier()
            self._is_begun = True
        self.store.do(lambda outbox: outbox.runs.open(self.run, self._watch, events))
        self._show_notices()
        self.wake_courier()

    def deliver_what_waits(self) -> None:
        """Have events of earlier runs delivered."""
        if self.store.exists:
            try:
                waiting = self.store.look(lambda outbox: outbox.events.pending() or outbox.runs.vanished())
            except OutboxError as error:
                self.notices.debug(f"what waits is left to the next run: {error}")
                return
            if waiting:
                self.wake_courier()

    def remark(self, changes: object) -> None:
        """What is of interest about changes that begin: nobody looks at them here."""

    def close(self, events: Sequence[ChangeEvent]) -> None:
        """Store the last events of the run.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        self.store.do(lambda outbox: outbox.runs.close(self.run, events))
        self._show_notices()

    def wait(self, seconds: float, integrations: Integrations | None = None) -> None:
        """Wait for the delivery at most so many seconds, and tell the user what has become of it.

        :param integrations: all that the run reports to; None for this one alone.
        """
        # The start of a run does not load it.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.wait import wait

        wait(self, seconds, integrations)

    def wake_courier(self) -> bool:
        """Whether there is a courier, who looks into the outbox now."""
        self.nobody = ""
        try:
            self.courier.wake()
        except (OSError, OutboxError, NotImplementedError) as error:
            self.nobody = self.notices.said("courier-not-started", problem=error)
            self.notices.debug(self.nobody)
        return not self.nobody

    def _show_notices(self) -> None:
        for which, values in self.store.take_notices():
            self.notices.warning(which, **values)
