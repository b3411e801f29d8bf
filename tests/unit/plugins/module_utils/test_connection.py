# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection is made from options, or refused naming the option; the key shows nowhere."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    DEFAULT_API_URL,
    DEFAULT_TIMEOUT,
    Connection,
    InvalidConnection,
    MissingKey,
    is_loopback,
    redacted,
)

KEY = "s3cret-Key"
PUSH = f"https://fd.example/base/event/push/change/standard?integration_key={KEY}"


def made(**options: Any) -> Connection:
    return Connection.from_options(options)


def test_defaults() -> None:
    connection = made(integration_key=f" {KEY}\n")
    assert connection == Connection(DEFAULT_API_URL, KEY, timeout=DEFAULT_TIMEOUT)
    assert connection.validate_certs


def test_the_push_url_carries_address_and_key_and_goes_first() -> None:
    connection = made(push_url=PUSH, integration_key="other", api_url="https://other")
    assert (connection.api_url, connection.integration_key) == ("https://fd.example/base", KEY)


def test_the_key_in_the_push_url_may_be_encoded() -> None:
    assert made(push_url=PUSH + "%2F%2B").integration_key == KEY + "/+"


def test_the_key_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n", encoding="utf-8")
    connection = made(integration_key_file=str(path), api_url="https://fd.example/")
    assert (connection.api_url, connection.integration_key) == ("https://fd.example", KEY)


def test_no_key_is_its_own_error() -> None:
    with pytest.raises(MissingKey, match="FLASHDUTY_PUSH_URL"):
        made(push_url="", integration_key=None)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"push_url": f"https://x/y?integration_key={KEY}"}, "push_url"),
        ({"push_url": f"https://x/event/push/change/standard/z?integration_key={KEY}"}, "push_url"),
        ({"push_url": "https://x/event/push/change/standard"}, "push_url"),
        ({"push_url": PUSH + "&integration_key=two"}, "push_url"),
        ({"push_url": f"https://[x/event/push/change/standard?integration_key={KEY}"}, "push_url"),
        ({"push_url": PUSH + "%0a1"}, "push_url"),
        ({"integration_key": f"{KEY} two"}, "integration_key"),
        ({"integration_key": " "}, "integration_key"),
        ({"integration_key_file": "/nonexistent/key"}, "integration_key_file"),
        ({"integration_key": KEY, "api_url": "ftp://x"}, "api_url"),
        ({"integration_key": KEY, "api_url": "x.example"}, "api_url"),
        ({"integration_key": KEY, "api_url": "https://x:port"}, "api_url"),
        ({"integration_key": KEY, "api_url": "https://[x"}, "api_url"),
        ({"integration_key": KEY, "api_url": f"https://{KEY}@x"}, "api_url"),
        ({"integration_key": KEY, "api_url": f"https://x?integration_key={KEY}"}, "api_url"),
        ({"integration_key": KEY, "api_url": "http://fd.example"}, "api_url"),
        ({"push_url": PUSH.replace("https", "http")}, "push_url"),
        ({"push_url": PUSH.replace("https://", "")}, "push_url"),
        ({"push_url": PUSH.replace("https://", f"https://{KEY}@")}, "push_url"),
        ({"integration_key": KEY, "timeout": 0}, "timeout"),
        ({"integration_key": KEY, "timeout": -1}, "timeout"),
        ({"integration_key": KEY, "timeout": 3601}, "timeout"),
        ({"integration_key": KEY, "timeout": float("nan")}, "timeout"),
        ({"integration_key": KEY, "ca_path": "/nonexistent/ca"}, "ca_path"),
        ({"integration_key": KEY, "client_cert": "/nonexistent/cert"}, "client_cert"),
        ({"integration_key": KEY, "client_key": "/nonexistent/cert"}, "client_key"),
    ],
)
def test_a_wrong_option_is_named_and_the_key_is_not(options: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidConnection) as caught:
        made(**options)
    assert caught.value.option == option
    assert KEY not in str(caught.value)


def test_a_key_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConnection, match="not UTF-8"):
        made(integration_key_file=str(path))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "trusted.example"])
def test_plain_http_goes_to_this_machine_and_to_named_hosts(host: str) -> None:
    connection = made(integration_key=KEY, api_url=f"http://{host}:80", plain_http_hosts=["trusted.example"])
    assert connection.api_url == f"http://{host}:80"


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1.example", "notlocalhost", "", "::2"])
def test_what_is_not_this_machine(host: str) -> None:
    assert not is_loopback(host)


def test_files_are_given_with_their_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca").write_text("x", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert made(integration_key=KEY, ca_path="ca").ca_path == str(tmp_path / "ca")


def test_a_connection_goes_through_the_pipe_and_back() -> None:
    connection = made(push_url=PUSH, validate_certs=False, timeout=3)
    assert Connection(**json.loads(json.dumps(connection.to_dict()))) == connection


def test_neither_repr_nor_id_hold_the_key() -> None:
    connection = made(push_url=PUSH)
    assert KEY not in repr(connection)
    one = connection.integration_id(b"salt")
    assert len(one) == 32
    assert one == made(integration_key=KEY).integration_id(b"salt")
    assert len({one, connection.integration_id(b"other"), made(integration_key="other").integration_id(b"salt")}) == 3


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="*"), min_size=8, max_size=30))
def test_a_secret_is_redacted_in_every_spelling(secret: str) -> None:
    for spelling in (
        secret,
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    ):
        text = redacted(f"<{spelling}> <{spelling}>", secret)
        assert spelling not in text
        assert text.startswith("<")


def test_nothing_is_redacted_without_a_secret() -> None:
    assert redacted("text", "") == "text"


# ---- the app key


def test_the_app_key_shows_nowhere_and_does_not_reach_what_only_pushes() -> None:
    connection = made(integration_key=KEY, app_key=" App/Key+1\n")
    assert connection.app_key == "App/Key+1"
    assert "App" not in repr(connection)
    shown = connection.redact(f"?app_key=App%2FKey%2B1&integration_key={KEY}")
    assert shown == "?app_key=********&integration_key=********"
    assert connection.for_pushing() == made(integration_key=KEY)


def test_reading_needs_an_app_key_and_no_integration_key() -> None:
    assert Connection.for_reading({"app_key": "app"}).api_url == DEFAULT_API_URL
    assert Connection.for_reading({"app_key": "app", "push_url": PUSH}).api_url == "https://fd.example/base"
    with pytest.raises(InvalidConnection, match="FLASHDUTY_APP_KEY"):
        Connection.for_reading({"integration_key": KEY})
    with pytest.raises(InvalidConnection, match=r"^app_key: must contain one key"):
        Connection.for_reading({"app_key": "two words"})


# ---- what was pasted into the wrong place, or with more than itself


@pytest.mark.parametrize(
    ("options", "option", "told"),
    [
        ({"push_url": f'"{PUSH}"'}, "push_url", "quotes"),
        ({"push_url": f"\u201c{PUSH}\u201d"}, "push_url", "quotes"),
        ({"push_url": f"<{PUSH}>"}, "push_url", "< >"),
        ({"push_url": f"\ufeff{PUSH}"}, "push_url", "byte order mark"),
        ({"push_url": KEY}, "push_url", "a key alone goes into integration_key"),
        ({"integration_key": PUSH}, "integration_key", "goes into push_url"),
        ({"integration_key": PUSH.partition("//")[2]}, "integration_key", "goes into push_url"),
        ({"integration_key": f"'{KEY}'"}, "integration_key", "quotes"),
        ({"push_url": f'{PUSH}"'}, "push_url", "quotes"),
        ({"integration_key": f"{KEY}>"}, "integration_key", "< >"),
        ({"integration_key": f"integration_key={KEY}"}, "integration_key", "not part of the key"),
        ({"integration_key": KEY, "app_key": f"<{KEY}>"}, "app_key", "< >"),
        ({"integration_key": KEY, "api_url": PUSH}, "api_url", "goes into push_url"),
        ({"integration_key": KEY, "api_url": '"https://fd.example"'}, "api_url", "quotes"),
    ],
)
def test_what_was_pasted_wrongly_is_named_as_what_it_is(options: dict[str, Any], option: str, told: str) -> None:
    with pytest.raises(InvalidConnection, match=told) as caught:
        made(**options)
    assert caught.value.option == option
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("text", [f'"{KEY}"', f"\ufeff{KEY}", f"<{PUSH}>"])
def test_a_key_file_is_looked_at_the_same_way(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidConnection, match=r"quotes|byte order mark|< >"):
        made(integration_key_file=str(tmp_path / "key"))


def test_a_word_is_no_key_to_be_redacted() -> None:
    assert made(integration_key="sandbox").redact("env: sandbox") == "env: sandbox"


@pytest.mark.parametrize("unseen", ["\u2028", "\u200b", "\x00", "\n", " \ufeff\x1b"])
def test_a_key_that_is_broken_up_by_what_nobody_sees_is_redacted(unseen: str) -> None:
    shown = redacted(f"key {KEY[:3]}{unseen}{KEY[3:]} is wrong", KEY)
    assert KEY[3:] not in shown
