# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sandbox serves beside the API, for people and tests and without limits.

| method and path | what it does |
|---|---|
| GET /sandbox/status | who answers: `sandbox`, `pid`, `database`, `url`, and how it merges: `merge`, `route_label` |
| GET /sandbox/changes, /sandbox/events, /sandbox/requests | what it holds, as a JSON list |
| DELETE /sandbox/changes | forgets everything |
| POST /sandbox/reset | forgets everything and replaces the integration keys by a new one |
| GET /sandbox/settings | the Push URL of each integration, the APP key, and how Ansible is pointed at them |
| POST /sandbox/integrations | adds an integration with a key of its own; answers as settings |
| GET /sandbox/ | the page that shows it to a person |
| GET /sandbox/stream | server-sent events for that page; see feed |
| GET /sandbox/change?change_id=, /sandbox/request?number= | one change with its requests, one refused request |
| POST /sandbox/correlate | the changes that an alert (`labels`, `time`, `window`) would bring up; see correlation |
| POST /sandbox/native | an event of a native integration (AWX, Jenkins, …): a push that may also say Failed |
| GET, POST, DELETE /sandbox/faults | lists, adds (a JSON object with `kind`), clears the faults |
| POST /sandbox/stop | ends the sandbox where it runs as a program |
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flashduty_sandbox import correlation, page, rules
from flashduty_sandbox.answer import Answer, json_answer, refusal
from flashduty_sandbox.feed import BODY_CHARACTERS
from flashduty_sandbox.flashduty_api import Exchange
from flashduty_sandbox.rules import Refused, Request
from flashduty_sandbox.store import ACCEPTED, Store

if TYPE_CHECKING:
    from flashduty_sandbox.receiver import Receiver

SANDBOX_PATH = "/sandbox/"
STREAM_PATH = "/sandbox/stream"
ARRIVALS = 500
MATCHES = 100

# A browser sends the name that it was given: one that only resolves to 127.0.0.1 is another site's trick.
_LOCAL_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,18}")

Handler = Callable[[Request], object]


class SandboxApi:
    """The endpoints under /sandbox/."""

    def __init__(self, receiver: Receiver, store: Store, on_stop: Callable[[], None] | None) -> None:
        self._receiver = receiver
        self._store = store
        self._page = page.load()
        self._routes: dict[str, Mapping[str, Handler]] = {
            "": {"GET": lambda request: self._page},
            "change": {"GET": self._get_change},
            "request": {"GET": self._get_request},
            "correlate": {"POST": self._correlate},
            "native": {"POST": self._post_native},
            "status": {"GET": lambda request: receiver.status()},
            "changes": {"GET": lambda request: receiver.changes(), "DELETE": lambda request: receiver.reset()},
            "events": {"GET": lambda request: receiver.events()},
            "requests": {"GET": lambda request: receiver.requests()},
            "reset": {"POST": self._post_reset},
            "settings": {"GET": lambda request: receiver.settings()},
            "integrations": {"POST": self._post_integration},
            "faults": {
                "GET": lambda request: receiver.faults.public(),
                "POST": self._post_fault,
                "DELETE": lambda request: receiver.faults.clear(),
            },
        }
        if on_stop is not None:
            self._routes["stop"] = {"POST": lambda request: self._post_stop(request, on_stop)}

    def answer(self, request: Request, request_id: str) -> Answer:
        """Answer one request, whatever happens."""
        try:
            methods = self._routes.get(request.path[len(SANDBOX_PATH) :])
            if methods is None:
                raise Refused("RouteNotFound", f"no route for {request.method} {request.path}")
            handler = methods.get(request.method)
            if handler is None:
                raise Refused("MethodNotAllowed", f"method {request.method} is not supported")
            found = handler(request)
            if isinstance(found, Answer):
                return found
            return json_answer(200, {"request_id": request_id} if found is None else found)
        except Refused as refused:
            return refusal(refused, request_id)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return refusal(Refused("InternalError", "internal error"), request_id)

    def _get_change(self, request: Request) -> object:
        found = self._store.arrivals(query(request, "change_id"), ARRIVALS, BODY_CHARACTERS)
        if found is None:
            raise Refused("RouteNotFound", "there is no change with this change_id")
        return found

    def _get_request(self, request: Request) -> object:
        number = query(request, "number")
        found = self._store.arrival(int(number), BODY_CHARACTERS) if _NUMBER.fullmatch(number) else None
        if found is None:
            raise Refused("RouteNotFound", "there is no request with this number")
        return found

    def _correlate(self, request: Request) -> object:
        alert = rules.judge_correlate(request, time.time())
        near = self._store.overlapping(alert.time - alert.window, alert.time + alert.window)
        ranking = correlation.rank(near, alert)
        answer: dict[str, object] = {
            name: {"total": len(matches), "items": [dataclasses.asdict(match) for match in matches[:MATCHES]]}
            for name, matches in vars(ranking).items()
        }
        return answer | {"considered": len(near)}

    def _post_native(self, request: Request) -> object:
        exchange = Exchange(request, uuid.uuid4().hex)
        event = rules.judge_push(request, time.time(), rules.NATIVE_STATUSES)
        exchange.integration_id = self._store.native_integration()
        self._store.accept(exchange.received(ACCEPTED, 200), exchange.integration_id, event)
        return {"request_id": exchange.request_id}

    def _post_reset(self, request: Request) -> None:
        rules.json_object(request)
        self._receiver.renew()

    def _post_integration(self, request: Request) -> object:
        rules.json_object(request)
        self._receiver.add_integration()
        return self._receiver.settings()

    def _post_fault(self, request: Request) -> object:
        options = rules.json_object(request)
        try:
            fault = self._receiver.faults.set(options.pop("kind", ""), **options)
        except (TypeError, ValueError) as error:
            raise Refused("InvalidParameter", str(error)) from error
        return {"fault": fault.public()}

    def _post_stop(self, request: Request, on_stop: Callable[[], None]) -> None:
        rules.json_object(request)
        on_stop()


def check_origin(request: Request) -> None:
    """Raise Refused for what a browser was led to ask by another site, the API included."""
    if not _LOCAL_HOST.fullmatch(request.host):
        raise Refused("AccessDenied", "the sandbox answers to 127.0.0.1 and localhost only")
    # A link to the page may stand anywhere; what the page asks for, only the page may ask a browser for.
    own = (f"http://{request.host}", f"https://{request.host}")
    if request.origin and request.origin not in own:
        raise Refused("AccessDenied", "the sandbox answers to its own page only")
    if request.fetch_site in ("cross-site", "same-site") and request.path != SANDBOX_PATH:
        raise Refused("AccessDenied", "the sandbox answers to its own page only")


def query(request: Request, name: str) -> str:
    """A parameter of the query string, empty where it is missing."""
    return rules.query_parameter(request.query, name) or ""
