# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page is told while it is open."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sandbox_client import (
    EVENT,
    KEY,
    PATIENCE,
    Stream,
    ask,
    push,
)

from flashduty_sandbox import feed, http_server
from flashduty_sandbox.receiver import Receiver


def told_keys(messages: list[dict[str, Any]]) -> list[str]:
    return [change["change_key"] for message in messages for change in message["changes"]]


def test_a_reader_gets_everything_first_and_then_what_is_new(receiver: Receiver) -> None:
    push(receiver, change_key="old")
    push(receiver, change_key="young", event_time=EVENT["event_time"] + 1)  # type: ignore[operator]
    with Stream(receiver) as stream:
        assert (stream.status, stream.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        _identity, messages = stream.settled()
        assert messages[0]["reset"] is True
        assert told_keys(messages) == ["old", "young"]
        push(receiver, change_key="old", change_status="Done")
        _identity, messages = stream.settled()
        assert told_keys(messages) == ["old"]
        assert messages[0]["changes"][0]["change_status"] == "Done"
        assert "events" not in messages[0]["changes"][0]
        assert messages[0]["reset"] is False


@pytest.mark.parametrize("way", ["last_event_id", "after"])
def test_a_reader_that_comes_back_gets_the_rest_only(receiver: Receiver, way: str) -> None:
    push(receiver, change_key="before")
    with Stream(receiver) as stream:
        identity, _messages = stream.settled()
    push(receiver, change_key="meanwhile")
    with Stream(receiver, **{way: identity}) as stream:
        later, messages = stream.settled()
        assert told_keys(messages) == ["meanwhile"]
    assert later != identity


@pytest.mark.parametrize("identity", ["nonsense", "-1", "0-", "gone-7", "é-1", "a-\u0662"])
def test_a_reader_with_an_id_that_means_nothing_starts_anew(receiver: Receiver, identity: str) -> None:
    push(receiver)
    with Stream(receiver, last_event_id=identity) as stream:
        messages = stream.settled()[1]
        assert [message["reset"] for message in messages].count(True) == 1
        assert set(told_keys(messages)) == {"CHANGE-1"}


def test_a_reader_hears_when_everything_is_forgotten(receiver: Receiver) -> None:
    push(receiver)
    with Stream(receiver) as stream:
        stream.settled()
        receiver.reset()
        messages = stream.settled()[1]
        assert messages[0]["reset"] is True
        assert told_keys(messages) == []
        push(receiver, change_key="next")
        assert told_keys(stream.settled()[1]) == ["next"]


def test_a_reader_that_knows_of_no_request_gets_every_change_in_order(receiver: Receiver) -> None:
    count = 600
    for number in range(count):
        push(receiver, change_key=f"C-{number}")
    with Stream(receiver) as stream:
        identity, messages = stream.settled()
        assert sorted(told_keys(messages)) == sorted(f"C-{number}" for number in range(count))
    generation, _dash, _number = identity.partition("-")
    with Stream(receiver, last_event_id=f"{generation}-0") as stream:
        messages = stream.settled()[1]
        assert told_keys(messages) == [f"C-{number}" for number in range(count)]


def test_a_burst_is_told_in_few_messages(receiver: Receiver) -> None:
    with Stream(receiver) as stream:
        stream.settled()
        began = time.monotonic()
        for number in range(200):
            push(receiver, change_key=f"C-{number}")
        told: list[str] = []
        count = 0
        while len(set(told)) < 200:
            told += told_keys([stream.message()[1]])
            count += 1
        assert count <= (time.monotonic() - began) / feed.PAUSE_SECONDS + 2


def test_a_reader_that_does_not_read_delays_nobody(receiver: Receiver) -> None:
    for number in range(40):
        push(receiver, change_key=f"C-{number}", labels={f"l{index}": "x" * 2000 for index in range(50)})
    with Stream(receiver) as idle, Stream(receiver) as other:
        idle.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        other.settled()
        began = time.monotonic()
        for _attempt in range(20):
            assert push(receiver, change_key="next").status == 200
        assert time.monotonic() - began < PATIENCE / 2
        assert "next" in told_keys(other.settled()[1])


def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CLOSE_SECONDS", 3 * PATIENCE)
    before = set(threading.enumerate())
    receiver = Receiver(tmp_path / "r.db").start()
    with Stream(receiver) as stream:
        stream.settled()
        began = time.monotonic()
        receiver.close()
        assert time.monotonic() - began < PATIENCE
        with pytest.raises(EOFError):
            stream.message()
    assert set(threading.enumerate()) <= before


def test_a_probe_is_told_apart_and_leaves_room_for_what_was_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "STRAYS", 3)
    ask(receiver.push_url(KEY), {**EVENT, "title": ""})
    for body in (b"{}", b" { }", b"{}\n", b"{ }"):
        ask(receiver.push_url("wrong"), body)
    ask(receiver.push_url("wrong"), EVENT)
    with Stream(receiver) as stream:
        message = stream.settled()[1][-1]
    # Spaces inside are not what the doctor sends.
    assert (message["stray_count"], message["probe_count"]) == (4, 2)
    assert [stray["probe"] for stray in message["strays"]] == [False, False, False]
