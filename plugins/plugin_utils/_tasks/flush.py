# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flushing the outbox: closing the runs that vanished and delivering what waits.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import Find, ReadingFailed
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Refusal
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import LeftOver
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import TaskDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.stale_changes import StaleRule, stale_events

# What names every other integration.
_ALL = frozenset({"true", "yes", "all"})


class _Others(NamedTuple):
    """What lies in the outbox for other integrations, by what becomes of it."""

    adopted: Sequence[LeftOver] = ()
    dropped: Sequence[LeftOver] = ()
    left: Sequence[LeftOver] = ()

    def as_result(self) -> dict[str, Any]:
        kinds = {
            "adopted": ("delivered with this key", self.adopted),
            "dropped": ("given up", self.dropped),
            "others": ("left for its own key", self.left),
        }
        lines = [
            f"of the integration {each.name}, {what}: {each.text()}" for what, left in kinds.values() for each in left
        ]
        return {
            "of_others": lines,
            **{
                name: [
                    {"integration": each.name, "same_address": each.same_address, "text": each.text()} for each in left
                ]
                for name, (_what, left) in kinds.items()
            },
        }


class Flush:
    """One flush.

    :param options: the task's options.
    :param connection: where to deliver to.
    :param store: what is flushed.
    :param delivery: delivers it.
    :param find: asks Flashduty.
    :raises InvalidQuery: naming the option and what is wrong with it.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        connection: Connection,
        store: Store,
        delivery: TaskDelivery,
        find: Find,
    ) -> None:
        self._api_url = connection.api_url
        self._store = store
        self._delivery = delivery
        self._find = find
        self._wait = float(options["wait"])
        self._stale = StaleRule.from_options(options, connection)
        self._adopt = _chosen(options.get("adopt"))
        self._drop = _chosen(options.get("drop"))

    def preview(self) -> dict[str, Any]:
        """What :meth:`flush` would find; writes and sends nothing."""
        vanished = waiting = 0
        others = _Others()
        if self._store.exists:
            others = self._store.look(self._others)
            vanished = self._store.look(lambda outbox, integration: len(outbox.runs.vanished(integration)))
            waiting = self._store.look(_pending)
        stale, problem = self._stale_events()
        changed = bool(vanished or stale or waiting or others.adopted or others.dropped)
        result = {**self._result(changed, vanished, stale, 0, waiting), **others.as_result()}
        return {**result, "failed": True, "msg": problem} if problem else result

    def flush(self) -> dict[str, Any]:
        """Close, deliver, and report what has become of it.

        :raises OutboxError: where the outbox cannot be used.
        :raises OSError: where nobody can deliver.
        """
        end = time.monotonic() + self._wait
        others = self._store.do(self._settle_others) if self._store.exists else _Others()
        vanished = self._store.do(_close_vanished) if self._store.exists else 0
        stale, problem = self._stale_events()
        for event in stale:
            self._store.do(lambda outbox, integration, event=event: outbox.put(integration, event))  # type: ignore[misc]
        if not self._store.exists:
            result = {**self._result(False, vanished, stale, 0, 0), **others.as_result()}
            return {**result, "failed": True, "msg": problem} if problem else result
        waited = self._store.do(_try_again_now)
        if waited:
            self._delivery.wait(_is_empty, max(0.0, end - time.monotonic()))
        waiting = self._store.look(_pending)
        refused = self._store.do(lambda outbox, integration: outbox.events.take_refusals(integration))
        delivered = len(waited & self._store.look(_delivered))
        changed = bool(waited or others.dropped)
        result = {**self._result(changed, vanished, stale, delivered, waiting, refused), **others.as_result()}
        if waiting:
            reason = self._store.look(lambda outbox, integration: outbox.claims.last_error(integration))
            still = "event still waits" if waiting == 1 else "events still wait"
            problem = f"{waiting} {still} in {self._store.folder}: {reason or 'no answer yet'}. Flush again later"
        return {**result, "failed": True, "msg": problem} if problem else result

    def _others(self, outbox: Outbox, integration: str) -> _Others:
        """What lies there for other integrations, and what is to become of it."""
        left = outbox.integrations.left_over(integration, self._api_url)
        adopted = [each for each in left if each.same_address and _is_chosen(each, self._adopt)]
        dropped = [each for each in left if each not in adopted and _is_chosen(each, self._drop)]
        return _Others(adopted, dropped, [each for each in left if each not in [*adopted, *dropped]])

    def _settle_others(self, outbox: Outbox, integration: str) -> _Others:
        others = self._others(outbox, integration)
        outbox.integrations.adopt(integration, others.adopted)
        outbox.integrations.drop(others.dropped)
        return others

    def _stale_events(self) -> tuple[list[ChangeEvent], str | None]:
        """The events that close what was abandoned elsewhere, and why that cannot be known."""
        if self._stale is None:
            return [], None
        in_use: set[str] = set()
        if self._store.exists:
            in_use = self._store.look(lambda outbox, integration: outbox.events.keys_in_use(integration))
        try:
            return stale_events(self._stale, self._find, time.time(), in_use), None
        except ReadingFailed as error:
            return [], f"Flashduty cannot be asked for stale changes: {error}"

    @staticmethod
    def _result(
        changed: bool,
        vanished: int,
        stale: list[ChangeEvent],
        delivered: int,
        waiting: int,
        refused: Sequence[Refusal] = (),
    ) -> dict[str, Any]:
        return {
            "changed": changed,
            "closed": vanished + len(stale),
            "stale": [event.change_key for event in stale],
            "delivered": delivered,
            "waiting": waiting,
            "refused": [refusal._asdict() for refusal in refused],
        }


def _chosen(names: Sequence[str] | None) -> frozenset[str]:
    return frozenset(str(name).strip().lower() for name in names or ())


def _is_chosen(left: LeftOver, names: frozenset[str]) -> bool:
    return left.name in names or bool(names & _ALL)


def _close_vanished(outbox: Outbox, integration: str) -> int:
    return sum(outbox.runs.close_vanished(run) for run in outbox.runs.vanished(integration))


def _try_again_now(outbox: Outbox, integration: str) -> set[str]:
    """The uids of the events that wait, which nothing keeps from being tried now."""
    outbox.claims.release_dead(integration)
    outbox.claims.clear_pause(integration)
    return outbox.events.uids(integration, "waiting", "sending")


def _delivered(outbox: Outbox, integration: str) -> set[str]:
    return outbox.events.uids(integration, "delivered")


def _pending(outbox: Outbox, integration: str) -> int:
    return outbox.events.pending(integration)


def _is_empty(outbox: Outbox, integration: str) -> bool:
    return not outbox.events.pending(integration)
