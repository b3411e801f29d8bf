# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sandbox serves beside the API, for people and tests and without limits.

docs/sandbox.md lists the endpoints under *Endpoints*. The page has some of its own: `stream` (see feed), `change`, a
change with its requests, and `correlate`, the changes that an alert would bring up (see correlation). `stop` ends the
sandbox where it runs as a program.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flashduty_sandbox import correlation, page, rules
from flashduty_sandbox.answer import Answer, json_answer
from flashduty_sandbox.rules import Refused, Request
from flashduty_sandbox.store import Received, Store

if TYPE_CHECKING:
    from flashduty_sandbox.receiver import Receiver

SANDBOX_PATH = "/sandbox/"
STREAM_PATH = "/sandbox/stream"
ARRIVALS = 500
MATCHES = 100

# A browser sends the name that it was given: one that only resolves to 127.0.0.1 is another site's trick.
_LOCAL_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?", re.IGNORECASE)

Handler = Callable[[Request], object]


class SandboxApi:
    """The endpoints under /sandbox/."""

    def __init__(self, receiver: Receiver, store: Store, on_stop: Callable[[], None] | None) -> None:
        self._receiver = receiver
        self._store = store
        the_page = page.load()
        self._routes: dict[str, Mapping[str, Handler]] = {
            "": {"GET": lambda _request: the_page},
            "change": {"GET": self._get_change},
            "correlate": {"POST": self._correlate},
            "native": {"POST": self._post_native},
            "status": {"GET": lambda _request: receiver.status()},
            "changes": {"GET": lambda _request: store.changes(), "DELETE": lambda _request: store.reset()},
            "events": {"GET": lambda _request: store.events()},
            "requests": {"GET": lambda _request: store.requests()},
            "reset": {"POST": lambda _request: receiver.renew()},
            "settings": {"GET": lambda _request: receiver.settings()},
            "integrations": {"POST": self._post_integration},
            "faults": {
                "GET": lambda _request: receiver.faults.public(),
                "POST": self._post_fault,
                "DELETE": lambda _request: receiver.faults.clear(),
            },
        }
        if on_stop is not None:
            self._routes["stop"] = {"POST": lambda _request: on_stop()}

    def answer(self, request: Request, request_id: str) -> Answer:
        """Answer one request. Raises Refused."""
        methods = self._routes.get(request.path[len(SANDBOX_PATH) :])
        if methods is None:
            raise Refused("RouteNotFound", f"no route for {request.method} {request.path}")
        handler = methods.get(request.method)
        if handler is None:
            raise Refused("MethodNotAllowed", f"method {request.method} is not supported")
        if request.method == "POST":
            # A form of another site cannot send JSON without being asked about first.
            rules.json_object(request)
        found = handler(request)
        if isinstance(found, Answer):
            return found
        return json_answer(200, {"request_id": request_id} if found is None else found)

    def _get_change(self, request: Request) -> object:
        found = self._store.arrivals(query(request, "change_id"), ARRIVALS)
        if found is None:
            raise Refused("RouteNotFound", "there is no change with this change_id")
        return found

    def _correlate(self, request: Request) -> object:
        alert = rules.judge_correlate(request)
        _generation, _last, changes = self._store.since(0)
        ranking = correlation.rank(changes, alert)

        def best(matches: Sequence[correlation.Match]) -> object:
            return {"total": len(matches), "items": [vars(match) for match in matches[:MATCHES]]}

        return {
            "matches": best(ranking.matches),
            "near_misses": best(ranking.near_misses),
            "considered": ranking.considered,
        }

    def _post_native(self, request: Request) -> object:
        event = rules.judge_push(request, time.time(), rules.NATIVE_STATUSES)
        received = Received.arriving(request, uuid.uuid4().hex)
        received.integration_id = self._store.numbers_of("native", ["native"])["native"]
        self._store.accept(received, event)
        return {"request_id": received.request_id}

    def _post_integration(self, _request: Request) -> object:
        self._receiver.add_integration()
        return self._receiver.settings()

    def _post_fault(self, request: Request) -> object:
        options = rules.json_object(request)
        try:
            fault = self._receiver.faults.set(options.pop("kind", ""), **options)
        except (TypeError, ValueError) as error:
            raise Refused("InvalidParameter", str(error)) from error
        return {"fault": fault.public()}


def check_origin(request: Request) -> None:
    """Raise Refused for what a browser was led to ask by another site, the API included."""
    headers = request.headers
    host = headers.get("Host", "")
    if not _LOCAL_HOST.fullmatch(host):
        raise Refused("AccessDenied", "the sandbox answers to 127.0.0.1 and localhost only")
    # A link to the page may stand anywhere; what the page asks for, only the page may ask a browser for.
    foreign_origin = headers.get("Origin", "") not in ("", f"http://{host}", f"https://{host}")
    foreign_site = headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    if foreign_origin or (foreign_site and request.path != SANDBOX_PATH):
        raise Refused("AccessDenied", "the sandbox answers to its own page only")


def query(request: Request, name: str) -> str:
    """A parameter of the query string, empty where it is missing."""
    return rules.query_parameter(request.query, name) or ""
