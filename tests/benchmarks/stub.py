# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An API for every reporter that is compared: it answers any request at once, late, with 429, or never.

``python stub.py ANSWER`` with ANSWER one of ``now``, a number of seconds, ``429``, ``hang``; it prints its port and
runs until its standard input ends. ``GET /stub`` answers with the number of requests so far.

One stub for all: it is much cheaper than what it is asked by, and no reporter gets a better server than another.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from types import TracebackType

# What each reporter takes for success: Flashduty a request_id, PagerDuty 202, ARA 201 and an object with an id.
_TAKEN = {"request_id": "0123456789abcdef", "data": {}, "id": 1, "count": 0, "results": [], "labels": []}
_TOO_MANY = {"request_id": "0123456789abcdef", "error": {"code": "RequestTooFrequently", "message": "too many"}}


class Stub:
    """The stub in a process of its own, inside a ``with`` block.

    :param answer: ``now``, seconds as text, ``429`` or ``hang``; ``refuse`` leaves a port where nobody listens.
    """

    def __init__(self, answer: str) -> None:
        self._refuse = answer == "refuse"
        self._process = subprocess.Popen(
            [sys.executable, __file__, "now" if self._refuse else answer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Stub:
        if self._refuse:
            self._stop()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if not self._refuse:
            self._stop()

    def _stop(self) -> None:
        with self._process:
            pass

    def requests(self) -> int:
        """How many requests have come."""
        if self._refuse:
            return 0
        with urllib.request.urlopen(f"{self.url}/stub", timeout=10) as answer:
            return int(answer.read())


class _Server:
    def __init__(self, answer: str) -> None:
        self._hangs = answer == "hang"
        self._refuses = answer == "429"
        self._delay = 0.0 if answer in ("now", "hang", "429") else float(answer)
        self._requests = 0

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        # Who connects from now on would find a loop that is being closed.
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        lines = head.split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        if lines[0].startswith("get /stub "):
            writer.write(_answer(200, str(self._requests).encode()))
            return True
        self._requests += 1
        if self._hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self._delay)
        if self._refuses:
            writer.write(_answer(429, json.dumps(_TOO_MANY).encode()))
        else:
            status = 202 if "/enqueue" in lines[0] else 201 if "/api/v1/" in lines[0] else 200
            writer.write(_answer(status, json.dumps(_TAKEN).encode()))
        return headers.get("connection") != "close"


def _answer(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Stub\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


if __name__ == "__main__":
    asyncio.run(_Server(sys.argv[1]).serve())
