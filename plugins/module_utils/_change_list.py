# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading changes back: pages followed, errors that may pass tried again, one deadline for all of it.

Private to this collection; may change in any release.
Never to be used in the ansible-playbook process: see ``plugin_utils/_courier/reader.py``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._api import Api, ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    PAGE_MAX,
    ChangeQuery,
    Found,
    ReadingFailed,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import LIST_PATH, Connection

_PAGES_MAX = 200
_TRIES = 3
# Seconds.
_BACK_OFF = 1.0


def find_changes(connection: Connection, query: ChangeQuery, budget: float) -> Found:
    """Ask Flashduty for changes.

    :param budget: seconds for all of it.
    :raises ReadingFailed: where Flashduty could not be asked, or did not answer as it should.
    """
    deadline = time.monotonic() + budget
    api = Api(connection)
    try:
        return _find(api, connection, query, deadline)
    except ApiError as error:
        raise ReadingFailed(error.message, error.status, error.code, error.request_id) from None
    finally:
        api.close()


def _find(api: Api, connection: Connection, query: ChangeQuery, deadline: float) -> Found:
    found: dict[Any, dict[str, Any]] = {}
    total = 0
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
    api: Api, connection: Connection, query: ChangeQuery, page: int, deadline: float
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
    items = data.get("items") if isinstance(data, Mapping) else None
    items = [] if items is None and isinstance(data, Mapping) else items
    if not isinstance(data, Mapping) or not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise ApiError("the answer holds no list of changes: check api_url", retry=False, status=200)
    total = data.get("total")
    more = data.get("has_next_page")
    if not isinstance(more, bool):
        more = len(items) == PAGE_MAX
    # Whatever somebody has written into a change, our keys are not shown.
    items = json.loads(connection.redact(json.dumps(items, ensure_ascii=False)))
    return items, total if isinstance(total, int) else len(items), more
