# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a task's event is delivered: by the courier, or through the host that the task is delegated to."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import (
    CourierClient,
    requests_is_missing,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.exchange import Exchange
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

MODULE = "flashcat.flashduty.flashduty_change"
# Seconds.
_POLL = 0.05

Done = Callable[[Outbox], bool]


class TaskDelivery(ABC):
    """Sees what a task has stored delivered.

    :ivar lease: seconds for which it claims an event that is stored, so that nobody else sends it; None where the
        courier does that.
    """

    lease: float | None = None

    @abstractmethod
    def wait(self, done: Done, seconds: float, change_key: str | None = None, claim: Claim | None = None) -> None:
        """Wait until ``done`` says so of the outbox, at most so many seconds.

        :param change_key: the change that is waited for; None for all.
        :param claim: on the first event of that change, where the caller has it.
        :raises OSError: where nobody can deliver.
        :raises OutboxError: where the outbox cannot be used.
        """


class CourierDelivery(TaskDelivery):
    """Delivery by the courier of ansible-playbook."""

    def __init__(self, store: Store, process: Process) -> None:
        self._client = CourierClient(store, process)

    def wait(self, done: Done, seconds: float, change_key: str | None = None, claim: Claim | None = None) -> None:
        """Wait for the courier, which sends all changes."""
        problem = requests_is_missing()
        if problem is not None:
            raise OSError(problem)
        self._client.wake()
        self._client.wait(done, seconds)


class DelegatedDelivery(TaskDelivery):
    """Delivery by the module on the host that a task is delegated to, which sends the bodies that it is given.

    :param execute: runs a module there with arguments, and returns its result.
    :param arguments: those that say how that host reaches the API.
    """

    def __init__(
        self,
        store: Store,
        execute: Callable[[str, Mapping[str, Any]], Mapping[str, Any]],
        arguments: Mapping[str, Any],
    ) -> None:
        self._store = store
        self._execute = execute
        self._arguments = arguments
        self._exchange = Exchange(store.connection, self._push)
        self._problem = ""
        # A courier may have no way to the API.
        self.lease = self._exchange.lease

    def wait(self, done: Done, seconds: float, change_key: str | None = None, claim: Claim | None = None) -> None:
        """Send what waits, the earlier events of a change first."""
        end = time.monotonic() + seconds
        with self._store.opened() as outbox:
            while not done(outbox) and time.monotonic() < end:
                found = claim or outbox.claims.claim(self._exchange.lease, change_key)
                claim = None
                if isinstance(found, Claim):
                    self._exchange.push(found)(outbox)
                    if self._problem:
                        raise OSError(self._problem)
                else:
                    until = time.time() + _POLL if found is None else found
                    time.sleep(max(0.0, min(_POLL, until - time.time(), end - time.monotonic())))

    def _push(self, body: str, budget: float) -> str:
        try:
            result = self._execute(MODULE, {**self._arguments, **json.loads(body), "timeout": budget})
        except AnsibleError as error:  # the host cannot be reached, or has no Python
            result = {"msg": str(error).partition("\n")[0]}
        if result.get("request_id") and not result.get("failed"):
            return str(result["request_id"])
        if "answer" in result:
            raise ApiError.from_dict(result["answer"])
        self._problem = str(result.get("msg") or result.get("module_stderr") or "the module failed without a message")
        raise ApiError(self._problem, retry=True)
