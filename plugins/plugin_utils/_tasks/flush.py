# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flushing the outbox: closing the runs that vanished and delivering what waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import Find
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Refusal
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import LeftOver
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox, Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import DelegatedDelivery, TaskDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.shared_flush import SharedFlush, waiting
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.stale_changes import StaleRule, stale_events

# What names every other integration.
_ALL = frozenset({"true", "yes", "all"})
# What may become of what lies there for other integrations, and how that is said.
_OF_OTHERS = {"adopted": "flush-adopted", "dropped": "flush-dropped", "others": "flush-left"}

# What lies in the outbox for other integrations, by what becomes of it.
_Others = Mapping[str, Sequence[LeftOver]]
_NO_OTHERS: _Others = dict.fromkeys(_OF_OTHERS, ())


class Flush:
    """One flush of the outbox of this node, and of the shared one where there is one.

    :param options: the task's options; also ``outcome_labels``.
    :param connection: where to deliver to.
    :param store: what is flushed.
    :param delivery: delivers it.
    :param find: asks Flashduty.
    :param notices: say what is found and done.
    :param beside: other integrations that are flushed as well, so that nothing lies there without a key for them.
    :raises InvalidValue: naming the option and what is wrong with it.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        connection: Connection,
        store: Store,
        delivery: TaskDelivery,
        find: Find,
        notices: Notices,
        beside: Sequence[Connection] = (),
    ) -> None:
        self._connection = connection
        self._beside = beside
        self._notices = notices
        self._store = store
        self._delivery = delivery
        self._find = find
        self._stale = StaleRule.from_options(options, connection)
        self._adopt = _chosen(options.get("adopt"))
        self._drop = _chosen(options.get("drop"))
        # A host that a task is delegated to sends what it is given, and no courier is asked.
        self._shared = connection._replace(outbox_url=None) if isinstance(delivery, DelegatedDelivery) else connection

    def preview(self) -> dict[str, Any]:
        """What :meth:`flush` would find; writes and sends nothing."""
        with closing(SharedFlush(self._shared)) as shared:
            return self._completed(self._previewed(shared), shared)

    def flush(self, seconds: float) -> dict[str, Any]:
        """Close, deliver, wait for that at most so many seconds, and report what has become of it.

        :raises OutboxError: where the outbox cannot be used.
        :raises OSError: where nobody can deliver.
        """
        end = time.monotonic() + seconds
        with closing(SharedFlush(self._shared)) as shared:
            return self._completed(self._flushed(shared, end), shared)

    def _completed(self, result: dict[str, Any], shared: SharedFlush) -> dict[str, Any]:
        """The result, which has failed where the shared outbox could not be flushed."""
        if shared.problem is None:
            return result
        problem = self._notices.said("flush-not-shared", problem=shared.problem)
        return {**result, "failed": True, "msg": f"{result['msg']}. {problem}" if "msg" in result else problem}

    def _previewed(self, shared: SharedFlush) -> dict[str, Any]:
        others, vanished = _NO_OTHERS, shared.vanished()
        if self._store.exists:
            others = self._store.look(self._others)
            vanished |= self._store.look(lambda outbox: {*outbox.runs.vanished()})
        waits = self._looked(shared, waiting)
        stale, problem = self._stale_events(shared)
        changed = bool(vanished or stale or waits or others["adopted"] or others["dropped"])
        return self._result(changed, len(vanished), stale, others, problem, waiting=len(waits))

    def _flushed(self, shared: SharedFlush, end: float) -> dict[str, Any]:
        store, others, vanished = self._store, _NO_OTHERS, 0
        if store.exists:
            others = store.do(self._settle_others)
            vanished = store.do(lambda outbox: outbox.runs.close_all_vanished())
        stale, problem = self._stale_events(shared)
        for event in stale:
            store.do(lambda outbox, event=event: outbox.put(event))  # type: ignore[misc]
        if not store.exists and not self._shared.outbox_url:
            return self._result(False, vanished, stale, others, problem)
        # With a shared outbox the courier needs one here, also where there was none.
        vanished += store.do(shared.begin)
        own = store.do(_try_again_now)
        waited = own | shared.waited

        def is_over(outbox: Outbox) -> bool:
            return not outbox.events.pending() and not shared.still_waiting()

        if waited:
            self._delivery.wait(is_over, max(0.0, end - time.monotonic()))
        refused = store.do(lambda outbox: outbox.events.take_refusals())
        store.do(shared.finish)
        refused += shared.refusals(own)
        delivered = waited & self._looked(shared, _delivered)
        here = store.look(waiting)
        waits = here | shared.still_waiting()
        if waits:
            reason = store.look(lambda outbox: outbox.claims.pause.error)
            problem = self._notices.said(
                "flush-waits" if len(waits) == 1 else "flush-wait",
                count=len(waits),
                folder=store.folder if here else shared.where,
                reason=reason or shared.last_error() or self._notices.said("no-answer-yet"),
            )
        changed = bool(waited or others["dropped"])
        return self._result(changed, vanished, stale, others, problem, len(delivered), len(waits), refused)

    def _looked(self, shared: SharedFlush, query: Callable[[AnyOutbox], set[str]]) -> set[str]:
        """What this node's outbox and the shared one answer."""
        return shared.look(query) | (self._store.look(query) if self._store.exists else set())

    def _others(self, outbox: Outbox) -> _Others:
        """What lies there for other integrations, and what is to become of it."""
        ours = {each.integration_id(outbox.salt) for each in self._beside}
        found: dict[str, list[LeftOver]] = {name: [] for name in _OF_OTHERS}
        for left in outbox.integrations.left_over(self._connection.api_url):
            if left.integration in ours:
                continue
            if left.same_address and _is_chosen(left, self._adopt):
                found["adopted"].append(left)
            else:
                found["dropped" if _is_chosen(left, self._drop) else "others"].append(left)
        return found

    def _settle_others(self, outbox: Outbox) -> _Others:
        others = self._others(outbox)
        outbox.integrations.adopt(others["adopted"])
        outbox.integrations.drop(others["dropped"])
        return others

    def _stale_events(self, shared: SharedFlush) -> tuple[list[ChangeEvent], str | None]:
        """The events that close what was abandoned elsewhere, and why that cannot be known."""
        if self._stale is None:
            return [], None
        in_use = self._looked(shared, lambda outbox: outbox.events.keys_in_use())
        try:
            return stale_events(self._stale, self._find, time.time(), in_use, self._notices), None
        except ApiError as error:
            return [], self._notices.said("stale-unknown", reason=error)

    def _result(
        self,
        changed: bool,
        vanished: int,
        stale: list[ChangeEvent],
        others: _Others,
        problem: str | None,
        delivered: int = 0,
        waiting: int = 0,
        refused: Sequence[Refusal] = (),
    ) -> dict[str, Any]:
        notices = self._notices
        result = {
            "changed": changed,
            "closed": vanished + len(stale),
            "stale": [event.change_key for event in stale],
            "delivered": delivered,
            "waiting": waiting,
            "refused": [refusal._asdict() for refusal in refused],
            "of_others": [
                notices.said(_OF_OTHERS[name], integration=left.name, what=left.text)
                for name, found in others.items()
                for left in found
            ],
        }
        for name, found in others.items():
            texts = [(left, left.text.in_language(notices.language)) for left in found]
            result[name] = [
                {"integration": left.name, "same_address": left.same_address, "text": text} for left, text in texts
            ]
        return {**result, "failed": True, "msg": problem} if problem else result


def preview_all(flushes: Sequence[tuple[str, Flush]], notices: Notices) -> dict[str, Any]:
    """What :func:`flush_all` would find; writes and sends nothing.

    :param flushes: each with the name of its integration.
    """
    result = _summed([(name, flush.preview()) for name, flush in flushes], notices)
    result["lines"] = [notices.said("flush-checked", text=line) for line in result["lines"]]
    return result


def flush_all(flushes: Sequence[tuple[str, Flush]], seconds: float, notices: Notices) -> dict[str, Any]:
    """Flush one integration after the other, in so many seconds at most, and add up what was done.

    :param flushes: each with the name of its integration.
    """
    end, results = time.monotonic() + seconds, []
    for number, (name, flush) in enumerate(flushes):
        # An integration that cannot be reached leaves time for those behind it.
        share = max(0.0, end - time.monotonic()) / (len(flushes) - number)
        results.append((name, flush.flush(share)))
    return _summed(results, notices)


def _summed(results: Sequence[tuple[str, dict[str, Any]]], notices: Notices) -> dict[str, Any]:
    # What lies there for others is the same for all of these.
    whole = dict(results[0][1])
    lines, integrations, problems = [], [], []
    for name, result in results:
        counts = {key: result[key] for key in ("delivered", "waiting", "closed")}
        counts["refused"] = len(result["refused"])
        line = notices.said("flush-counts", **counts)
        if len(results) > 1:
            line = notices.said("flush-of-integration", integration=name, text=line)
        lines.append(line)
        integrations.append({"integration": name, **counts})
        problems += [str(result["msg"])] if "msg" in result else []
    for _name, result in results[1:]:
        whole["changed"] = whole["changed"] or result["changed"]
        for key in ("closed", "stale", "delivered", "waiting", "refused"):
            whole[key] += result[key]
    whole.update(lines=lines, integrations=integrations)
    return {**whole, "failed": True, "msg": " ".join(problems)} if problems else whole


def _chosen(names: Sequence[str] | None) -> frozenset[str]:
    return frozenset(str(name).strip().lower() for name in names or ())


def _is_chosen(left: LeftOver, names: frozenset[str]) -> bool:
    return left.name in names or bool(names & _ALL)


def _try_again_now(outbox: Outbox) -> set[str]:
    """The uids of the events that wait, which nothing keeps from being tried now."""
    outbox.claims.release_dead()
    outbox.claims.clear_pause()
    return waiting(outbox)


def _delivered(outbox: AnyOutbox) -> set[str]:
    return outbox.events.uids("delivered")
