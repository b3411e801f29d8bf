# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done with one claimed event: it is pushed once, and what came of that is to be recorded in the outbox.

At least once: an event whose answer was lost is sent again, which is harmless, since Flashduty merges by change_key.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import TOO_MANY_REQUESTS, Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox

# Seconds.
_BACK_OFF_FIRST = 1.0
_BACK_OFF_MOST = 60.0
_RETRY_AFTER_MOST = 3600.0
_LEASE_BEYOND_BUDGET = 5.0
_CLOCK_TOLERANCE = 1

# Sends a body within so many seconds and returns Flashduty's request_id, or raises ApiError.
Push = Callable[[str, float], str]
# Records in an outbox what came of an exchange.
Record = Callable[[AnyOutbox], None]


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row: exponential from 1 s to 60 s, with up to a quarter of jitter."""
    delay = min(_BACK_OFF_MOST, _BACK_OFF_FIRST * 2.0 ** min(failures - 1, 16))
    return delay * random.uniform(1.0, 1.25)


class Exchange:
    """Exchanges with Flashduty, one after the other.

    :ivar failing: whether the last one failed for a reason that may pass.
    :ivar lease: seconds that a claim has to last.
    """

    def __init__(self, connection: Connection, push: Push) -> None:
        self.failing = False
        self.lease = connection.timeout + _LEASE_BEYOND_BUDGET
        self._budget = connection.timeout
        self._push = push

    def push(self, claim: Claim) -> Record:
        """Push the claimed event; returns what records the answer."""
        budget = self._budget
        if claim.expires_at is not None:
            budget = min(budget, max(0.1, claim.expires_at - time.time()))
        try:
            request_id = self._push(claim.body, budget)
        except ApiError as error:
            self.failing = error.retry
            return partial(_not_taken, claim, error)
        self.failing = False
        return lambda outbox: outbox.claims.delivered(claim, request_id)


def _not_taken(claim: Claim, error: ApiError, outbox: AnyOutbox) -> None:
    claims, now = outbox.claims, outbox.database.now()
    earlier = None if error.retry else _by_the_clock_of(error, claim.body)
    if earlier is not None:
        claims.corrected(claim, earlier)
    elif not error.retry:
        claims.refused(claim, error)
    elif error.code is not None and error.status != TOO_MANY_REQUESTS:
        # Flashduty answers, but not well to this event: let the others pass.
        claims.failed(claim, error, now + back_off(claim.tries), now)
    else:
        pause = back_off(claims.pause.failures + 1)
        if error.retry_after is not None:
            pause = min(error.retry_after, _RETRY_AFTER_MOST) + random.uniform(0.0, 0.2)
        claims.failed(claim, error, now, now + pause)


def _by_the_clock_of(error: ApiError, body: str) -> ChangeEvent | None:
    """The event with the server's time, where this machine's clock is fast and the event therefore in its future.

    :returns: None where that cannot be what was wrong with the event.
    """
    event = ChangeEvent.from_json(body)
    if error.code != "InvalidParameter" or error.server_time is None or event.change_status == "Ready":
        return None
    server_time = int(error.server_time)
    if event.event_time is None or event.event_time <= server_time + _CLOCK_TOLERANCE:
        return None
    return event._replace(event_time=server_time)
