# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the API what it thinks of our keys, by requests that cannot create a change.

Never to be used in the ansible-playbook process: see ``plugin_utils/_courier/reader.py``.
"""

from __future__ import annotations

import secrets
import time
import urllib.parse
from contextlib import closing
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    LIST_PATH,
    PUSH_PATH,
    Connection,
    is_loopback,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api, environment_proxy

# It lacks every field that an event must have.
_NO_EVENT = "{}"


def probe(connection: Connection) -> dict[str, Any]:
    """What the API answers.

    :returns: ``own`` and ``other``, the answers to an empty event with our key and with a made-up one; ``app``, the
        answer to a question for changes, None without an app key; ``seconds`` that the first took; ``skew``, how many
        seconds this machine is ahead, None where the API does not send it; ``proxy``, None where none is used.
    """
    with closing(Api(connection)) as api:
        begun, begun_at = time.monotonic(), time.time()
        own = _answer(api, PUSH_PATH, "integration_key", connection.integration_key, connection.timeout)
        seconds = time.monotonic() - begun
        # The header has whole seconds: the time it stands for lies somewhere in that one.
        date = own["server_time"]
        skew = None if date is None else _outside(begun_at, begun_at + seconds, date, date + 1.0)
        other = app = None
        if own["status"] is not None:
            other = _answer(api, PUSH_PATH, "integration_key", secrets.token_hex(16), connection.timeout)
            if connection.app_key is not None:
                app = _answer(api, LIST_PATH, "app_key", connection.app_key, connection.timeout)
    return {"own": own, "other": other, "app": app, "seconds": seconds, "skew": skew, "proxy": _proxy(connection)}


def _answer(api: Api, path: str, name: str, key: str, budget: float) -> dict[str, Any]:
    try:
        answer = api.post(path, {name: key}, _NO_EVENT, budget)
    except ApiError as error:
        return error.to_dict()
    return ApiError("taken", retry=False, status=200, request_id=answer["request_id"]).to_dict()


def _outside(earliest: float, latest: float, first: float, last: float) -> float:
    """By how much one span of time lies after the other; negative where before, 0 where they meet."""
    if earliest > last:
        return earliest - last
    return latest - first if latest < first else 0.0


def _proxy(connection: Connection) -> str | None:
    parts = urllib.parse.urlsplit(connection.api_url)
    if is_loopback(parts.hostname or ""):
        return None
    address = environment_proxy(connection.api_url)
    if not address:
        return None
    proxy = urllib.parse.urlsplit(address)
    # Without the user and password that it may carry.
    return f"{proxy.scheme}://{proxy.hostname}{f':{proxy.port}' if proxy.port else ''}"
