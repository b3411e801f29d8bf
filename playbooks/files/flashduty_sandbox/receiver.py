# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sandbox in one process: Flashduty's change API on 127.0.0.1, strict, with a memory and with faults."""

from __future__ import annotations

import os
import secrets
import shlex
import ssl
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flashduty_sandbox import feed, rules
from flashduty_sandbox.answer import Answer, json_answer, refusal
from flashduty_sandbox.faults import Fault, Faults
from flashduty_sandbox.flashduty_api import FlashdutyApi
from flashduty_sandbox.http_server import ADDRESS, Connection, HttpServer
from flashduty_sandbox.merge import Mode
from flashduty_sandbox.rate_limit import PER_MINUTE, PER_SECOND, READS_PER_MINUTE, READS_PER_SECOND, RateLimit
from flashduty_sandbox.rules import Refused, Request
from flashduty_sandbox.sandbox_api import SANDBOX_PATH, STREAM_PATH, SandboxApi, check_origin, query
from flashduty_sandbox.store import Received, Store

if TYPE_CHECKING:
    from flashduty_sandbox.state import State

PRODUCT = "flashcat.flashduty"
INTEGRATIONS = 20
START_COMMAND = "ansible-playbook flashcat.flashduty.sandbox"
_HANG_LOOK_SECONDS = 0.25
_HTML = b"<!DOCTYPE html><html><head><title>%b</title></head><body><h1>%b</h1></body></html>\n"


class Receiver:
    """A sandbox in this process, open between start() and close() or inside a `with` block.

    It listens on 127.0.0.1 only. It never reads the clock of a test: times are those of this machine.
    """

    def __init__(
        self,
        database: Path | str,
        integration_keys: Iterable[str] | None = None,
        app_keys: Iterable[str] | None = None,
        *,
        port: int = 0,
        per_second: int | None = PER_SECOND,
        per_minute: int | None = PER_MINUTE,
        reads_per_second: int | None = READS_PER_SECOND,
        reads_per_minute: int | None = READS_PER_MINUTE,
        merge: Mode = "first",
        route_label: str | None = None,
        tls: tuple[Path | str, Path | str] | None = None,
        home: State | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        """Prepare a sandbox.

        Args:
            database: the file of the store; it is created where it is missing.
            integration_keys: the keys that a push may carry, each an integration of its own; None makes one.
            app_keys: the keys that a question for changes may carry; None makes one.
            port: TCP port, 0 for a free one.
            per_second: requests a second that each integration may send, None for no limit.
            per_minute: requests a minute that each integration may send, None for no limit.
            reads_per_second: questions for changes a second that the account may ask, None for no limit.
            reads_per_minute: the same for a minute.
            merge: how events become changes, as Flashduty documents ("first") or by the last event ("last").
            route_label: the label whose value is the channel of an event; None: there is one channel.
            tls: files of a certificate and its key, in PEM, to serve HTTPS.
            home: what is told of new keys, and tells the page where Ansible finds them.
            on_stop: what POST /sandbox/stop calls; without it there is no such route.
        """
        self.database = Path(database).absolute()
        self.port = port
        self.integration_keys = list(integration_keys or [new_key()])
        self.app_keys = list(app_keys or [new_key()])
        self._pushes = RateLimit(per_second, per_minute)
        self._reads = RateLimit(reads_per_second, reads_per_minute)
        self.merge = merge
        self.route_label = route_label
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self._home = home
        self._on_stop = on_stop
        self._keys_lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def start(self) -> Receiver:
        """Open store and port, and answer from now on.

        Raises:
            OSError: the port is taken, or not allowed.
            StoreError: the database cannot be used.
        """
        self._server = HttpServer(self.port, self._answer, _malformed, self._tls)
        self.faults = Faults(self._server.refuse, self._server.accept)
        try:
            self._store = Store(self.database, self.merge, self.route_label)
            integrations = self._store.numbers_of("integration", self.integration_keys)
            self._api = FlashdutyApi(self._store, integrations, self.app_keys, self._pushes, self._reads)
            self._sandbox = SandboxApi(self, self._store, self._on_stop)
        except BaseException:
            self._server.end()
            raise
        self.port = self._server.port
        self._server.listen()
        return self

    def close(self) -> None:
        """Stop answering and close the store. Requests under way are finished where nothing holds them up."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.faults.clear()
        self._server.end()
        self._store.close()

    @property
    def url(self) -> str:
        """The address that stands for https://api.flashcat.cloud."""
        return f"{'http' if self._tls is None else 'https'}://{ADDRESS}:{self.port}"

    @property
    def page_url(self) -> str:
        """The address of the page for a person."""
        return f"{self.url}{SANDBOX_PATH}"

    @property
    def app_key(self) -> str:
        """The first APP key."""
        return self.app_keys[0]

    def push_url(self, integration_key: str | None = None) -> str:
        """The Push URL as the console shows it, for a key or for the first one."""
        key = self.integration_keys[0] if integration_key is None else integration_key
        return f"{self.url}{rules.PUSH_PATH}?integration_key={quote(key, safe='')}"

    def list_url(self, app_key: str) -> str:
        """The address of /change/list for an APP key."""
        return f"{self.url}{rules.LIST_PATH}?app_key={quote(app_key, safe='')}"

    def integration_id(self, integration_key: str) -> int:
        """The number of the integration that this key belongs to. Raises KeyError."""
        return self._api.integrations[integration_key]

    def add_integration(self) -> None:
        """Make one more integration key. Raises Refused where there are enough."""
        with self._keys_lock:
            if len(self.integration_keys) >= INTEGRATIONS:
                raise Refused("InvalidParameter", f"there are {INTEGRATIONS} integrations, no more can be added")
            self._set_integration_keys([*self.integration_keys, new_key()])

    def renew(self) -> None:
        """Forget everything, and replace the integration keys by a new one, so that what was sent is sent again."""
        with self._keys_lock:
            self._set_integration_keys([new_key()])
            self.reset()

    def _set_integration_keys(self, keys: list[str]) -> None:
        self._api.integrations = self._store.numbers_of("integration", keys)
        self.integration_keys = keys
        if self._home is not None:
            self._home.keep(self)

    def environment(self) -> str:
        """Lines for a shell, which point Ansible at this sandbox."""
        return (
            # The settings of another account would go before these.
            "unset FLASHDUTY_API_URL FLASHDUTY_INTEGRATION_KEY FLASHDUTY_INTEGRATION_KEY_FILE\n"
            "export ANSIBLE_CALLBACKS_ENABLED=flashcat.flashduty.flashduty_change\n"
            f"export FLASHDUTY_PUSH_URL={shlex.quote(self.push_url())}\n"
            f"export FLASHDUTY_APP_KEY={shlex.quote(self.app_key)}"
        )

    def settings(self) -> dict[str, Any]:
        """What Ansible needs to reach this sandbox, how it merges, and how it is started."""
        integrations = [
            {"integration_id": self.integration_id(key), "push_url": self.push_url(key)}
            for key in self.integration_keys
        ]
        how = {"merge": self.merge, "route_label": self.route_label}
        to_start = {"shell": self.environment(), "start": START_COMMAND}
        if self._home is not None:
            to_start = self._home.settings(self)
        return {"integrations": integrations, "app_key": self.app_key, **how, **to_start}

    def requests(self) -> list[dict[str, Any]]:
        """Every request to the API, in order of arrival; see store.Received for the fields."""
        return self._store.requests()

    def events(self) -> list[dict[str, Any]]:
        """Every event taken, in order of arrival; `body` is what was sent, `discarded` why it was not recorded."""
        return self._store.events()

    def changes(self) -> list[dict[str, Any]]:
        """Every change as Flashduty would show it, by start, each with the `events` recorded."""
        return self._store.changes()

    def status(self) -> dict[str, Any]:
        """Who answers at this port: product, process, database (absolute path), address; and how it merges."""
        return {
            "sandbox": PRODUCT,
            "pid": os.getpid(),
            "database": str(self.database),
            "url": self.url,
            "merge": self.merge,
            "route_label": self.route_label,
        }

    def reset(self) -> None:
        """Forget every request, event and change."""
        self._store.reset()

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Return once `condition` holds, which is asked after each request. Raises TimeoutError after `timeout` s."""
        self._store.wait_for(condition, timeout)

    # ---- answering

    def _answer(self, request: Request, connection: Connection) -> Answer | None:
        request_id = uuid.uuid4().hex
        try:
            check_origin(request)
            if request.path == STREAM_PATH and request.method == "GET":
                last_event_id = request.headers.get("Last-Event-ID") or query(request, "after")
                feed.serve(self._store, connection, last_event_id)
                return None
            if request.path.startswith(SANDBOX_PATH):
                return self._sandbox.answer(request, request_id)
            if request.path == "/" and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
                # Nothing but a person in front of a browser asks for this.
                return Answer(302, b"", headers=(("Location", SANDBOX_PATH),))
            return self._answer_api(request, Received.arriving(request, request_id), connection)
        except Refused as refused:
            return refusal(refused, request_id)
        except OSError:
            raise
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return refusal(Refused("InternalError", "internal error"), request_id)

    def _answer_api(self, request: Request, received: Received, connection: Connection) -> Answer | None:
        active = self.faults.take(rules.ENDPOINTS.get(request.path), received.change_key)
        if active is None:
            return self._api.answer(request, received)
        fault = active.fault
        received.fault = fault.kind
        match fault.kind:
            case "delay":
                active.pause()
                if not self._closing.is_set():
                    return self._api.answer(request, received)
                connection.close_connection = True
            case "drip":
                connection.drip(active.pause, self._closing.is_set)
                return self._api.answer(request, received)
            case "lost_answer":
                self._api.answer(request, received)
                connection.reset()
            case "hang":
                self._keep_untaken(received, None)
                while not (active.over.is_set() or connection.speaks(_HANG_LOOK_SECONDS)):
                    pass
                connection.close_connection = True
            case "reset":
                self._keep_untaken(received, None)
                connection.reset()
            case _:
                answer = _faulty_answer(fault, received.request_id)
                self._keep_untaken(received, answer.status)
                return answer
        return None

    def _keep_untaken(self, received: Received, status: int | None) -> None:
        received.verdict, received.status = "fault", status
        self._store.record(received)


def new_key() -> str:
    """A key that nobody can guess, in the form of Flashduty's own."""
    return secrets.token_hex(16)


def _malformed(message: str) -> Answer:
    return refusal(Refused("InvalidParameter", message), uuid.uuid4().hex)


def _faulty_answer(fault: Fault, request_id: str) -> Answer:
    match fault.kind:
        case "html":
            title = b"%d Bad Gateway" % fault.status
            return Answer(fault.status, _HTML % (title, title), "text/html; charset=utf-8")
        case "portal":
            return Answer(200, _HTML % (b"Sign in", b"Sign in to this network"), "text/html; charset=utf-8")
        case "redirect":
            return Answer(fault.status, b"", "text/plain", (("Location", fault.location),))
        case "empty":
            return json_answer(200, {})
    headers = () if fault.retry_after is None else (("Retry-After", str(fault.retry_after)),)
    error = {"code": fault.code, "message": fault.message}
    return json_answer(fault.status, {"request_id": request_id, "error": error}, headers)
