# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flushing the outbox: closing the runs that vanished and delivering what waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import Find, ReadingFailed
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Refusal
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import LeftOver
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.notices import notice
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import DelegatedDelivery, TaskDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.stale_changes import StaleRule, stale_events

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.shared_flush import SharedFlush

# What names every other integration.
_ALL = frozenset({"true", "yes", "all"})


class _Others(NamedTuple):
    """What lies in the outbox for other integrations, by what becomes of it."""

    adopted: Sequence[LeftOver] = ()
    dropped: Sequence[LeftOver] = ()
    left: Sequence[LeftOver] = ()

    def as_result(self, language: str) -> dict[str, Any]:
        kinds = {
            "adopted": ("flush-adopted", self.adopted),
            "dropped": ("flush-dropped", self.dropped),
            "others": ("flush-left", self.left),
        }
        lines = [
            notice(language, what, integration=each.name, what=each.text(language))
            for what, left in kinds.values()
            for each in left
        ]
        return {
            "of_others": lines,
            **{
                name: [
                    {"integration": each.name, "same_address": each.same_address, "text": each.text(language)}
                    for each in left
                ]
                for name, (_what, left) in kinds.items()
            },
        }


class Flush:
    """One flush.

    :param options: the task's options; also ``language``, of what is said, and ``outcome_labels``.
    :param connection: where to deliver to.
    :param store: what is flushed.
    :param delivery: delivers it.
    :param find: asks Flashduty.
    :param beside: other integrations that are flushed as well, so that nothing lies there without a key for them.
    :raises InvalidQuery: naming the option and what is wrong with it.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        connection: Connection,
        store: Store,
        delivery: TaskDelivery,
        find: Find,
        beside: Sequence[Connection] = (),
    ) -> None:
        self._connection = connection
        self._beside = beside
        self._language = str(options.get("language") or "en")
        self._store = store
        self._delivery = delivery
        self._find = find
        self._wait = float(options["wait"])
        self._stale = StaleRule.from_options(options, connection)
        self._adopt = _chosen(options.get("adopt"))
        self._drop = _chosen(options.get("drop"))

    def preview(self) -> dict[str, Any]:
        """What :meth:`flush` would find; writes and sends nothing."""
        return self._beside_shared(self._previewed)

    def flush(self, seconds: float | None = None) -> dict[str, Any]:
        """Close, deliver, and report what has become of it.

        :param seconds: how long to wait at most, instead of the option ``wait``.
        :raises OutboxError: where the outbox cannot be used.
        :raises OSError: where nobody can deliver.
        """
        end = time.monotonic() + (self._wait if seconds is None else seconds)
        return self._beside_shared(lambda shared: self._flushed(shared, end))

    def _beside_shared(self, work: Callable[[SharedFlush | None], dict[str, Any]]) -> dict[str, Any]:
        """What the work returns, with the shared outbox where there is one, and that only a part was done if so."""
        # A host that a task is delegated to sends what it is given, and no courier is asked.
        if not self._store.connection.outbox_url or isinstance(self._delivery, DelegatedDelivery):
            return work(None)
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.shared_flush import SharedFlush

        with closing(SharedFlush(self._connection)) as shared:
            result = work(shared)
        if shared.problem is None:
            return result
        problem = notice(self._language, "flush-not-shared", problem=shared.problem)
        return {**result, "failed": True, "msg": f"{result['msg']}. {problem}" if "msg" in result else problem}

    def _previewed(self, shared: SharedFlush | None) -> dict[str, Any]:
        vanished, waiting = set[str](), set[str]()
        others = _Others()
        if self._store.exists:
            others = self._store.look(self._others)
            vanished = self._store.look(lambda outbox: {*outbox.runs.vanished()})
            waiting = self._store.look(_waiting)
        if shared is not None:
            vanished |= shared.vanished()
            waiting |= shared.pending()
        stale, problem = self._stale_events(shared)
        changed = bool(vanished or stale or waiting or others.adopted or others.dropped)
        return self._result(changed, len(vanished), stale, others, problem, waiting=len(waiting))

    def _flushed(self, shared: SharedFlush | None, end: float) -> dict[str, Any]:
        others = self._store.do(self._settle_others) if self._store.exists else _Others()
        vanished = self._store.do(lambda outbox: outbox.runs.close_all_vanished()) if self._store.exists else 0
        stale, problem = self._stale_events(shared)
        for event in stale:
            self._store.do(lambda outbox, event=event: outbox.put(event))  # type: ignore[misc]
        if shared is not None:
            # The courier needs an outbox here also where there was none.
            self._store.do(shared.begin)
            vanished += shared.closed
        if not self._store.exists:
            return self._result(False, vanished, stale, others, problem)
        own = self._store.do(_try_again_now)
        waited = own if shared is None else own | shared.waited

        def is_over(outbox: Outbox) -> bool:
            return not outbox.events.pending() and (shared is None or not shared.waiting())

        if waited:
            self._delivery.wait(is_over, max(0.0, end - time.monotonic()))
        refused = self._store.do(lambda outbox: outbox.events.take_refusals())
        delivered = self._store.look(_delivered)
        if shared is not None:
            self._store.do(shared.finish)
            refused += shared.refusals(own)
            delivered |= shared.delivered()
        waiting = self._store.look(_waiting)
        folder = self._store.folder if waiting or shared is None else shared.where
        waiting |= set() if shared is None else shared.waiting()
        if waiting:
            reason = self._store.look(lambda outbox: outbox.claims.pause.error)
            reason = reason or (None if shared is None else shared.last_error())
            problem = notice(
                self._language,
                "flush-waits" if len(waiting) == 1 else "flush-wait",
                count=len(waiting),
                folder=folder,
                reason=reason or notice(self._language, "no-answer-yet"),
            )
        changed = bool(waited or others.dropped)
        return self._result(changed, vanished, stale, others, problem, len(waited & delivered), len(waiting), refused)

    def _others(self, outbox: Outbox) -> _Others:
        """What lies there for other integrations, and what is to become of it."""
        ours = {each.integration_id(outbox.salt) for each in self._beside}
        found = outbox.integrations.left_over(self._connection.api_url)
        left = [each for each in found if each.integration not in ours]
        adopted = [each for each in left if each.same_address and _is_chosen(each, self._adopt)]
        dropped = [each for each in left if each not in adopted and _is_chosen(each, self._drop)]
        return _Others(adopted, dropped, [each for each in left if each not in [*adopted, *dropped]])

    def _settle_others(self, outbox: Outbox) -> _Others:
        others = self._others(outbox)
        outbox.integrations.adopt(others.adopted)
        outbox.integrations.drop(others.dropped)
        return others

    def _stale_events(self, shared: SharedFlush | None) -> tuple[list[ChangeEvent], str | None]:
        """The events that close what was abandoned elsewhere, and why that cannot be known."""
        if self._stale is None:
            return [], None
        in_use: set[str] = set()
        if self._store.exists:
            in_use = self._store.look(lambda outbox: outbox.events.keys_in_use())
        if shared is not None:
            in_use |= shared.keys_in_use()
        try:
            return stale_events(self._stale, self._find, time.time(), in_use), None
        except ReadingFailed as error:
            return [], notice(self._language, "stale-unknown", reason=error)

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
        result = {
            "changed": changed,
            "closed": vanished + len(stale),
            "stale": [event.change_key for event in stale],
            "delivered": delivered,
            "waiting": waiting,
            "refused": [refusal._asdict() for refusal in refused],
            **others.as_result(self._language),
        }
        return {**result, "failed": True, "msg": problem} if problem else result


class SeveralFlushes:
    """Flushes one integration after the other, and adds up what was done.

    :param flushes: each with the name of its integration.
    :param language: of what is said, en or zh.
    """

    def __init__(self, flushes: Sequence[tuple[str, Flush]], language: str) -> None:
        self._flushes = flushes
        self._language = language

    def preview(self) -> dict[str, Any]:
        """What :meth:`flush` would find; writes and sends nothing."""
        result = self._summed([(name, flush.preview()) for name, flush in self._flushes])
        result["lines"] = [notice(self._language, "flush-checked", text=line) for line in result["lines"]]
        return result

    def flush(self, seconds: float) -> dict[str, Any]:
        """Close, deliver, and report what has become of it, in so many seconds at most."""
        end, results = time.monotonic() + seconds, []
        for number, (name, flush) in enumerate(self._flushes):
            # An integration that cannot be reached leaves time for those behind it.
            share = max(0.0, end - time.monotonic()) / (len(self._flushes) - number)
            results.append((name, flush.flush(share)))
        return self._summed(results)

    def _summed(self, results: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        # What lies there for others is the same for all of these.
        whole = dict(results[0][1])
        lines, integrations, problems = [], [], []
        for name, result in results:
            counts = {key: result[key] for key in ("delivered", "waiting", "closed")}
            counts["refused"] = len(result["refused"])
            line = notice(self._language, "flush-counts", **counts)
            if len(results) > 1:
                line = notice(self._language, "flush-of-integration", integration=name, text=line)
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
    return _waiting(outbox)


def _delivered(outbox: Outbox) -> set[str]:
    return outbox.events.uids("delivered")


def _waiting(outbox: Outbox) -> set[str]:
    return outbox.events.uids("waiting", "sending")
