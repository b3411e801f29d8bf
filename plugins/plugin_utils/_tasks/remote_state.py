# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing an event with what Flashduty shows of its change, so that controllers that share no disk agree.

Where many tasks report the same at once, one of them asks and the others use its answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import ChangeQuery, Find
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import without_outcome
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import LastEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.lock_file import locked

# Seconds for which an answer, and what has been delivered since, is taken for Flashduty's present state.
_FRESH = 10.0
# Seconds for which Flashduty is not asked again after it could not be asked.
_FAILED = 60.0
_KEPT_MOST = 86400.0


class RemoteState:
    """What Flashduty shows of a change.

    :param find: asks Flashduty.
    :param folder: where answers are kept for the tasks that run at the same time.
    :param notices: get the warnings.
    """

    def __init__(self, connection: Connection, find: Find, folder: str, notices: Notices) -> None:
        self._connection = connection
        self._find = find
        self._folder = folder
        self._notices = notices

    @contextmanager
    def alone(self, event: ChangeEvent) -> Iterator[None]:
        """Nobody else compares or stores an event of that change meanwhile, as far as they share the folder."""
        with ExitStack() as lock:
            with suppress(OSError):  # then all of them ask Flashduty themselves
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                lock.enter_context(locked(self._path(event.change_key) + ".lock", self._connection.timeout + _FRESH))
            yield

    def compare(self, event: ChangeEvent, last: LastEvent | None) -> tuple[bool, ChangeEvent | None] | None:
        """Whether the event would change what Flashduty shows, and what it shows.

        :param last: what the outbox knows of the change.
        :returns: None where the outbox knows it as well or better, or Flashduty could not be asked.
        """
        if last is not None and last.pending:
            return None
        now = time.time()
        query = ChangeQuery.by_key(event.change_key, now, event.event_time)
        changes, asked_at = self._shown(query, now)
        if changes is None or (last is not None and (last.settled_at or 0.0) >= asked_at):
            return None
        if not changes and last is not None and last.event_time < query.start_time:
            return None
        differs = not changes or not all(_is_equal(change, event, last) for change in changes)
        return differs, _as_event(changes[0]) if changes else None

    def _shown(self, query: ChangeQuery, now: float) -> tuple[list[dict[str, Any]] | None, float]:
        """The changes of that key, None where Flashduty could not be asked, and when it was."""
        key = query.change_key or ""
        kept = self._kept(key)
        if kept and abs(now - kept["at"]) < (_FRESH if kept["changes"] is not None else _FAILED):
            return kept["changes"], kept["at"]
        changes: list[dict[str, Any]] | None = None
        try:
            changes = self._find(query).changes
        except ApiError as error:
            self._notices.warning("remote-state-unknown", key=key, reason=error)
        self._keep(key, changes, now)
        return changes, now

    def _path(self, key: str) -> str:
        known_as = self._connection.integration_id(os.path.basename(self._folder).encode())
        name = hashlib.sha256(f"{self._connection.api_url} {known_as} {key}".encode("utf-8", "replace")).hexdigest()
        return os.path.join(self._folder, name[:32])

    def _kept(self, key: str) -> Mapping[str, Any]:
        try:
            with open(self._path(key), encoding="utf-8") as file:
                kept: Mapping[str, Any] = json.load(file)
                return kept
        except (OSError, ValueError):
            return {}

    def _keep(self, key: str, changes: list[dict[str, Any]] | None, asked_at: float) -> None:
        path = self._path(key)
        draft = f"{path}.{os.getpid()}"
        with suppress(OSError):  # then the next task asks Flashduty itself
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({"at": asked_at, "changes": changes}, file)
            os.replace(draft, path)
            for entry in os.scandir(self._folder):
                if entry.stat().st_mtime < asked_at - _KEPT_MOST:
                    os.unlink(entry.path)


def _is_equal(change: Mapping[str, Any], event: ChangeEvent, last: LastEvent | None) -> bool:
    """Whether the event would change nothing of what Flashduty shows; a field it does not give changes nothing."""
    if change.get("change_status") != event.change_status:
        return False
    last_time = change.get("last_time")
    # Flashduty may show a text or label otherwise than it was sent, and an event may be dated later than was asked for;
    # where our own last word is the last, it decides.
    if last is not None and last.is_equal and isinstance(last_time, int) and last_time <= last.event_time:
        return True
    if event.event_time is not None and event.event_time != last_time:
        return False
    shown = _as_event(change)
    if event.labels and without_outcome(event.labels) != without_outcome(shown.labels):
        return False
    # The text that is shown may be that of the first event, which this one need not repeat.
    return _has_several_events(change) or (
        shown.title == event.title
        and event.description in (None, shown.description)
        and event.link in (None, shown.link)
    )


def _has_several_events(change: Mapping[str, Any]) -> bool:
    # A change starts with its first Processing, which need not be its first event.
    events, last_time = change.get("events"), change.get("last_time")
    if isinstance(events, list) and events:
        return len(events) > 1
    return (change.get("start_time") or last_time) != last_time


def _as_event(change: Mapping[str, Any]) -> ChangeEvent:
    labels = change.get("labels") or {}
    return ChangeEvent(
        change_status=str(change.get("change_status") or ""),
        change_key=str(change.get("change_key") or ""),
        title=str(change.get("title") or ""),
        event_time=change.get("last_time") or None,
        description=change.get("description") or None,
        link=change.get("link") or None,
        labels=labels if isinstance(labels, Mapping) else {},
    )
