# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of a run's events: into the outbox, and from there with the courier.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox, Tried
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import Dispatch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals

FLUSH = "ansible-playbook flashcat.flashduty.flush"


class Road(Protocol):
    """Where the events of a run go."""

    @property
    def folder(self) -> str:
        """The outbox's folder; empty where there is none."""

    @property
    def integration(self) -> str:
        """How the outbox knows the integration."""

    def deliver_what_waits(self) -> None:
        """Events of earlier runs."""

    def put(self, events: Sequence[ChangeEvent]) -> None:
        """Events of changes that begin or go on."""

    def close(self, events: Sequence[ChangeEvent]) -> None:
        """The last events of the run."""

    def wait(self, seconds: float) -> None:
        """Wait for the delivery at most so many seconds, and tell the user what has become of it."""


class RunOutbox:
    """The road to Flashduty.

    :param wanted: the folder of the outbox, as configured.
    :param run: the run's id.
    :param process: the process that closes the run, or vanishes.
    :param signals: those of that process.
    :param vanished_text: what the run's changes say then.
    :param interrupted_text: what they say where it was interrupted before.
    :param warn: shows a warning to the user.
    :param tell: shows a detail to whoever asks for it.
    """

    def __init__(
        self,
        wanted: str,
        connection: Connection,
        process: Process,
        run: str,
        signals: Signals,
        vanished_text: str,
        interrupted_text: str,
        warn: Callable[[str], object],
        tell: Callable[[str], object],
    ) -> None:
        self._process = process
        self._run = run
        self._vanished_text = vanished_text
        self._is_begun = False
        self._warn = warn
        self._tell = tell
        self._dispatch = Dispatch(wanted, connection, process, run, signals=signals, interrupted_text=interrupted_text)

    @property
    def folder(self) -> str:
        """The folder of the outbox that is used."""
        return self._dispatch.folder

    @property
    def integration(self) -> str:
        """How the outbox knows the integration."""
        return self._dispatch.integration

    def put(self, events: Sequence[ChangeEvent]) -> None:
        """Events of changes that begin or go on."""
        if not self._is_begun:
            # Before there is anything to close, so that there is no moment at which nobody would.
            self._call()
            self._is_begun = True
        self._dispatch.store(
            lambda outbox, integration: outbox.open_run(
                self._run, integration, self._process, self._vanished_text, events
            )
        )
        self._tell_of_the_outbox()
        self._call()

    def deliver_what_waits(self) -> None:
        """Events of earlier runs."""
        if Outbox.exists(self.folder):
            try:
                with Outbox(self.folder) as outbox:
                    waiting = outbox.pending(self.integration) or outbox.vanished_runs(self.integration)
            except OutboxError as error:
                self._tell(f"what waits is left to the next run: {error}")
                return
            if waiting:
                self._call()

    def _tell_of_the_outbox(self) -> None:
        for notice in self._dispatch.take_notices():
            self._warn(notice)

    def _call(self) -> bool:
        """Call the courier; whether there is one."""
        try:
            self._dispatch.call()
        except (OSError, OutboxError, NotImplementedError) as error:
            self._tell(f"the courier cannot be started: {error}")
            return False
        return True

    def close(self, events: Sequence[ChangeEvent]) -> None:
        """The last events of the run."""
        self._dispatch.close_run(self._run, events)
        self._tell_of_the_outbox()

    def wait(self, seconds: float) -> None:
        """Wait for the delivery at most so many seconds, and tell the user what has become of it."""
        tried = self._try_now()
        if self._call():
            until = time.time() + seconds
            try:
                self._dispatch.wait(lambda outbox: self._is_over(outbox, tried, until), seconds)
            except (OSError, OutboxError, NotImplementedError) as error:
                self._tell(f"the delivery cannot be waited for: {error}")
        try:
            self._tell_what_became_of_it()
        except OutboxError as error:  # stored it is, and whoever delivers it will tell
            self._tell(f"the delivery cannot be looked at: {error}")

    def _tell_what_became_of_it(self) -> None:
        with Outbox(self.folder) as outbox:
            refused = outbox.tell_refusals(self.integration)
            delivered = not outbox.pending(self.integration, self._run)
            waiting = 0 if delivered else outbox.pending(self.integration)
            reason = outbox.last_error(self.integration)
        if waiting:
            self._warn(
                f"{_events(waiting)} not delivered yet ({reason or 'no answer yet'}), kept in {self.folder};"
                f" delivery goes on in the background and with the next run, or now: {FLUSH}"
            )
        if refused:
            first = refused[0]
            self._warn(
                f"Flashduty refused {_events(len(refused))} for good: {first.error}"
                f" (HTTP {first.http_status}, change {first.change_key}, request_id {first.request_id or 'none'})."
                " Check the integration key and the labels"
            )

    def _try_now(self) -> Tried:
        try:
            with Outbox(self.folder) as outbox:
                return outbox.try_now(self.integration, self._run)
        except OutboxError:  # in use for now; the courier is called in any case
            return Tried(0, False)

    def _is_over(self, outbox: Outbox, tried: Tried, until: float) -> bool:
        if not outbox.pending(self.integration, self._run):
            return True
        # The courier goes on trying when the run has gone.
        return outbox.is_stuck(self.integration, self._run, tried, until)


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"
