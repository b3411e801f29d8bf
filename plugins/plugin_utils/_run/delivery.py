# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The delivery of a run's events: they are stored in the outbox, and the courier sends them."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import CourierClient
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import DOCTOR, FLUSH, Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import GIVEN_UP
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import counted

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import RetryState

# Seconds; what another integration has begun since may be on its way.
_OTHERS_OLDER_THAN = 600.0


class EventSink(Protocol):
    """Where the events of a run go."""

    @property
    def store(self) -> Store | None:
        """Where they are stored; None where they are not."""

    def deliver_what_waits(self) -> None:
        """Events of earlier runs."""

    def put(self, events: Sequence[ChangeEvent]) -> None:
        """Events of changes that begin or go on."""

    def remark(self, name: str, reason: str) -> None:
        """A line about these events for whoever looks at them."""

    def close(self, events: Sequence[ChangeEvent]) -> None:
        """The last events of the run."""

    def wait(self, seconds: float) -> None:
        """Wait for the delivery at most so many seconds, and tell the user what has become of it."""


class RunDelivery:
    """Stores the events of a run, wakes the courier, and waits for it.

    :param state_dir: the folder of the outbox.
    :param process: the process that closes the run, or vanishes.
    :param run: the run's id.
    :param signals: those of that process.
    :param vanished_text: what the run's changes say then.
    :param interrupted_text: what they say where it was interrupted before.
    :param vanished_result: their label ``result`` then; empty where no label is to say how they ended.
    :param beside: the ids of all integrations that the run has keys of.
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
        beside: Callable[[], Container[str]] = tuple,
    ) -> None:
        self._beside = beside
        self._process = process
        self._run = run
        self._watch = Watch(process, vanished_text, vanished_result)
        self._is_begun = False
        self._nobody = ""
        self._notices = notices
        self.store = Store(state_dir, connection, process)
        self._courier = CourierClient(self.store, connection, process, run, signals, interrupted_text)

    def put(self, events: Sequence[ChangeEvent]) -> None:
        """Events of changes that begin or go on.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        if not self._is_begun:
            # Before there is anything to close, so that there is no moment at which nobody would.
            self._wake_courier()
            self._is_begun = True
        self.store.do(lambda outbox: outbox.runs.open(self._run, self._watch, events))
        self._show_notices()
        self._wake_courier()

    def deliver_what_waits(self) -> None:
        """Events of earlier runs."""
        if self.store.exists:
            try:
                waiting = self.store.look(lambda outbox: outbox.events.pending() or outbox.runs.vanished())
            except OutboxError as error:
                self._notices.debug(f"what waits is left to the next run: {error}")
                return
            if waiting:
                self._wake_courier()

    def remark(self, name: str, reason: str) -> None:
        """Nobody looks at them."""

    def close(self, events: Sequence[ChangeEvent]) -> None:
        """The last events of the run.

        :raises OutboxError: where they cannot be stored anywhere.
        """
        self.store.do(lambda outbox: outbox.runs.close(self._run, events))
        self._show_notices()

    def wait(self, seconds: float) -> None:
        """Wait for the delivery at most so many seconds, and tell the user what has become of it."""
        before = self._try_now()
        if self._wake_courier():
            until = time.time() + seconds
            try:
                self._courier.wait(self._is_over(before, until), seconds)
            except (OSError, NotImplementedError) as error:
                self._nobody = str(error)
            except OutboxError as error:
                self._notices.debug(f"the delivery cannot be waited for: {error}")
        try:
            self.store.look(self._tell_what_became_of_it)
        except OutboxError as error:  # stored it is, and whoever delivers it will tell
            self._notices.debug(f"the state of the delivery cannot be read: {error}")

    def _show_notices(self) -> None:
        for which, values in self.store.take_notices():
            self._notices.warning(which, **values)

    def _wake_courier(self) -> bool:
        """Whether there is a courier."""
        self._nobody = ""
        try:
            self._courier.wake()
        except (OSError, OutboxError, NotImplementedError) as error:
            self._nobody = self._notices.said("courier-not-started", problem=error)
            self._notices.debug(self._nobody)
        return not self._nobody

    def _try_now(self) -> RetryState | None:
        try:
            return self.store.look(lambda outbox: outbox.claims.try_now(self._run))
        except OutboxError:  # in use for now; the courier is woken in any case
            return None

    def _is_over(self, before: RetryState | None, until: float) -> Callable[[Outbox], bool]:
        # Where nothing gets on, the courier goes on trying when the run has gone.
        return lambda outbox: not outbox.events.pending(self._run) or outbox.claims.is_stuck(self._run, before, until)

    def _tell_what_became_of_it(self, outbox: Outbox) -> None:
        told = outbox.events.take_refusals()
        given_up = [refusal for refusal in told if refusal.error_code == GIVEN_UP]
        refused = [refusal for refusal in told if refusal.error_code != GIVEN_UP]
        is_delivered = not outbox.events.pending(self._run)
        waiting = 0 if is_delivered else outbox.events.pending()
        reason = outbox.claims.pause.error
        if waiting and self._nobody:
            self._warn("nobody-delivers", count=waiting, reason=self._nobody, folder=outbox.folder)
        elif waiting:
            reason = reason or self._notices.said("no-answer-yet")
            # The first process of a container takes all others with it.
            name = "not-delivered-in-container" if self._process.pid == 1 else "not-delivered-yet"
            self._warn(name, count=waiting, reason=reason, folder=outbox.folder)
        problem = outbox.claims.sharing_problem if self.store.connection.outbox_url else None
        if problem is not None:
            # Once for all integrations: they share one outbox.
            self._notices.warning("not-shared", subject="not-shared", problem=problem)
        if is_delivered:
            self._tell_of_others(outbox)
        if given_up:
            self._warn("given-up", count=len(given_up), reason=given_up[0].error)
        if refused:
            first = refused[0]
            self._warn(
                "refused",
                count=len(refused),
                reason=first.error,
                http_status=first.http_status,
                change_key=first.change_key,
                request_id=first.request_id or "none",
            )

    def _tell_of_others(self, outbox: Outbox) -> None:
        beside = self._beside()
        for left in outbox.integrations.left_over(older_than=_OTHERS_OLDER_THAN):
            if left.integration not in beside:
                self._warn("of-other-integration", integration=left.name, what=left.text)

    def _warn(self, name: str, count: int = 0, **values: Any) -> None:
        self._notices.warning(name, events=counted(count, "event"), flush=FLUSH, doctor=DOCTOR, **values)
