# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which bytecode a run is started with, and which it must not be."""

from __future__ import annotations

import importlib
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _bytecode

ROOM = "ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices"
SOURCE = Path(_bytecode.__file__).with_name("_notices.py")
HEADER = 16


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder with bytecode, and an interpreter that forgets afterwards what it imported."""
    tmp_path.chmod(0o700)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    known = sys.modules.pop(ROOM, None)
    _bytecode.keep(str(tmp_path))
    yield tmp_path
    sys.modules.pop(ROOM, None)
    if known is not None:
        sys.modules[ROOM] = known


def kept(state: Path) -> Path:
    return state / "bytecode" / "plugin_utils" / f"_notices.{sys.implementation.cache_tag}.pyc"


def put_other_bytecode(state: Path, tmp_path: Path, header: bytes | None = None) -> None:
    """Bytecode that tells where it came from, with a header of its own or another's."""
    (tmp_path / "other.py").write_text("FROM = 'bytecode'\n")
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    py_compile.compile(str(tmp_path / "other.py"), str(kept(state)), doraise=True, invalidation_mode=mode)
    if header is not None:
        kept(state).write_bytes(header + kept(state).read_bytes()[HEADER:])


def imported() -> ModuleType:
    return importlib.import_module(ROOM)


def test_a_room_is_imported_from_its_bytecode(state: Path, tmp_path: Path) -> None:
    put_other_bytecode(state, tmp_path, header=kept(state).read_bytes()[:HEADER])
    _bytecode.use(str(state))
    assert _bytecode.used() == str(state)
    assert imported().FROM == "bytecode"


def test_tracebacks_name_the_source(state: Path) -> None:
    _bytecode.use(str(state))
    room = imported()
    assert room.__file__ == str(SOURCE)
    assert room.Notices.take.__code__.co_filename == str(SOURCE)


def test_the_bytecode_of_another_source_is_not_used(state: Path, tmp_path: Path) -> None:
    put_other_bytecode(state, tmp_path)
    _bytecode.use(str(state))
    assert hasattr(imported(), "Notices")
    # Nor is it mended here, where somebody waits for it.
    assert b"FROM" in kept(state).read_bytes()


@pytest.mark.parametrize("size", [0, 7, HEADER, HEADER + 40])
def test_damaged_bytecode_is_not_used_and_is_compiled_anew(state: Path, size: int) -> None:
    whole = kept(state).read_bytes()
    kept(state).write_bytes(whole[:size])
    _bytecode.use(str(state))
    assert hasattr(imported(), "Notices")
    _bytecode.keep(str(state))
    assert kept(state).read_bytes() == whole


def test_a_room_without_bytecode_is_found(state: Path) -> None:
    kept(state).unlink()
    _bytecode.use(str(state))
    assert hasattr(imported(), "Notices")


@pytest.mark.parametrize("folder", [".", "bytecode"])
def test_where_others_can_write_nothing_is_used(state: Path, folder: str) -> None:
    (state / folder).chmod(0o770)
    _bytecode.use(str(state))
    assert _bytecode.used() is None


def test_nothing_is_used_before_there_is_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    _bytecode.use(str(tmp_path))
    assert _bytecode.used() is None


def test_an_interpreter_that_names_no_bytecode_has_none(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    _bytecode.use(str(state))
    assert _bytecode.used() is None
    _bytecode.keep(str(state))


def test_only_what_is_not_current_is_compiled(state: Path, tmp_path: Path) -> None:
    files = sorted((state / "bytecode").rglob("*.pyc"))
    before = {file: (file.stat().st_ino, file.read_bytes()) for file in files}
    kept(state).unlink()
    put_other_bytecode(state, tmp_path)
    _bytecode.keep(str(state))
    assert kept(state).read_bytes() == before.pop(kept(state))[1]
    assert before == {file: (file.stat().st_ino, file.read_bytes()) for file in before}
    assert sorted((state / "bytecode").rglob("*")) == sorted([*files, *{file.parent for file in files}])


def test_what_is_kept_is_for_nobody_else(state: Path) -> None:
    found = {(path.is_dir(), path.stat().st_mode & 0o777) for path in [state, *state.glob("bytecode/**/*")]}
    assert found == {(True, 0o700), (False, 0o600)}


def test_a_state_folder_that_was_deleted_is_not_made_again(tmp_path: Path) -> None:
    _bytecode.keep(str(tmp_path / "gone"))
    assert not (tmp_path / "gone").exists()
