# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change API over ``requests``: one exchange at a time, with a deadline that holds and errors that say what to do.

Private to this collection; may change in any release.

Source: https://developer.flashcat.cloud/zh/flashduty/event-api/change-event
"""

from __future__ import annotations

import datetime
import email.utils
import http.client
import importlib.util
import json
import logging
import os
import re
import socket
import sys
import threading
import time
import traceback
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import PUSH_PATH, Connection, is_loopback

USER_AGENT = "ansible-collection-flashcat.flashduty"
_ANSWER_MAX = 16 << 20
# Seconds. Servers and proxies drop idle connections; finding out costs a failed try.
_KEPT_ALIVE_MAX = 4.0
_MESSAGE_MAX = 300
_RETRY_CODES = frozenset({"RequestTooFrequently", "InternalError"})
_FINAL_CODES = frozenset(
    {
        "InvalidParameter",
        "InvalidContentType",
        "MethodNotAllowed",
        "ResourceNotFound",
        "NoLicense",
        "Unauthorized",
        "AccessDenied",
        "RouteNotFound",
    }
)


class _Deadline:
    """Ends an exchange by closing its socket: a socket's own time-out starts anew with each byte that drips in.

    Nothing of the exchange is open afterwards: urllib3 leaves open an answer that it refuses.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self.answer: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._close)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        try:
            self._timer.start()
        except RuntimeError:
            raise ApiError("no thread can be started for the request", retry=True) from None
        _exchange.deadline = self
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _exchange.deadline = None
        if self.answer is not None:
            self.answer.close()
        with self._lock:
            self._forget()

    def watch(self, descriptor: int) -> None:
        # Another one of the same connection: TLS takes the first away before it shakes hands.
        connection = socket.socket(fileno=os.dup(descriptor))
        with self._lock:
            self._forget()
            self._socket = connection
            if self.passed:
                self._shut()

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _close(self) -> None:
        with self._lock:
            self.passed = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class _Exchange(threading.local):
    deadline: _Deadline | None = None


_exchange = _Exchange()


class _WatchedAnswer(http.client.HTTPResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if _exchange.deadline is not None:
            _exchange.deadline.answer = self


class _Watched:
    """Gives the deadline of the running exchange the connection that carries it, be it new or kept alive."""

    sock: Any
    response_class: Any = _WatchedAnswer

    # urllib3 makes the socket by this, before it talks to a proxy and shakes hands.
    def _new_conn(self) -> Any:
        sock = super()._new_conn()  # type: ignore[misc]
        self._watch(sock)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._watch(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]

    @staticmethod
    def _watch(sock: Any) -> None:
        if _exchange.deadline is not None and sock is not None:
            _exchange.deadline.watch(sock.fileno())


try:
    import requests
    import requests.adapters
    import urllib3
    import urllib3.connection
    import urllib3.connectionpool
except Exception as error:  # a damaged installation raises anything
    IMPORT_ERROR = traceback.format_exc()
    _IMPORT_PROBLEM = " ".join(f"{type(error).__name__}: {error}".split())
else:
    IMPORT_ERROR = _IMPORT_PROBLEM = ""

    class _HTTPConnection(_Watched, urllib3.connection.HTTPConnection):
        pass

    class _HTTPSConnection(_Watched, urllib3.connection.HTTPSConnection):
        pass

    class _HTTPPool(urllib3.connectionpool.HTTPConnectionPool):
        ConnectionCls = _HTTPConnection

    class _HTTPSPool(urllib3.connectionpool.HTTPSConnectionPool):
        ConnectionCls = _HTTPSConnection

    _POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
    # It writes addresses into its log, and with them the key.
    logging.getLogger("urllib3").propagate = False

    class _Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = _POOLS

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = _POOLS
            return manager


def import_problem() -> str | None:
    """Why this Python cannot use ``requests``, with what to do, in one line; None where it can."""
    if not IMPORT_ERROR:
        return None
    found = importlib.util.find_spec("requests")
    place = f" from {found.origin}" if found is not None else ""
    return (
        f"the Python package requests cannot be imported{place} ({_IMPORT_PROBLEM})."
        f" Repair it with: {sys.executable} -m pip install --force-reinstall requests"
    )


def environment_proxy(address: str) -> str | None:
    """The proxy that the environment names for an address."""
    proxy: str | None = requests.utils.select_proxy(address, requests.utils.get_environ_proxies(address))
    return proxy


class Api:
    """One integration's change API. Not for use by several threads at once; open one for each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        session = requests.Session()
        session.mount("http://", _Adapter(max_retries=0))
        session.mount("https://", _Adapter(max_retries=0))
        session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json"})
        # Without an auth of its own, requests would add credentials that it finds in a .netrc.
        session.auth = lambda request: request
        if is_loopback(urllib.parse.urlsplit(connection.api_url).hostname or ""):
            session.trust_env = False
        if connection.client_cert:
            session.cert = (
                (connection.client_cert, connection.client_key) if connection.client_key else connection.client_cert
            )
        if not connection.validate_certs:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._session = session
        self._last_use = time.monotonic()

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._session.close()

    def push(self, body: str, budget: float) -> str:
        """Push one change event and return Flashduty's request_id.

        :param body: the event as JSON.
        :param budget: seconds after which the exchange is ended, whatever it is doing.
        :raises ApiError: for everything but success.
        """
        answer = self.post(PUSH_PATH, {"integration_key": self._connection.integration_key}, body, budget)
        return self._plain(answer["request_id"])

    def post(self, path: str, key: Mapping[str, str], body: str, budget: float) -> Mapping[str, Any]:
        """Send one request and return what Flashduty answered, which has its request_id.

        :param path: below the API's address.
        :param key: the key by its name in the query string.
        :param body: JSON.
        :param budget: seconds after which the exchange is ended, whatever it is doing.
        :raises ApiError: for everything but success.
        """
        if time.monotonic() - self._last_use > _KEPT_ALIVE_MAX:
            self._session.close()
        with _Deadline(budget) as deadline:
            try:
                response = self._session.post(
                    self._connection.api_url + path,
                    params=dict(key),
                    data=body.encode(),
                    headers={"Content-Type": "application/json"},
                    timeout=budget,
                    verify=self._verify(),
                    allow_redirects=False,
                    stream=True,
                )
                content = b""
                with response:
                    for chunk in response.iter_content(65536):
                        content += chunk
                        if len(content) > _ANSWER_MAX:
                            break
            # A peer can make the layers below raise almost anything; all of it means that no answer came.
            except Exception as error:
                if deadline.passed or isinstance(error, requests.Timeout):
                    raise ApiError(f"no answer within {budget:.3g} s", retry=True) from None
                raise ApiError(self._plain(_no_answer(error)), retry=True) from None
        self._last_use = time.monotonic()
        return self._judged(response, content)

    def _verify(self) -> bool | str:
        """What to check the server's certificate with.

        Always a path: beside an empty CURL_CA_BUNDLE, old releases of requests take True for no check at all.
        """
        if not self._connection.validate_certs:
            return False
        trusted = self._connection.ca_path
        if not trusted and self._session.trust_env:
            trusted = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        return trusted or requests.utils.DEFAULT_CA_BUNDLE_PATH

    def _judged(self, response: requests.Response, content: bytes) -> Mapping[str, Any]:
        answer = _parsed(content)
        status = response.status_code
        request_id = answer.get("request_id")
        request_id = self._plain(request_id) if isinstance(request_id, str) and request_id else None
        error = answer.get("error")
        if request_id and 200 <= status < 300 and not error:
            return answer
        retry_after = _retry_after(response.headers.get("Retry-After"))
        if isinstance(error, Mapping) and error.get("code"):
            code = self._plain(str(error["code"]))
            retry = code in _RETRY_CODES or (code not in _FINAL_CODES and not 400 <= status < 500) or status == 429
            message = self._plain(str(error.get("message") or "no message"))
            server_time = _moment(response.headers.get("Date"))
            raise ApiError(f"{code}: {message}", retry, status, code, request_id, retry_after, server_time)
        if 300 <= status < 400:
            target = self._plain(urllib.parse.urlsplit(response.headers.get("Location") or "").netloc or "elsewhere")
            problem = (
                f"a redirect to {target}, which is not followed: check api_url, and whether a proxy or portal answered"
            )
        elif status == 429:
            problem = "too many requests"
        else:
            problem = "an answer that is not Flashduty's: check api_url, and whether a proxy or portal answered"
        raise ApiError(f"HTTP {status}, {problem}", True, status, None, request_id, retry_after)

    def _plain(self, text: str) -> str:
        redact = self._connection.redact
        return redact(plain_text(redact(text))).strip()[:_MESSAGE_MAX]


def _no_answer(error: Exception) -> str:
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None)
        inner = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
        if inner is None or inner is cause:
            break
        cause = inner
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy did not connect: {_reason(cause)}"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the TLS connection failed: {_reason(cause)}. Check ca_path, and whether there is a proxy in between"
    if isinstance(cause, socket.gaierror):
        return "the host name was not found"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
        return "the connection was closed before an answer arrived"
    return f"no answer: {_reason(cause)}"


def _reason(cause: BaseException) -> str:
    # Messages of the layers below quote the address, and with it the key: also where it is cut or spelled otherwise.
    # From the start of a word only, or the time grows with the square of its length.
    text = re.sub(r"(?<!\S)\S*(?:integration|app)_key\S*", "…", str(cause)) or type(cause).__name__
    return text[:_MESSAGE_MAX]


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, Mapping) else {}


def _retry_after(value: str | None) -> float | None:
    if not value:
        return None
    if re.fullmatch(r"\s*\d{1,6}\s*", value):
        return float(value)
    moment = _moment(value)
    return None if moment is None else max(0.0, moment - time.time())


def _moment(value: str | None) -> float | None:
    """A date as HTTP has it in Unix seconds, None for anything else."""
    try:
        moment = email.utils.parsedate_to_datetime(value or "")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return moment.timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
