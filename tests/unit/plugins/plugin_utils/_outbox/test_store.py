# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which outbox an integration's events are stored in, and how it is known there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from outboxes import event, warnings_of

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

KEY = "the key of an integration"
CONNECTION = Connection("http://127.0.0.1:1", KEY)

PIPES = ("salt", "outbox.sqlite3", "outbox.sqlite3-wal", "creation.lock", "lock")


def _pipe(name: str) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        folder.mkdir()
        os.mkfifo(folder / name)

    return plant


@contextmanager
def locked(folder: str) -> Iterator[None]:
    with Outbox(folder, CONNECTION) as outbox, closing(sqlite3.connect(outbox.database.path)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


def put(outbox: Outbox) -> str:
    return outbox.put(event()).uid


def pending(outbox: Outbox) -> int:
    return outbox.events.pending()


def test_an_integration_is_known_by_its_key_and_by_the_folder_and_the_key_is_not_told(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    assert mine.integration == Store(folder, CONNECTION).integration
    assert mine.integration != Store(folder, CONNECTION._replace(integration_key="another")).integration
    assert mine.integration != Store(f"{folder}2", CONNECTION).integration
    # An address may change, and a spelling of it; the integration stays.
    assert mine.integration == Store(folder, CONNECTION._replace(api_url="https://elsewhere")).integration
    mine.do(put)
    assert all(KEY.encode() not in path.read_bytes() for path in Path(folder).iterdir())


def test_asking_makes_no_outbox(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    assert not mine.exists
    for ask in (mine.opened, mine.opened_for_sending, lambda: mine.look(pending)):
        with pytest.raises(OutboxError, match="deleted"):
            ask()
    assert not Path(folder).exists()
    mine.do(put)
    assert mine.exists
    assert mine.look(pending) == 1


def test_a_spool_alone_counts_as_there(folder: str) -> None:
    Path(folder).write_text("in the way")
    mine = Store(folder, CONNECTION)
    mine.do(put)
    assert Store(folder, CONNECTION).exists
    assert not Store(f"{folder}2", CONNECTION).exists


def test_what_fails_half_way_is_done_once_more_in_the_spool(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    seen: list[str] = []

    def twice(outbox: Outbox) -> str:
        seen.append(outbox.folder)
        put(outbox)
        if len(seen) == 1:
            raise OutboxError("the disk is full")
        return outbox.folder

    answer = mine.do(twice)
    assert seen == [folder, mine.folder]
    assert answer == mine.folder != folder
    (notice,) = warnings_of(mine)
    assert "the disk is full" in notice
    assert mine.folder in notice


def test_an_error_of_the_caller_is_no_reason_for_a_spool(folder: str) -> None:
    mine = Store(folder, CONNECTION)

    def failing(_outbox: Outbox) -> None:
        raise ValueError("of the caller")

    with pytest.raises(ValueError, match="of the caller"):
        mine.do(failing)
    assert (mine.folder, mine.take_notices(), Outbox.spools(folder)) == (folder, [], [])


def test_where_neither_can_be_used_the_reason_is_the_outboxs(folder: str, tmp_path: Path) -> None:
    Path(folder).write_text("in the way")
    (tmp_path / "tmp").rmdir()
    (tmp_path / "tmp").write_text("in the way as well")
    mine = Store(folder, CONNECTION)
    with pytest.raises(OutboxError, match="state"):
        mine.do(put)
    assert (mine.folder, mine.take_notices()) == (folder, [])


def test_who_looks_again_and_again_keeps_what_is_open(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    mine.do(put)
    first = mine.opened()
    assert mine.opened(first) is first
    with locked(folder):
        mine.do(put)
        second = mine.opened(first)
        assert second is not first
        assert second.folder == mine.folder != folder
    # Somebody takes the spool in.
    with Store(folder, CONNECTION).opened_for_sending() as sending:
        assert sending.folder == folder
    with mine.opened(second) as third:
        assert (third.folder, mine.folder) == (folder, folder)


def test_what_is_sent_is_the_spools_as_long_as_the_outbox_cannot_take_it_in(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    with locked(folder):
        mine.do(put)
        left = mine.take_in()
        assert left == [mine.folder]
        with Store(folder, CONNECTION).opened_for_sending() as sending:
            assert sending.folder == mine.folder
    assert mine.take_in() == []
    with Store(folder, CONNECTION).opened_for_sending() as sending:
        assert sending.folder == folder


def test_a_damage_is_told_once(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    mine.do(put)
    path = next(path for path in Path(folder).iterdir() if path.suffix == ".sqlite3")
    path.write_bytes(b"this is no database" * 1000)
    mine.do(put)
    mine.do(put)
    (notice,) = warnings_of(mine)
    assert "damaged" in notice
    assert f"{path}.corrupt-" in notice
    assert mine.take_notices() == []


def test_a_damage_that_the_courier_has_met_is_told_to_the_user(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    mine.do(put)
    (Path(folder) / "outbox.sqlite3").write_bytes(b"this is no database" * 1000)
    Store(folder, CONNECTION).do(put)
    mine.do(put)
    (notice,) = warnings_of(mine)
    assert "is kept as" in notice
    # Of what lay there before, its own run has warned.
    later = Store(folder, CONNECTION)
    later.do(put)
    assert later.take_notices() == []


def _planted_events(folder: Path) -> None:
    with Outbox(str(folder), CONNECTION) as outbox:
        put(outbox)
    (folder / "outbox.sqlite3").chmod(0o666)


def _dangling_links(folder: Path) -> None:
    folder.mkdir()
    for name in ("salt", "outbox.sqlite3", "creation.lock", "couriers"):
        (folder / name).symlink_to(folder.parent / "elsewhere" / name)


def _a_link(folder: Path) -> None:
    (folder.parent / "elsewhere" / "real").mkdir()
    folder.symlink_to(folder.parent / "elsewhere" / "real")


@pytest.mark.parametrize("plant", [_planted_events, _dangling_links, _a_link, *(_pipe(name) for name in PIPES)])
def test_what_somebody_else_made_is_left_alone_and_no_event_lost(
    folder: str, tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    plant(Path(folder))
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if tmp_path / "tmp" not in path.parents}
    mine = Store(folder, CONNECTION)
    assert mine.take_in() == []
    mine.do(put)
    mine.do(put)
    (notice,) = warnings_of(mine)
    assert folder in notice
    assert mine.folder in notice
    assert mine.look(pending) == 1
    later = Store(folder, CONNECTION)
    with later.opened_for_sending() as sending:
        assert sending.folder == mine.folder
        assert pending(sending) == 1
    after = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if tmp_path / "tmp" not in path.parents}
    assert {**after, tmp_path / "tmp": 0} == {**before, tmp_path / "tmp": 0}


def test_a_spool_that_somebody_else_made_first_is_passed_over(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(folder).write_text("in the way")
    hostile = tmp_path / "tmp" / folders.own_name()
    hostile.mkdir()
    hostile.chmod(0o777)
    monkeypatch.setattr(folders, "_home", lambda: str(tmp_path / "home"))
    mine = Store(folder, CONNECTION)
    mine.do(put)
    assert Path(mine.folder).is_relative_to(tmp_path / "home")
    assert Store(folder, CONNECTION).take_in() == [mine.folder]
    assert list(hostile.iterdir()) == []


def test_where_several_share_a_folder_each_has_an_outbox_of_his_own(folder: str) -> None:
    Path(folder).mkdir()
    Path(folder).chmod(0o1777)
    mine = Store(folder, CONNECTION)
    mine.do(put)
    assert mine.take_notices() == []
    assert mine.folder == mine.configured == str(Path(folder) / folders.own_name())
    assert Store(mine.configured, CONNECTION).look(pending) == 1
