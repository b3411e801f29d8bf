# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading changes back: what the options mean, what is asked of Flashduty, and which of its answers count.

Private to this collection; may change in any release.

Source: https://docs.flashcat.cloud/en/api-reference/on-call/changes/change-read-list
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Callable

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    InvalidValue,
    label_text,
    unix_seconds,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import LIST_PATH, Connection

PAGE_MAX = 100
LIMIT_MAX = 10_000
_HOUR = 3600
_DAY = 24 * _HOUR
_PAGES_MAX = 200
_TRIES = 3
# Seconds.
_BACK_OFF = 1.0
# Seconds; Flashduty wants less.
_WINDOW_MAX = 31 * _DAY
# Where a change is wanted by its key, its last event may be old, and a Ready event may lie in the future.
_KEY_WINDOW = 30 * _DAY
_KEY_AHEAD = _DAY

Find = Callable[["ChangeQuery"], "Found"]


@dataclass(frozen=True)
class Found:
    """The answer to a question.

    :ivar changes: the changes as Flashduty shows them.
    :ivar total: how many Flashduty found, before what is compared here: exact key, status, labels.
    :ivar truncated: whether there may be more than ``changes``.
    """

    changes: list[dict[str, Any]]
    total: int
    truncated: bool


@dataclass(frozen=True)
class ChangeQuery:
    """A question for changes, by the names of the task's options. Make it with :meth:`from_options` or :meth:`by_key`.

    :ivar start_time: of the window in which a change was under way, Unix seconds.
    :ivar end_time: its end, less than 31 days later.
    :ivar change_key: only the change of this key.
    :ivar query: text or regular expression over title, description and change_key.
    :ivar change_status: only changes in one of these; empty for all.
    :ivar labels: only changes that have all of these.
    :ivar limit: return at most so many.
    """

    start_time: int
    end_time: int
    change_key: str | None = None
    query: str | None = None
    change_status: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    integration_ids: Sequence[int] = ()
    channel_ids: Sequence[int] = ()
    include_events: bool = False
    limit: int = PAGE_MAX
    orderby: str = "start_time"
    asc: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any], now: float) -> ChangeQuery:
        """The question that the options of a task describe.

        :param now: the present, Unix seconds.
        :raises InvalidValue: naming the option and what is wrong with it.
        """
        key, query = str(options.get("change_key") or "").strip(), str(options.get("query") or "")
        if key and query:
            raise InvalidValue("query", "cannot be used with change_key, which selects exactly one change")
        limit = PAGE_MAX if options.get("limit") is None else int(options["limit"])
        if not 1 <= limit <= LIMIT_MAX:
            raise InvalidValue("limit", f"must be between 1 and {LIMIT_MAX}, got {limit}")
        start, end = _window(options, now, bool(key))
        return cls(
            start_time=start,
            end_time=end,
            change_key=key or None,
            query=query or None,
            change_status=list(options.get("change_status") or ()),
            labels=_labels(options.get("labels") or {}),
            integration_ids=_numbers(options, "integration_ids"),
            channel_ids=_numbers(options, "channel_ids"),
            include_events=bool(options.get("include_events")),
            limit=limit,
            orderby=str(options.get("orderby") or "start_time"),
            asc=bool(options.get("asc")),
        )

    @classmethod
    def by_key(cls, change_key: str, now: float, ahead: float | None = None) -> ChangeQuery:
        """The question for one change with its events, whatever became of it in the last 29 days.

        :param ahead: a moment in the future at which it may start, Unix seconds.
        """
        end = int(max(now, ahead or 0.0)) + _KEY_AHEAD
        return cls(end - _KEY_WINDOW, end, change_key=change_key, include_events=True, orderby="last_time")

    def to_options(self) -> dict[str, Any]:
        """The options of a task that asks the same."""
        given = {name: value for name, value in asdict(self).items() if value}
        return {**given, "start_time": str(self.start_time), "end_time": str(self.end_time)}

    def body(self, page: int) -> dict[str, Any]:
        """What is asked of Flashduty for one page, the first of which is 1."""
        body: dict[str, Any] = {
            "start_time": self.start_time,
            "end_time": self.end_time,
            "p": page,
            "limit": PAGE_MAX,
            "orderby": self.orderby,
            "asc": self.asc,
        }
        optional = {
            "query": self.query if self.change_key is None else _literal(self.change_key),
            "integration_ids": self.integration_ids,
            "channel_ids": self.channel_ids,
            "include_events": self.include_events,
        }
        return {**body, **{name: value for name, value in optional.items() if value}}

    def matches(self, change: Mapping[str, Any]) -> bool:
        """Whether a change that Flashduty returned is one that is wanted."""
        if self.change_key is not None and change.get("change_key") != self.change_key:
            return False
        if self.change_status and change.get("change_status") not in self.change_status:
            return False
        labels = change.get("labels") or {}
        return all(labels.get(name) == value for name, value in self.labels.items())


def changes_found(options: Mapping[str, Any], find: Find) -> dict[str, Any]:
    """What a task returns that asks for changes.

    :param find: asks Flashduty.
    :raises InvalidValue: naming the option and what is wrong with it.
    :raises ApiError: where Flashduty could not be asked.
    """
    query = ChangeQuery.from_options(options, time.time())
    found = find(query)
    return {
        "changed": False,
        "changes": found.changes,
        "total": found.total,
        "truncated": found.truncated,
        "window": {"start_time": query.start_time, "end_time": query.end_time},
    }


def find_changes(connection: Connection, query: ChangeQuery, budget: float) -> Found:
    """Ask Flashduty for changes.

    :param budget: seconds for all of it.
    :raises ApiError: where Flashduty could not be asked, or did not answer as it should.
    """
    # Not before it is needed: it brings requests, which ansible-playbook itself must not import.
    from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api

    deadline = time.monotonic() + budget
    found: dict[Any, dict[str, Any]] = {}
    total, more = 0, False
    with closing(Api(connection)) as api:
        for page in range(1, _PAGES_MAX + 1):
            items, total, more = _page(api, connection, query, page, deadline)
            # A change that is reported meanwhile moves others to the next page.
            found.update(
                (item.get("change_id") or (item.get("integration_id"), item.get("change_key")), item)
                for item in items
                if query.matches(item)
            )
            if len(found) > query.limit or not more:
                break
    changes = list(found.values())
    return Found(changes[: query.limit], total, more or len(changes) > query.limit)


def _page(
    api: Any, connection: Connection, query: ChangeQuery, page: int, deadline: float
) -> tuple[list[dict[str, Any]], int, bool]:
    body = json.dumps(query.body(page), ensure_ascii=False)
    for attempt in range(1, _TRIES + 1):
        left = max(0.1, deadline - time.monotonic())
        try:
            answer = api.post(LIST_PATH, {"app_key": connection.app_key or ""}, body, left)
            break
        except ApiError as error:
            pause = error.retry_after if error.retry_after is not None else _BACK_OFF * attempt
            if not error.retry or attempt == _TRIES or time.monotonic() + pause >= deadline:
                raise
            time.sleep(pause)
    data = answer.get("data")
    items = (data.get("items") or []) if isinstance(data, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ApiError("the answer contains no list of changes: check api_url", retry=False, status=200)
    total = data.get("total")
    more = data.get("has_next_page")
    if not isinstance(more, bool):
        more = len(items) == PAGE_MAX
    # Whatever somebody has written into a change, our keys are not shown.
    items = json.loads(connection.redact(json.dumps(items, ensure_ascii=False)))
    return items, total if isinstance(total, int) else len(items), more


def _literal(text: str) -> str:
    # As Go's regexp.QuoteMeta, which is what RE2 calls for, but a dot finds itself either way.
    return re.sub(r"([\\+*?()|\[\]{}^$])", r"\\\1", text)


def _window(options: Mapping[str, Any], now: float, by_key: bool) -> tuple[int, int]:
    moments: dict[str, int] = {}
    for name in ("start_time", "end_time"):
        if options.get(name) not in (None, ""):
            moments[name] = unix_seconds(options[name], name)
    if not moments and by_key:
        key = ChangeQuery.by_key("", now)
        return key.start_time, key.end_time
    end = moments.get("end_time", max(int(now), moments.get("start_time", 0) + 1))
    start = moments.get("start_time", end - _HOUR)
    if start >= end:
        raise InvalidValue("start_time", f"must be before end_time, got {start} and {end} (Unix seconds)")
    if end - start >= _WINDOW_MAX:
        days = (end - start) / _DAY
        raise InvalidValue("start_time", f"must be less than 31 days before end_time, got {days:.1f} days")
    return start, end


def _labels(labels: Mapping[Any, Any]) -> dict[str, str]:
    wanted = {}
    for name, value in labels.items():
        try:
            text = label_text(value)
        except ValueError as error:
            raise InvalidValue(f"labels[{name}]", str(error)) from None
        if text is not None:
            wanted[str(name)] = text
    return wanted


def _numbers(options: Mapping[str, Any], name: str) -> list[int]:
    numbers = list(options.get(name) or ())
    if any(number < 1 for number in numbers):
        raise InvalidValue(name, f"must be numbers above 0, got {', '.join(map(str, numbers))}")
    return numbers
