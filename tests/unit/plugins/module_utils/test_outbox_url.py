# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address of the shared outbox is one, or refused; its password shows nowhere."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_url import problem_of, secrets_of, shown

PASSWORD = "c0rrect:horse"


def made(**options: object) -> Connection:
    return Connection.from_options({"integration_key": "k", **options})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://db",
        "postgresql://db:5432/flashduty",
        "postgresql://flash@db/flashduty?sslmode=verify-full&sslrootcert=/etc/ca.pem&passfile=/etc/pg%20pass",
        f"postgresql://flash:{PASSWORD}@one:5432,two:5433/flashduty?target_session_attrs=read-write",
        "postgresql://flash:a%40b%2Fc@[::1]:5432/flashduty",
        "postgresql:///flashduty?host=/run/postgresql&service=flash",
        "postgresql://%2Frun%2Fpostgresql/flashduty",
        f"postgresql:///flashduty?user=flash&password={PASSWORD}",
    ],
)
def test_what_libpq_takes_is_an_address(url: str) -> None:
    assert made(outbox_url=f" {url}\n").outbox_url == url


@pytest.mark.parametrize(
    "url",
    [
        "flashduty.sqlite3",
        "mysql://flash:s3cret-word@db/flashduty",
        "host=db password=s3cret-word",
        "postgresql:/flash:s3cret-word@db",
        # What libpq would take for another host, port, database or setting, and name in its error.
        "postgresql://flash:s3cret@word@db/flashduty",
        "postgresql://flash:s3cret/word@db/flashduty",
        "postgresql://flash:12/word@db/flashduty",
        "postgresql://flash:12?word@db/flashduty",
        "postgresql://flash:12?word=1@db/flashduty",
        "postgresql://flash:s3cret#word@db/flashduty",
        "postgresql://flash:s3cret%word@db/flashduty",
        "postgresql://flash:s3cret word@db/flashduty",
        "postgresql://db:port/flashduty",
        "postgresql://db/flashduty?sslmode",
        "postgresql://" + "d" * 2000,
    ],
)
def test_what_is_none_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(InvalidConnection) as caught:
        made(outbox_url=url)
    assert caught.value.option == "outbox_url"
    assert "postgresql://" in str(caught.value) or "spaces" in str(caught.value)
    assert "word" not in str(caught.value).replace("password", "")


def test_it_may_come_from_a_file_unless_the_option_itself_is_set(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("postgresql://db/flashduty\n", encoding="utf-8")
    assert made(outbox_url_file=str(path)).outbox_url == "postgresql://db/flashduty"
    assert made(outbox_url_file=str(path), outbox_url="postgresql://other").outbox_url == "postgresql://other"
    assert made().outbox_url is None
    with pytest.raises(InvalidConnection, match=r"outbox_url_file: .*cannot be read") as caught:
        made(outbox_url_file=f"postgresql://flash:{PASSWORD}@db")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://db/flashduty", "postgresql://db/flashduty"),
        ("postgresql://flash@db", "postgresql://flash@db"),
        ("postgresql://flash:pw@db/flashduty", "postgresql://flash:***@db/flashduty"),
        ("postgresql://:pw@db", "postgresql://:***@db"),
        ("postgresql://db/f?password=pw&sslmode=require", "postgresql://db/f?password=***&sslmode=require"),
        ("postgresql://db/f?sslmode=require&sslpassword=pw", "postgresql://db/f?sslmode=require&sslpassword=***"),
    ],
)
def test_people_see_it_without_its_passwords(url: str, told: str) -> None:
    assert problem_of(url) is None
    assert shown(url) == told
    assert (url in secrets_of(url)) == ("pw" in url)
    assert "pw" not in secrets_of(url)  # it may be a word of somebody's text


def test_no_secret_of_it_is_in_a_text_or_a_connection() -> None:
    url = f"postgresql://flash:{urllib.parse.quote(PASSWORD, safe='')}@db/flashduty?sslpassword=an0ther-one"
    connection = made(outbox_url=url)
    text = connection.redact(f"{url}; {PASSWORD}; an0ther-one; {url!r}; {urllib.parse.quote(url)}")
    assert "horse" not in f"{text}{connection!r}"
    assert "an0ther" not in f"{text}{connection!r}"
    assert connection.redact("database flashduty at db") == "database flashduty at db"


passwords = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=8, max_size=20)


@given(passwords)
@example("a@b/c?d#e%f&g=h:i")
def test_every_password_can_be_written(password: str) -> None:
    url = f"postgresql://flash:{urllib.parse.quote(password, safe='')}@db/flashduty"
    assert problem_of(url) is None
    assert {url, password} <= {*secrets_of(url)}
    assert shown(url) == "postgresql://flash:***@db/flashduty"
