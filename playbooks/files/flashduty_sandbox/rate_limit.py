# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The published rate limits: 100 requests a second and 1000 a minute for each integration."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

PER_SECOND = 100
PER_MINUTE = 1000
READS_PER_SECOND = 50
READS_PER_MINUTE = 1000


class RateLimit:
    """Two sliding windows for each integration, or account; None lifts a limit. Safe to use from many threads.

    A request that is not admitted does not count: who backs off is let in as soon as a window has room.
    """

    def __init__(
        self,
        per_second: int | None = PER_SECOND,
        per_minute: int | None = PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._windows = [(1.0, per_second), (60.0, per_minute)]
        self._clock = clock
        self._lock = threading.Lock()
        self._admitted: defaultdict[int, list[deque[float]]] = defaultdict(lambda: [deque(), deque()])

    def admit(self, number: int) -> bool:
        """Count a request of this integration or account and return True, or return False where it comes too soon."""
        with self._lock:
            now = self._clock()
            windows = self._admitted[number]
            for (seconds, limit), times in zip(self._windows, windows, strict=True):
                while times and times[0] <= now - seconds:
                    times.popleft()
                if limit is not None and len(times) >= limit:
                    return False
            for times in windows:
                times.append(now)
            return True
