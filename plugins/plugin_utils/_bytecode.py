# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rooms of this collection, compiled once for all runs: the bytecode is kept beside the outbox.

Private to this collection; may change in any release.

ansible-core compiles a collection's files anew in each process, which was most of what the callback added to the start
of a run. Bytecode in the collection's own folders would make ``ansible-galaxy collection verify`` complain.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_PLUGINS = "ansible_collections.flashcat.flashduty.plugins"
_PACKAGES = ("module_utils", "plugin_utils")
_HEADER_SIZE = 16


def use(state_dir: str) -> None:
    """Import rooms from now on from the bytecode that is kept in the folder, where there is any and it is ours."""
    if used() is None and sys.implementation.cache_tag and _is_ours(state_dir) and _is_ours(_folder(state_dir)):
        sys.meta_path.insert(0, _Finder(state_dir))


def used() -> str | None:
    """The folder that :func:`use` was given; None where this process uses no bytecode of ours."""
    return next((finder.state_dir for finder in sys.meta_path if isinstance(finder, _Finder)), None)


def keep(state_dir: str) -> None:
    """Compile the rooms whose bytecode is missing there, or is not that of their source.

    :raises OSError: where it cannot be written.
    """
    if not sys.implementation.cache_tag or not _is_ours(state_dir):
        return
    plugins = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for package in _PACKAGES:
        sources = os.path.join(plugins, package)
        for folder in (_folder(state_dir), os.path.join(_folder(state_dir), package)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        for name in sorted(os.listdir(sources)):
            source = os.path.join(sources, name)
            if name.endswith(".py") and not _is_current(_kept(source, state_dir), source):
                _compile(source, _kept(source, state_dir))


def _compile(source: str, kept: str) -> None:
    import py_compile  # few runs need it

    draft = f"{kept}.{secrets.token_hex(8)}"
    try:
        py_compile.compile(
            source, draft, source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
        )
        with open(draft, "rb+") as file:
            os.fchmod(file.fileno(), 0o600)
            # Whole or not at all, also after a power cut: a part of it could not be told from the whole.
            os.fsync(file.fileno())
        os.replace(draft, kept)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def _is_current(kept: str, source: str) -> bool:
    try:
        with open(kept, "rb") as file:
            header = file.read(_HEADER_SIZE)
    except FileNotFoundError:
        return False
    with open(source, "rb") as file:
        # https://docs.python.org/3/reference/import.html#pyc-invalidation: the hash of the source follows the flags.
        return header[:4] == importlib.util.MAGIC_NUMBER and header[8:] == importlib.util.source_hash(file.read())


def _folder(state_dir: str) -> str:
    return os.path.join(state_dir, "bytecode")


def _kept(source: str, state_dir: str) -> str:
    """Where the bytecode of a source is kept, by the name that Python itself gives it."""
    name = os.path.basename(importlib.util.cache_from_source(source))
    return os.path.join(_folder(state_dir), os.path.basename(os.path.dirname(source)), name)


def _is_ours(folder: str) -> bool:
    """Whether nobody else can have put bytecode there, which is run unseen."""
    try:
        state = os.stat(folder)
    except (OSError, ValueError):  # not there, or no path at all
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022


class _Loader(SourceFileLoader):
    """Takes the bytecode from the state folder, as long as it is that of the source, and writes none itself."""

    def __init__(self, state_dir: str, name: str, path: str) -> None:
        super().__init__(name, path)
        self._kept = _kept(path, state_dir)

    def get_code(self, fullname: str) -> CodeType | None:
        try:
            return super().get_code(fullname)
        except (EOFError, TypeError, ValueError):
            # Damaged behind its header, by which it would be taken for current.
            with contextlib.suppress(OSError):
                os.unlink(self._kept)
            return self.source_to_code(super().get_data(self.path), self.path)

    def get_data(self, path: Any) -> bytes:
        return super().get_data(path if path == self.path else self._kept)

    def set_data(self, *_args: Any, **_kwargs: Any) -> None:
        """Whoever waits for a room does not wait for this as well; see :func:`keep`."""


class _Finder:
    """Finds the rooms, and nothing else, before ansible-core's own finder does."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self._loader = functools.partial(_Loader, state_dir)
        self._finders: dict[str, FileFinder] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = fullname.rpartition(".")[0]
        if not path or package not in (f"{_PLUGINS}.{name}" for name in _PACKAGES):
            return None
        if package not in self._finders:
            self._finders[package] = FileFinder(path[0], (self._loader, [".py"]))  # type: ignore[arg-type]
        return self._finders[package].find_spec(fullname, target)
