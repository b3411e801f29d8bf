# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API thinks of our keys, asked without creating a change."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from deliveries import APP_KEY, KEY

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.probe import probe
from flashduty_sandbox.receiver import Receiver

ERROR = b'{"request_id": "r-1", "error": {"code": "InvalidParameter", "message": "title is required"}}'


@contextmanager
def server(ahead: float | None) -> Iterator[tuple[str, list[str]]]:
    """An API whose clock is so many seconds ahead of ours; None: it does not tell. Gives its address and the targets
    that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response_only(400)
            if ahead is not None:
                self.send_header("Date", email.utils.formatdate(time.time() + ahead, usegmt=True))
            self.send_header("Content-Length", str(len(ERROR)))
            self.end_headers()
            self.wfile.write(ERROR)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", asked
        finally:
            http.shutdown()
            thread.join()


def test_our_key_is_told_from_a_made_up_one_and_no_change_comes_of_it(
    receiver: Receiver, connection: Connection
) -> None:
    answer = probe(connection)
    assert answer["own"]["code"] == answer["other"]["code"] == "InvalidParameter"
    assert "integration_key" not in answer["own"]["message"]
    assert "integration_key" in answer["other"]["message"]
    assert answer["own"]["request_id"]
    assert answer["seconds"] >= 0
    assert (receiver.events(), receiver.changes()) == ([], [])


def test_a_wrong_key_is_objected_to_and_not_shown(connection: Connection) -> None:
    answer = probe(connection._replace(integration_key="wrong-key"))
    assert "integration_key" in answer["own"]["message"]
    assert "wrong-key" not in str(answer)


@pytest.mark.parametrize(("app_key", "taken"), [(APP_KEY, True), ("wrong-app-key", False)])
def test_the_app_key_is_tried_where_there_is_one(connection: Connection, app_key: str, taken: bool) -> None:
    answer = probe(connection._replace(app_key=app_key))
    assert (answer["app"]["status"] == 200) is taken
    assert bool(answer["app"]["request_id"])
    assert app_key not in str(answer)


def test_without_an_app_key_nobody_is_asked_for_changes(receiver: Receiver, connection: Connection) -> None:
    assert probe(connection)["app"] is None
    assert len(receiver.requests()) == 2


def test_who_does_not_answer_is_asked_once(receiver: Receiver, connection: Connection) -> None:
    receiver.faults.set("reset")
    answer = probe(connection._replace(app_key=APP_KEY))
    assert answer["own"]["status"] is None
    assert answer["own"]["retry"]
    assert (answer["other"], answer["app"], answer["skew"]) == (None, None, None)
    assert len(receiver.requests()) == 1


@pytest.mark.parametrize(
    ("ahead", "least", "most"), [(0.0, -1.0, 1.0), (3600.0, -3600.0, -3590.0), (-3600.0, 3590, 3601)]
)
def test_how_far_this_machine_is_ahead_is_told_by_the_date_of_the_answer(
    ahead: float, least: float, most: float
) -> None:
    with server(ahead) as (url, _asked):
        assert least <= probe(Connection(url, KEY))["skew"] <= most


def test_an_api_that_does_not_tell_its_time_is_not_compared() -> None:
    with server(None) as (url, _asked):
        assert probe(Connection(url, KEY))["skew"] is None


def test_a_proxy_is_named_without_its_password_and_none_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(0.0) as (url, asked):
        monkeypatch.setenv("http_proxy", url.replace("://", "://alice:secret@"))
        answer = probe(Connection("http://flashduty.invalid", KEY))
        assert answer["proxy"] == url
        assert asked[0].startswith("http://flashduty.invalid/event/push/change/standard?")
        assert "secret" not in str(answer)
        assert probe(Connection(url, KEY))["proxy"] is None


def test_the_proxy_for_all_schemes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(0.0) as (url, _asked):
        monkeypatch.setenv("ALL_PROXY", url)
        monkeypatch.delenv("http_proxy", raising=False)
        assert probe(Connection("http://flashduty.invalid", KEY))["proxy"] == url
