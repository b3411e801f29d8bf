# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an outbox and its spool may lie, and who else can decide what is in a folder."""

from __future__ import annotations

import grp
import os
import pwd
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import (
    forget_couriers,
    is_private,
    make,
    own_folder,
    own_name,
    spool_folders,
    weakness,
)

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give files away")
SOMEBODY = 54321


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of an outbox with a file of each kind."""
    folder = tmp_path / "state"
    (folder / "couriers").mkdir(parents=True, mode=0o700)
    for name in ("salt", "outbox.sqlite3", "outbox.sqlite3-wal", "creation.lock", "couriers/1.fifo.lock"):
        (folder / name).touch(mode=0o600)
    os.mkfifo(folder / "couriers" / "1.fifo", 0o600)
    return folder


def test_each_outbox_has_spools_of_its_own(tmp_path: Path) -> None:
    one, other = spool_folders(str(tmp_path / "one")), spool_folders(str(tmp_path / "other"))
    assert one
    assert not {*one} & {*other}
    assert {os.path.basename(os.path.dirname(folder)) for folder in one} == {f"flashduty-{os.getuid()}"}


def test_one_outbox_under_two_names_has_one_spool(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert spool_folders(str(tmp_path / "link")) == spool_folders(str(tmp_path / "real"))


def test_a_folder_is_private_when_nobody_else_can_do_anything_there(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    assert not is_private(str(folder))
    folder.mkdir(mode=0o700)
    assert is_private(str(folder))
    folder.chmod(0o710)
    assert not is_private(str(folder))


def test_a_link_and_a_file_are_no_private_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch(mode=0o600)
    assert not is_private(str(tmp_path / "link"))
    assert not is_private(str(tmp_path / "file"))


def test_the_spool_is_found_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = spool_folders(str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "other"))
    monkeypatch.setenv("HOME", str(tmp_path))
    after = spool_folders(str(tmp_path))
    assert after[: len(before) - 1] == before[: len(before) - 1]
    assert before[0].startswith(folders._ROOTS[0] + os.sep)


def test_nobody_else_can_have_made_the_last_resort(tmp_path: Path) -> None:
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert any(folder.startswith(os.path.join(home, ".ansible") + os.sep) for folder in spool_folders(str(tmp_path)))


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_of_ones_own_that_others_cannot_write_is_safe(state: Path, mode: int) -> None:
    state.chmod(mode)
    (state / "README").symlink_to("/dev/null")
    assert weakness(str(state)) is None
    assert make(str(state)) is None
    assert state.stat().st_mode & 0o777 == mode
    assert weakness(str(state / "not" / "there")) is None


def test_the_salt_is_safe_while_it_is_linked_into_place(state: Path) -> None:
    os.link(state / "salt", state / "salt.0123456789abcdef")
    assert weakness(str(state)) is None


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
@pytest.mark.parametrize("name", ["", "couriers"])
def test_a_folder_that_others_write_is_not_safe(state: Path, name: str, mode: int) -> None:
    (state / name).chmod(mode)
    assert f"other users can write to {state / name}," in (weakness(str(state)) or "")


def test_a_folder_above_it_may_be_written_by_others_only_where_nobody_renames_what_is_not_his(state: Path) -> None:
    state.parent.chmod(0o777)
    assert f"write to {state.parent}," in (weakness(str(state)) or "")
    state.parent.chmod(0o1777)
    assert weakness(str(state)) is None


def test_whom_an_access_list_lets_write_is_somebody_else(state: Path) -> None:
    owner, user, group, mask, others, nobody = 0x01, 0x02, 0x04, 0x10, 0x20, 0xFFFFFFFF
    entries = [(owner, 7, nobody), (user, 7, SOMEBODY), (group, 0, nobody), (mask, 7, nobody), (others, 0, nobody)]
    access_list = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(state, "system.posix_acl_access", access_list)
    except OSError:
        pytest.skip("no access lists on this file system")
    assert state.stat().st_mode & 0o777 == 0o770
    assert str(state) in (weakness(str(state)) or "")
    state.chmod(0o700)
    assert weakness(str(state)) is None


def test_a_group_that_nobody_else_is_in_may_write(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user, gid = pwd.getpwuid(os.geteuid()).pw_name, state.stat().st_gid
    for path in (state, state.parent, state / "salt"):
        path.chmod(0o770)

    def having(name: str, *members: str) -> Callable[[int], grp.struct_group]:
        return lambda _gid: grp.struct_group((name, "x", gid, list(members)))

    monkeypatch.setattr(grp, "getgrgid", having(user, user))
    assert weakness(str(state)) is None
    monkeypatch.setattr(grp, "getgrgid", having(user, "mallory"))
    assert "other users can write" in (weakness(str(state)) or "")


@pytest.mark.parametrize(
    "name", ["salt", "outbox.sqlite3", "outbox.sqlite3-wal", "creation.lock", "lock", "couriers/1.fifo.lock"]
)
def test_what_is_no_regular_file_of_ones_own_is_never_opened(state: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "there").touch()
    planted = state / name
    planted.unlink(missing_ok=True)
    for plant in (
        os.mkfifo,
        lambda path: os.symlink("absent", path),
        lambda path: os.symlink(tmp_path / "there", path),
    ):
        plant(planted)
        assert f"{planted} is not a regular file" in (weakness(str(state)) or "")
        planted.unlink()
    planted.mkdir()
    assert f"{planted} is not a regular file" in (weakness(str(state)) or "")


@pytest.mark.parametrize("name", ["outbox.sqlite3", "outbox.sqlite3-journal", "creation.lock", "couriers/1.fifo"])
def test_a_file_that_has_another_name_elsewhere_is_never_opened(state: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").touch(mode=0o600)
    (state / name).unlink(missing_ok=True)
    os.link(tmp_path / "mine", state / name)
    assert f"{state / name} " in (weakness(str(state)) or "")


def test_a_file_that_others_write_is_never_opened(state: Path) -> None:
    (state / "outbox.sqlite3").chmod(0o666)
    assert f"write to {state / 'outbox.sqlite3'}" in (weakness(str(state)) or "")


@AS_ROOT
@pytest.mark.parametrize("name", ["", "..", "salt", "outbox.sqlite3", "couriers", "couriers/1.fifo"])
def test_what_belongs_to_somebody_else_is_never_opened(state: Path, name: str) -> None:
    os.chown(state / name, SOMEBODY, 0)
    assert f"belongs to the user with the id {SOMEBODY}" in (weakness(str(state)) or "")


def test_a_link_is_no_folder_and_one_above_it_is_followed(state: Path) -> None:
    link = state.parent / "link"
    link.symlink_to(state)
    assert "symbolic link" in (weakness(str(link)) or "")
    link.unlink()
    link.symlink_to(state.parent)
    assert weakness(str(link / "state")) is None
    state.parent.chmod(0o777)
    assert f"write to {state.parent}," in (weakness(str(link / "state")) or "")


@AS_ROOT
def test_a_link_of_somebody_else_is_not_followed(state: Path, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o1777)
    (open_to_all / "link").symlink_to(tmp_path)
    assert weakness(str(open_to_all / "link" / "state")) is None
    os.lchown(open_to_all / "link", SOMEBODY, 0)
    assert f"{open_to_all / 'link'} belongs to" in (weakness(str(open_to_all / "link" / "state")) or "")


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        weakness(str(tmp_path / "a" / "state" / "more"))


def test_no_folder_is_made_where_somebody_else_could_exchange_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert make(str(tmp_path / "a" / "b")) is not None
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o700)
    assert make(str(tmp_path / "a" / "b")) is None
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_several_users_share_a_folder_as_they_share_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    assert own_folder(str(shared)) == str(shared)
    shared.chmod(0o1777)
    mine = own_folder(str(shared))
    assert mine == str(shared / own_name())
    assert make(mine) is None
    assert own_folder(mine) == mine
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert own_folder(str(shared)) == str(shared / f"flashduty-{SOMEBODY}")


def test_what_a_killed_courier_left_is_removed_in_the_end(state: Path) -> None:
    couriers = state / "couriers"
    os.mkfifo(couriers / "new.fifo")
    os.mkfifo(couriers / "read.fifo")
    (couriers / "read.fifo.lock").touch()
    for path in couriers.iterdir():
        if not path.name.startswith("new"):
            os.utime(path, (1_600_000_000, 1_600_000_000))
    reader = os.open(couriers / "read.fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        forget_couriers(str(state))
    finally:
        os.close(reader)
    assert sorted(path.name for path in couriers.iterdir()) == ["new.fifo", "read.fifo", "read.fifo.lock"]
    forget_couriers(str(state / "not there"))
