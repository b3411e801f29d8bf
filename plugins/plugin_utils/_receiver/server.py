# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The receiver itself: Flashduty's change API on 127.0.0.1, strict, with a memory and with faults.

Beside the API it serves, for people and tests and without limits:

| method and path | what it does |
|---|---|
| GET /sandbox/status | who answers: `sandbox`, `pid`, `database`, `url` |
| GET /sandbox/changes, /sandbox/events, /sandbox/requests | what it holds, as a JSON list |
| DELETE /sandbox/changes | forgets everything |
| GET /sandbox/ | the page that shows it to a person |
| GET /sandbox/stream | server-sent events for that page; see feed |
| GET /sandbox/change?change_id=, /sandbox/request?number= | one change with its requests, one refused request |
| POST /sandbox/correlate | the changes that an alert (`labels`, `time`, `window`) would bring up; see correlation |
| GET, POST, DELETE /sandbox/faults | lists, adds (a JSON object with `kind`), clears the faults |
| POST /sandbox/stop | ends the receiver where it runs as a program |

Private to this collection; may change in any release.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import selectors
import socket
import ssl
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver import correlation, page, rules
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.connection import (
    Answer,
    Connection,
    MalformedRequest,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.faults import Active, Fault, Faults
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.feed import BODY_CHARACTERS, Feed
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.rate_limit import (
    PER_MINUTE,
    PER_SECOND,
    RateLimit,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.rules import Refused, Request
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.store import (
    ACCEPTED,
    Received,
    Store,
)

ADDRESS = "127.0.0.1"
SANDBOX_PATH = "/sandbox/"
ARRIVALS = 500
MATCHES = 100
PRODUCT = "flashcat.flashduty"
CLOSE_SECONDS = 5.0
# A browser sends the name that it was given: one that only resolves to 127.0.0.1 is another site's trick.
_LOCAL_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?", re.IGNORECASE)
_HTML = b"<!DOCTYPE html><html><head><title>%b</title></head><body><h1>%b</h1></body></html>\n"

Handler = Callable[[Request, str], Answer]


class Receiver:
    """A receiver in this process, open between start() and close() or inside a `with` block.

    It listens on 127.0.0.1 only. It never reads the clock of a test: times are those of this machine.
    """

    def __init__(
        self,
        database: Path | str,
        integration_keys: Collection[str] = ("sandbox",),
        app_keys: Collection[str] = ("sandbox-app",),
        *,
        port: int = 0,
        per_second: int | None = PER_SECOND,
        per_minute: int | None = PER_MINUTE,
        tls: tuple[Path | str, Path | str] | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        """Prepare a receiver.

        Args:
            database: the file of the store; it is created where it is missing.
            integration_keys: the keys that a push may carry, each an integration of its own.
            app_keys: the keys that a question for changes may carry.
            port: TCP port, 0 for a free one.
            per_second: requests a second that each integration may send, None for no limit.
            per_minute: requests a minute that each integration may send, None for no limit.
            tls: files of a certificate and its key, in PEM, to serve HTTPS.
            on_stop: what POST /sandbox/stop calls; without it there is no such route.
        """
        self.database = Path(database).absolute()
        self.port = port
        self.faults = Faults(refuse=self._refuse_connections, accept=self._accept_connections)
        self._integration_keys = integration_keys
        self._app_keys = app_keys
        self._limit = RateLimit(per_second, per_minute)
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self._on_stop = on_stop
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._busy: dict[Connection, bool] = {}
        self._threads: set[threading.Thread] = set()
        self._port_lock = threading.RLock()
        self._listener: _Listener | None = None
        self._refusing: socket.socket | None = None
        self._refusal: threading.Timer | None = None
        self._refusals = 0
        self._routes: Mapping[str, Mapping[str, Handler]] = self._make_routes()

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Receiver:
        """Open store and port, and answer from now on.

        Raises:
            OSError: the port is taken, or not allowed.
            StoreError: the database cannot be used.
        """
        sock = _bind(self.port)
        try:
            self._store = Store(self.database)
            self._integrations = self._store.activate("integration", self._integration_keys)
            self._apps = self._store.activate("app", self._app_keys)
        except BaseException:
            sock.close()
            raise
        self._page = page.load()
        self._feed = Feed(self._store)
        self._store.listen(self._feed.wake)
        self.port = int(sock.getsockname()[1])
        self._listener = _Listener(sock, self._connected)
        return self

    def close(self) -> None:
        """Stop answering and close the store. Requests under way are finished where nothing holds them up."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._port_lock:
            if self._refusing:
                self._refusing.close()
            elif self._listener:
                self._listener.close()
            if self._refusal:
                self._refusal.cancel()
        self.faults.clear()
        self._shutdown_connections(busy=False)
        deadline = time.monotonic() + CLOSE_SECONDS
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._shutdown_connections(busy=True)
        for thread in threads:
            thread.join(CLOSE_SECONDS)
        self._store.close()

    @property
    def url(self) -> str:
        """The address that stands for https://api.flashcat.cloud."""
        return f"{'http' if self._tls is None else 'https'}://{ADDRESS}:{self.port}"

    @property
    def page_url(self) -> str:
        """The address of the page for a person."""
        return f"{self.url}{SANDBOX_PATH}"

    def push_url(self, integration_key: str | None = None) -> str:
        """The Push URL as the console shows it, for a key or for the first one."""
        key = next(iter(self._integration_keys)) if integration_key is None else integration_key
        return f"{self.url}{rules.PUSH_PATH}?integration_key={quote(key, safe='')}"

    def list_url(self, app_key: str | None = None) -> str:
        """The address of /change/list, for an app key or for the first one."""
        key = next(iter(self._app_keys)) if app_key is None else app_key
        return f"{self.url}{rules.LIST_PATH}?app_key={quote(key, safe='')}"

    def integration_id(self, integration_key: str) -> int:
        """The number of the integration that this key belongs to. Raises KeyError."""
        return self._integrations[integration_key]

    def requests(self) -> list[dict[str, Any]]:
        """Every request to the API, in order of arrival; see store.Received for the fields."""
        return self._store.requests()

    def events(self) -> list[dict[str, Any]]:
        """Every event taken, in order of arrival; `body` is what was sent."""
        return self._store.events()

    def changes(self) -> list[dict[str, Any]]:
        """Every change, by start, each with its `events`."""
        return self._store.changes()

    def reset(self) -> None:
        """Forget every request, event and change."""
        self._store.reset()

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Return once `condition` holds, which is asked after each request. Raises TimeoutError after `timeout` s."""
        self._store.wait_for(condition, timeout)

    # ---- connections

    def _connected(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        connection = Connection(sock)
        thread = threading.Thread(target=self._serve, args=(connection,), name="receiver-connection", daemon=True)
        with self._lock:
            self._busy[connection] = False
            self._threads.add(thread)
        thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            if isinstance(connection.socket, ssl.SSLSocket):
                connection.socket.do_handshake()
            while self._serve_one(connection):
                pass
        # ValueError: another thread closed the socket under this one.
        except (OSError, ValueError):
            pass
        except MalformedRequest as error:
            try:
                connection.send(_error(Refused("InvalidParameter", str(error)), _new_request_id()), keep_alive=False)
            except OSError:
                pass
        finally:
            with self._lock:
                self._busy.pop(connection, None)
                self._threads.discard(threading.current_thread())
            connection.close()

    def _serve_one(self, connection: Connection) -> bool:
        """Serve one request and return whether the connection may carry another one."""
        incoming = connection.receive()
        if incoming is None:
            return False
        self._mark(connection, busy=True)
        request, keep_alive = incoming
        request_id = _new_request_id()
        if request.path.startswith(SANDBOX_PATH):
            answer = self._answer_sandbox(request, request_id)
            if answer is _STREAM:
                # Nothing waits for the end of a stream.
                self._mark(connection, busy=False)
                self._feed.serve(connection, request.last_event_id or _query(request, "after"))
                return False
        elif request.path == "/" and request.method == "GET" and "text/html" in request.accept:
            # Nothing but a person in front of a browser asks for this.
            answer = Answer(302, b"", headers=(("Location", SANDBOX_PATH),))
        else:
            exchange = _Exchange(request, request_id)
            active = self.faults.take(exchange.endpoint, lambda: rules.peek_change_key(request.body))
            if active is not None and active.fault.kind in _TRANSPORT:
                return self._misbehave(connection, exchange, active)
            if active is not None and active.fault.kind == "delay":
                active.pause()
                if self._closing.is_set():
                    return False
            if active is not None and active.fault.kind != "delay":
                answer = _faulty_answer(active.fault, request_id)
                self._record(exchange, "fault", answer.status, fault=active.fault.kind)
            else:
                answer = self._answer_api(exchange, None if active is None else active.fault.kind)
        keep_alive = keep_alive and self._may_stay()
        connection.send(answer, keep_alive=keep_alive, head_only=request.method == "HEAD")
        self._mark(connection, busy=False)
        return keep_alive and self._may_stay()

    def _misbehave(self, connection: Connection, exchange: _Exchange, active: Active) -> bool:
        kind = active.fault.kind
        if kind == "hang":
            self._record(exchange, "fault", None, fault=kind)
            active.hold(connection.socket)
        elif kind == "reset":
            self._record(exchange, "fault", None, fault=kind)
            connection.reset_on_close()
        elif kind == "lost_answer":
            self._answer_api(exchange, kind)
            connection.reset_on_close()
        else:
            connection.send_slowly(self._answer_api(exchange, kind), active.pause, self._closing.is_set)
        return False

    def _mark(self, connection: Connection, *, busy: bool) -> None:
        with self._lock:
            if connection in self._busy:
                self._busy[connection] = busy

    def _may_stay(self) -> bool:
        return not self._closing.is_set() and self._refusing is None

    def _shutdown_connections(self, *, busy: bool) -> None:
        with self._lock:
            chosen = [connection for connection, is_busy in self._busy.items() if busy or not is_busy]
        for connection in chosen:
            connection.shutdown()

    def _refuse_connections(self, seconds: float) -> None:
        with self._port_lock:
            if self._closing.is_set() or self._listener is None:
                return
            if self._refusal:
                self._refusal.cancel()
            if self._refusing is None:
                self._listener.close()
                # Bound but not listening: the kernel refuses connections, and nobody else can take the port.
                self._refusing = _bind(self.port)
            self._refusals += 1
            self._refusal = threading.Timer(seconds, self._end_refusal, args=(self._refusals,))
            self._refusal.daemon = True
            self._refusal.start()
        self._shutdown_connections(busy=False)

    def _end_refusal(self, number: int) -> None:
        with self._port_lock:
            if number == self._refusals:
                self._accept_connections()

    def _accept_connections(self) -> None:
        with self._port_lock:
            if self._refusing is None or self._closing.is_set():
                return
            if self._refusal:
                self._refusal.cancel()
            self._listener = _Listener(self._refusing, self._connected)
            self._refusing = self._refusal = None

    # ---- the API

    def _answer_api(self, exchange: _Exchange, fault: str | None) -> Answer:
        request, request_id = exchange.request, exchange.request_id
        try:
            endpoint = rules.endpoint_of(request)
            if endpoint == "push":
                exchange.integration_id = rules.integration_of(request, self._integrations)
                if not self._limit.admit(exchange.integration_id):
                    raise Refused("RequestTooFrequently", "too many requests for this integration")
                event = rules.judge_push(request, time.time())
                received = exchange.received(ACCEPTED, 200, fault=fault)
                self._store.accept(received, exchange.integration_id, event)
                return _json_answer(200, {"request_id": request_id})
            rules.check_app_key(request, self._apps)
            data = self._store.find_changes(rules.judge_list(request, time.time()))
            self._record(exchange, ACCEPTED, 200, fault=fault)
            return _json_answer(200, {"request_id": request_id, "data": data})
        except Refused as refused:
            self._record(exchange, refused.code, refused.status, refused.recorded, fault)
            return _error(refused, request_id)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return _error(Refused("InternalError", "internal error"), request_id)

    def _record(
        self, exchange: _Exchange, verdict: str, status: int | None, message: str = "", fault: str | None = None
    ) -> None:
        self._store.record(exchange.received(verdict, status, message, fault))

    # ---- the pages beside the API

    def _make_routes(self) -> Mapping[str, Mapping[str, Handler]]:
        routes: dict[str, dict[str, Handler]] = {
            "": {"GET": lambda request, request_id: self._page},
            "stream": {"GET": lambda request, request_id: _STREAM},
            "change": {"GET": self._get_change},
            "request": {"GET": self._get_request},
            "correlate": {"POST": self._correlate},
            "status": {"GET": lambda request, request_id: _json_answer(200, self.status())},
            "changes": {
                "GET": lambda request, request_id: _json_answer(200, self.changes()),
                "DELETE": self._delete_changes,
            },
            "events": {"GET": lambda request, request_id: _json_answer(200, self.events())},
            "requests": {"GET": lambda request, request_id: _json_answer(200, self.requests())},
            "faults": {
                "GET": lambda request, request_id: _json_answer(200, self.faults.public()),
                "POST": self._post_fault,
                "DELETE": self._delete_faults,
            },
        }
        if self._on_stop is not None:
            routes["stop"] = {"POST": self._post_stop}
        return routes

    def status(self) -> dict[str, Any]:
        """Who answers at this port: product, process, database (absolute path), address."""
        return {
            "sandbox": PRODUCT,
            "pid": os.getpid(),
            "database": str(self.database),
            "url": self.url,
        }

    def _answer_sandbox(self, request: Request, request_id: str) -> Answer:
        try:
            if not _LOCAL_HOST.fullmatch(request.host):
                raise Refused("AccessDenied", "the sandbox answers to 127.0.0.1 and localhost only")
            # A link to the page may stand anywhere; what the page asks for, only the page may ask a browser for.
            if request.fetch_site in ("cross-site", "same-site") and request.path != SANDBOX_PATH:
                raise Refused("AccessDenied", "the sandbox answers to its own page only")
            methods = self._routes.get(request.path[len(SANDBOX_PATH) :])
            if methods is None:
                raise Refused("RouteNotFound", f"no route for {request.method} {request.path}")
            handler = methods.get(request.method)
            if handler is None:
                raise Refused("MethodNotAllowed", f"method {request.method} is not supported")
            return handler(request, request_id)
        except Refused as refused:
            return _error(refused, request_id)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return _error(Refused("InternalError", "internal error"), request_id)

    def _get_change(self, request: Request, request_id: str) -> Answer:
        found = self._store.arrivals(_query(request, "change_id"), ARRIVALS, BODY_CHARACTERS)
        if found is None:
            raise Refused("RouteNotFound", "there is no change with this change_id")
        return _json_answer(200, found)

    def _get_request(self, request: Request, request_id: str) -> Answer:
        number = _query(request, "number")
        found = self._store.arrival(int(number), BODY_CHARACTERS) if _NUMBER.fullmatch(number) else None
        if found is None:
            raise Refused("RouteNotFound", "there is no request with this number")
        return _json_answer(200, found)

    def _correlate(self, request: Request, request_id: str) -> Answer:
        question = rules.judge_correlate(request, time.time())
        alert = correlation.Alert(question.labels, question.time)
        near = self._store.overlapping(alert.time - question.window, alert.time + question.window)
        ranking = correlation.rank(near, alert, question.window)
        answer = {
            name: {"total": len(matches), "items": [dataclasses.asdict(match) for match in matches[:MATCHES]]}
            for name, matches in vars(ranking).items()
        }
        return _json_answer(200, answer | {"considered": len(near)})

    def _delete_changes(self, request: Request, request_id: str) -> Answer:
        self.reset()
        return _json_answer(200, {"request_id": request_id})

    def _post_fault(self, request: Request, request_id: str) -> Answer:
        options = rules.json_object(request)
        try:
            fault = self.faults.set(options.pop("kind", ""), **options)
        except (TypeError, ValueError) as error:
            raise Refused("InvalidParameter", str(error)) from error
        return _json_answer(200, {"request_id": request_id, "fault": fault.public()})

    def _delete_faults(self, request: Request, request_id: str) -> Answer:
        self.faults.clear()
        return _json_answer(200, {"request_id": request_id})

    def _post_stop(self, request: Request, request_id: str) -> Answer:
        rules.json_object(request)
        if self._on_stop is not None:
            self._on_stop()
        return _json_answer(200, {"request_id": request_id})


class _Exchange:
    """A request to the API on its way to a verdict."""

    def __init__(self, request: Request, request_id: str) -> None:
        self.request = request
        self.request_id = request_id
        self.integration_id: int | None = None
        self.arrival = time.time()

    @property
    def endpoint(self) -> str | None:
        try:
            return rules.endpoint_of(self.request)
        except Refused:
            return None

    def received(self, verdict: str, status: int | None, message: str = "", fault: str | None = None) -> Received:
        return Received(
            received=self.arrival,
            request_id=self.request_id,
            method=self.request.method,
            path=self.request.path,
            integration_id=self.integration_id,
            verdict=verdict,
            status=status,
            message=message,
            fault=fault,
            user_agent=self.request.user_agent,
            body=self.request.body.decode("utf-8", "backslashreplace"),
            change_key=_storable(rules.peek_change_key(self.request.body)),
        )


class _Listener:
    """Accepts connections in a thread of its own until it is closed."""

    def __init__(self, sock: socket.socket, connected: Callable[[socket.socket], None]) -> None:
        sock.listen(1024)
        sock.setblocking(False)
        self._socket = sock
        self._connected = connected
        self._waker, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="receiver-listener", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while self._woken not in [key.fileobj for key, _events in selector.select()]:
                try:
                    sock, _address = self._socket.accept()
                    sock.setblocking(True)
                    self._connected(sock)
                except OSError:
                    # The peer was gone before it was accepted.
                    continue

    def close(self) -> None:
        self._waker.send(b".")
        self._thread.join()
        for sock in (self._socket, self._waker, self._woken):
            sock.close()


_STREAM = Answer(200, b"")
_NUMBER = re.compile(r"[0-9]{1,18}")
_TRANSPORT = ("hang", "reset", "lost_answer", "drip")


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ADDRESS, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _storable(text: str | None) -> str | None:
    """None for text with half a surrogate pair, too, which no file can hold."""
    return None if text is None or any("\ud800" <= character <= "\udfff" for character in text) else text


def _query(request: Request, name: str) -> str:
    return rules.query_parameter(request.query, name) or ""


def _new_request_id() -> str:
    return uuid.uuid4().hex


def _json_answer(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, json.dumps(value).encode("ascii") + b"\n", headers=headers)


def _error(refused: Refused, request_id: str) -> Answer:
    error = {"code": refused.code, "message": refused.message}
    return _json_answer(refused.status, {"request_id": request_id, "error": error})


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
            return _json_answer(200, {})
    headers = () if fault.retry_after is None else (("Retry-After", str(fault.retry_after)),)
    error = {"code": fault.code, "message": fault.message}
    return _json_answer(fault.status, {"request_id": request_id, "error": error}, headers)
