# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP on 127.0.0.1: a thread for each connection, so clients that say nothing stop nobody."""

from __future__ import annotations

import contextlib
import io
import selectors
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from flashduty_sandbox.answer import Answer
from flashduty_sandbox.rules import BODY_BYTES, Refused, Request, body_length

ADDRESS = "127.0.0.1"
SILENT_SECONDS = 60.0
CLOSE_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_LINGER_BYTES = 16 * BODY_BYTES
_LINGER_SECONDS = 1.0
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(BaseHTTPRequestHandler):
    """One connection and the request that it carries at the moment."""

    server: HttpServer
    protocol_version = "HTTP/1.1"
    default_request_version = protocol_version
    disable_nagle_algorithm = True
    timeout = SILENT_SECONDS
    command = ""
    raw_requestline = b""
    _unread = False

    def setup(self) -> None:
        super().setup()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()

    def parse_request(self) -> bool:
        self._unread = True
        self.request_version = self.default_request_version
        if len(self.raw_requestline.split()) != 3:
            # Without a version it would be HTTP/0.9; an empty line would get no answer at all.
            self.send_error(400, "the request line cannot be read")
            return False
        return super().parse_request()

    def __getattr__(self, name: str) -> Callable[[], None]:
        # Whatever the method, the application knows the answer.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        request = self._read_request()
        answer = None if request is None else self.server.application(request, self)
        if answer is not None:
            self.send(answer)

    def _read_request(self) -> Request | None:
        """The whole request, None where the client was gone before its end."""
        headers = self.headers
        body, problem = b"", ""
        try:
            length = body_length(headers)
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return None
            self._unread = False
        except Refused as refused:
            problem = refused.message
            self._unread = "Content-Length" in headers or "Transfer-Encoding" in headers
            self.close_connection = self.close_connection or self._unread
        # Not self.path, in which http.server has joined slashes.
        path, _separator, query = self.requestline.split()[1].partition("?")
        return Request(self.command, path, query, headers, body, problem)

    def send(self, answer: Answer, *, sized: bool = True) -> None:
        """Send an answer, without its body to HEAD. Not `sized`: what write() adds ends with the connection.

        Raises:
            OSError: the connection broke.
        """
        self.close_connection = self.close_connection or not sized or not self.server.accepting
        # Head and body leave in one piece.
        client, self.wfile = self.wfile, io.BytesIO()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        if sized:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        data, self.wfile = self.wfile.getvalue(), client
        client.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP request, as the API answers whatever it cannot use."""
        self._unread = self.close_connection = True
        self.send(self.server.malformed(message or "the request cannot be read"))

    def speaks(self, seconds: float) -> bool:
        """Whether the client sends something or closes the connection within `seconds`; so does the server's end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def drip(self, pause: Callable[[], None], stopped: Callable[[], bool]) -> None:
        """Send from now on one byte at a time, with a pause before each, until `stopped`."""
        self.close_connection = True
        self.wfile = _Drip(self.connection, pause, stopped)

    def reset(self) -> None:
        """Close the connection with a reset instead of an end."""
        self.close_connection = True
        self._unread = False
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.rfile.close()
        self.connection.close()

    def finish(self) -> None:
        if self._unread:
            self._linger()
        super().finish()

    def _linger(self) -> None:
        """Read what is still coming: closing over unread bytes resets the connection and takes the answer with it."""
        left = _LINGER_BYTES
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.connection, socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            while left > 0 and (chunk := self.connection.recv(65536)):
                left -= len(chunk)

    def version_string(self) -> str:
        return "flashduty-sandbox"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the store keeps every request."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what goes wrong on a connection is its client's affair."""


class _Drip(io.BufferedIOBase):
    """Writes to a socket one byte at a time."""

    def __init__(self, sock: socket.socket, pause: Callable[[], None], stopped: Callable[[], bool]) -> None:
        self._socket = sock
        self._pause = pause
        self._stopped = stopped

    def write(self, data: Any) -> int:
        for byte in bytes(data):
            self._pause()
            if self._stopped():
                raise BrokenPipeError("the sandbox ends")
            self._socket.sendall(bytes((byte,)))
        return len(data)


class HttpServer(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1 between listen() and end()."""

    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(
        self,
        port: int,
        application: Callable[[Request, Connection], Answer | None],
        malformed: Callable[[str], Answer],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the port; clients are refused until listen().

        Args:
            port: TCP port, 0 for a free one.
            application: answers a request; None where it dealt with the connection itself.
            malformed: the answer to what is no HTTP request, by what is wrong with it.
            tls: serves HTTPS.

        Raises:
            OSError: the port is taken, or not allowed.
        """
        super().__init__((ADDRESS, port), Connection, bind_and_activate=False)
        self.application = application
        self.malformed = malformed
        self.accepting = False
        self._tls = tls
        self._connections: set[socket.socket] = set()
        self._port_lock = threading.RLock()
        self._refusal: threading.Timer | None = None
        self._ended = False
        try:
            self.server_bind()
        except BaseException:
            self.server_close()
            raise

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.server_address[1])

    def listen(self) -> None:
        """Take connections from now on."""
        self.server_activate()
        self.accepting = True
        self._acceptor = threading.Thread(target=self.serve_forever, args=(_LOOK_SECONDS,), daemon=True)
        self._acceptor.start()

    def _stop_accepting(self) -> None:
        """Take no more connections; each one that is open ends with the request that it carries."""
        if self.accepting:
            self.accepting = False
            self.shutdown()
            self._acceptor.join()
        self._shut_connections(socket.SHUT_RD)

    def refuse(self, seconds: float) -> None:
        """Have connections refused for some seconds, or until accept(); those that are idle end at once."""
        with self._port_lock:
            if self._ended:
                return
            if self._refusal:
                self._refusal.cancel()
            else:
                self._stop_accepting()
                self.socket.close()
                # Bound but not listening: the kernel refuses connections, and nobody else can take the port.
                self.socket = socket.socket(self.address_family, self.socket_type)
                self.server_bind()
            timer = threading.Timer(seconds, lambda: self._end_refusal(timer))
            timer.daemon = True
            self._refusal = timer
            timer.start()

    def _end_refusal(self, timer: threading.Timer) -> None:
        with self._port_lock:
            if self._refusal is timer:
                self.accept()

    def accept(self) -> None:
        """End refuse() before its time."""
        with self._port_lock:
            if self._refusal is None or self._ended:
                return
            self._refusal.cancel()
            self._refusal = None
            self.listen()

    def end(self) -> None:
        """Stop listening. Requests under way are finished where nothing holds them up."""
        with self._port_lock:
            self._ended = True
            self._stop_accepting()
            if self._refusal:
                self._refusal.cancel()
        too_late = threading.Timer(CLOSE_SECONDS, self._shut_connections, (socket.SHUT_RDWR,))
        too_late.start()
        # It waits for the thread of each connection.
        self.server_close()
        too_late.cancel()
        too_late.join()

    def _shut_connections(self, how: int) -> None:
        """Wake the threads that wait for their clients, and let them see the end."""
        for connection in self._connections.copy():
            with contextlib.suppress(OSError):
                # The plain method leaves the state of TLS to the thread that uses it.
                socket.socket.shutdown(connection, how)

    def get_request(self) -> tuple[Any, Any]:
        sock, address = super().get_request()
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._connections.add(sock)
        return sock, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A connection that broke is no error of the sandbox.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
