# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever options hold and servers answer: what we expect, or one error of ours that shows no key."""

from __future__ import annotations

import gc
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
    redacted,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api

KEY = "Zk7Qw9XvB3nM5pL2"
# Nobody takes these for a key's place, and their errors quote what was given.
NO_PLACE_FOR_A_KEY = ("plain_http_hosts", "validate_certs", "ca_path", "client_cert", "client_key", "timeout")
NAMES = (
    "push_url",
    "integration_key",
    "integration_key_file",
    "api_url",
    "app_key",
    "outbox_url",
    "outbox_url_file",
    *NO_PLACE_FOR_A_KEY,
)

texts = st.text(max_size=20) | st.text(st.characters(categories=["Cs", "Cc", "Zs", "Po"]), max_size=6)
pieces = st.sampled_from(
    ["https://", "postgresql://", "http://", *"[]%@:/", "::1", "?integration_key=", KEY, "..", "\0"]
)
addresses = st.lists(pieces | texts, max_size=6).map("".join)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | addresses | st.binary(max_size=4)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)


def _keys_are_in_their_places(options: dict[str, Any]) -> bool:
    return not any(KEY in f"{options.get(name)!r}" for name in NO_PLACE_FOR_A_KEY)


@given(st.dictionaries(st.sampled_from(NAMES), anything, max_size=5).filter(_keys_are_in_their_places))
@example({"integration_key_file": KEY})
@example({"integration_key_file": "a\0b"})
@example({"integration_key": KEY, "ca_path": "a\0b"})
@example({"integration_key": KEY, "client_cert": "\ud800"})
@example({"integration_key": KEY, "timeout": "soon"})
@example({"integration_key": KEY, "timeout": 10**400})
@example({"integration_key": KEY, "api_url": "https://a..b"})
@example({"integration_key": KEY, "api_url": "https://exa\nmple.com"})
@example({"integration_key": KEY, "api_url": "http://example.com", "plain_http_hosts": 5})
@example({"integration_key": KEY, "outbox_url": f"postgresql://u:{KEY}@h"})
@example({"integration_key": KEY, "outbox_url": f"postgresql://u:{KEY}@@h"})
@example({"push_url": f"https://[/event/push/change/standard?integration_key={KEY}"})
def test_options_make_a_connection_or_one_clear_error(options: dict[str, Any]) -> None:
    result: Connection | InvalidConnection
    try:
        result = Connection.from_options(options)
    except InvalidConnection as error:
        result = error
    assert KEY not in f"{result} {result!r}"
    if isinstance(result, Connection):
        assert len(result.integration_id(b"salt")) == 32
    else:
        assert result.option in NAMES


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=30), st.text(max_size=30))
@example("abcd", "ab")
@example("a+b/c%41", "")
def test_no_spelling_of_a_key_is_left(key: str, around: str) -> None:
    for spelling in (key, repr(key)[1:-1]):
        assert key not in redacted(f"{around.replace(key, '')}\n{spelling}\n", key).replace("*", "")


class _Server:
    """Answers each request with the same bytes, whatever they are, and then with more of them or the end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.answer = b""
        self.more = b""
        self._open = True
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            connection, _address = self._listener.accept()
            if not self._open:
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                connection.recv(65536)
                connection.sendall(self.answer)
                while self.more and self._open:
                    connection.sendall(self.more)
                    time.sleep(0.001)
            except OSError:
                pass

    def close(self) -> None:
        """Serve no more."""
        self._open = False
        socket.create_connection(self._listener.getsockname()).close()
        for thread in (self._accepting, *self._threads):
            thread.join()
        self._listener.close()


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    made = _Server()
    yield made
    made.close()


BUDGET = 1.0
_STATUS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 429 x", b"HTTP/1.0 500 \xff", b"HTTP/9 1", b"200", b""),
        b"HTTP/1.1 100 Continue",
    ]
)
_HEADERS = st.sampled_from(
    [
        *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: x"),
        *(b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"Content-Encoding: deflate"),
        *(b"Content-Type: application/json; charset=utf-16", b"Content-Type: \xff\xfe", b"Retry-After: -5"),
        *(b"Retry-After: 9999999999999999999999", b"Retry-After: Wed, 99 Foo 2026 00:00:00"),
        *(b"Location: http://[/%b" % KEY.encode(), b"Set-Cookie: \0=\0", b": nothing", b" folded", b"no colon"),
        b"X: " + b"y" * 70000,
    ]
)
_BODIES = st.sampled_from(
    [
        *(b"", b"{}", b"null", b"[]", b'"x"', b'{"request_id": 5}', b'{"request_id": ""}', b'{"request_id": "r"}'),
        *(b'{"request_id": "r", "error": []}', b'{"request_id": "r", "error": {"code": {"a": 1}, "message": null}}'),
        b'{"request_id": "r\\u0000\\ud800", "error": {"code": "\\u001b[31m", "message": "%b\\n"}}' % KEY.encode(),
        *(b'{"error": "%b"}' % KEY.encode(), b"<html>%b" % KEY.encode(), b"[" * 100000, b"1" * 5000),
        *(b'{"request_id": "%b"}' % (b"r" * 2000000), zlib.compress(b"x" * 10_000_000), b"5\r\nhello\r\n"),
        *(b"zz\r\n", b"-1\r\n", b"\xff\xfe{\0}\0"),
    ]
)
_answers = st.binary(max_size=200) | st.builds(
    lambda status, headers, body: b"\r\n".join([status, *headers, b"", body]),
    _STATUS,
    st.lists(_HEADERS, max_size=4),
    _BODIES | st.binary(max_size=50),
)


def _push(url: str) -> str | ApiError:
    api = Api(Connection(url, KEY))
    began = time.monotonic()
    # Up to Python 3.11 a finalizer that comes while json is as deep as it may go fails for lack of stack.
    gc.disable()
    try:
        return api.push("{}", BUDGET)
    except ApiError as error:
        return error
    finally:
        gc.enable()
        api.close()
        assert time.monotonic() - began < 10 * BUDGET


@settings(max_examples=150)
@given(answer=_answers)
@example(answer=b"")
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100000)
@example(answer=b"HTTP/1.1 302 x\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n")
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"1" * 5000)
def test_any_answer_is_success_or_one_error_that_is_tried_again_or_not(server: _Server, answer: bytes) -> None:
    server.answer, server.more = answer, b""
    result = _push(server.url)
    if isinstance(result, str):
        assert b"HTTP/" in answer
        assert b"request_id" in answer
        return
    for text in (result.message, result.code or "", result.request_id or ""):
        assert KEY not in text
        assert len(text) <= 400
        assert text == plain_text(text)
    assert result.retry_after is None or result.retry_after >= 0


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 10000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\ny\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"y"),
    ],
    ids=["headers", "one header", "body", "chunks", "continue", "status line"],
)
def test_an_answer_that_never_ends_is_ended(server: _Server, start: bytes, more: bytes) -> None:
    server.answer, server.more = start, more
    result = _push(server.url)
    server.more = b""
    assert isinstance(result, ApiError)
    assert result.retry
