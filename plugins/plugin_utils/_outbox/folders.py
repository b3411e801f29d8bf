# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder of an outbox: which one it is, whether it is safe from other users, and where its spool may lie."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress

# The second one lies in memory, so that a full disk leaves it alone. TMPDIR differs between a shell, a timer and a job.
_ROOTS = ("/tmp", "/dev/shm")
_COURIERS = "couriers"
# The names of what may be opened or written, or how they begin.
_FILES = ("outbox.sqlite3", "salt", "lock", "creation.lock", _COURIERS)
# Seconds after which a named pipe that nobody reads, and the lock beside it, are of a courier that was killed.
_COURIER_IS_GONE = 86400.0


def own_name() -> str:
    """The name of a folder of this user's beside those of others."""
    return f"flashduty-{os.geteuid()}"


def own_folder(configured: str) -> str:
    """The folder itself, or this user's below it where several users share it."""
    try:
        state = os.lstat(configured)
        is_shared = bool(state.st_mode & stat.S_ISVTX) or (
            state.st_uid != os.geteuid() and not os.access(configured, os.W_OK)
        )
    except OSError:
        return configured
    return os.path.join(configured, own_name()) if stat.S_ISDIR(state.st_mode) and is_shared else configured


def spool_folders(configured: str) -> list[str]:
    """The folders in which there may be a spool of the outbox in ``configured``, the best first."""
    own = hashlib.sha256(os.path.realpath(configured).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    roots = dict.fromkeys([*(root for root in _ROOTS if os.path.isdir(root)), _home(), tempfile.gettempdir()])
    return [os.path.join(root, own_name(), own) for root in roots if root]


@functools.cache
def _home() -> str:
    """Where nobody else can have made a folder of that name; empty where this user has no home."""
    import pwd

    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""
    return os.path.join(home, ".ansible") if os.path.isdir(home) else ""


def is_private(folder: str) -> bool:
    """Whether the folder is this user's alone; False where there is none."""
    try:
        state = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o077


def weakness(folder: str) -> str | None:
    """What lets another user decide what is in the folder of an outbox; None where nothing does, or it is missing.

    Where there is none, what is opened by its path is what was looked at here, for nobody else can change it since.

    :param folder: an absolute path.
    :raises OSError: where it cannot be looked at.
    """
    try:
        for path in _way_to(os.path.dirname(folder), set()):
            state = os.lstat(path)
            if found := _weakness_of(path, state, is_sticky=bool(state.st_mode & stat.S_ISVTX)):
                return found
        return _weakness_of_folder(folder, os.lstat(folder))
    except FileNotFoundError:
        return None


def make(folder: str) -> str | None:
    """Make the folder where it is missing; returns its weakness.

    :raises OSError: where it cannot be made.
    """
    found = weakness(folder)
    if found is None and not os.path.isdir(folder):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # Meanwhile somebody else may have made it.
        found = weakness(folder)
    return found


def _way_to(path: str, seen: set[str]) -> Iterator[str]:
    """Each folder and each link that a path leads through, the path itself included."""
    if path in seen:
        return
    seen.add(path)
    parent, name = os.path.split(path)
    if name:
        yield from _way_to(parent, seen)
    yield path
    if os.path.islink(path):
        yield from _way_to(os.path.join(parent, os.readlink(path)), seen)


def _weakness_of_folder(folder: str, state: os.stat_result) -> str | None:
    if stat.S_ISLNK(state.st_mode):
        return f"{folder} is a symbolic link: name the folder itself"
    if not stat.S_ISDIR(state.st_mode):
        return f"{folder} is not a folder"
    if found := _weakness_of(folder, state):
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_FILES) or os.path.basename(folder) == _COURIERS:
                with suppress(FileNotFoundError):
                    if found := _weakness_of_entry(entry, entry.stat(follow_symlinks=False)):
                        return found
    return None


def _weakness_of_entry(entry: os.DirEntry[str], state: os.stat_result) -> str | None:
    if stat.S_ISDIR(state.st_mode) and entry.name == _COURIERS:
        return _weakness_of_folder(entry.path, state)
    is_pipe = stat.S_ISFIFO(state.st_mode) and entry.name.endswith(".fifo")
    if not is_pipe and not stat.S_ISREG(state.st_mode):
        return f"{entry.path} is not a regular file: remove it"
    # The salt, which is never written again, is linked into place.
    if state.st_nlink > 1 and not entry.name.startswith("salt"):
        return f"{entry.path} has a hard link elsewhere: remove it"
    return _weakness_of(entry.path, state)


def _weakness_of(path: str, state: os.stat_result, is_sticky: bool = False) -> str | None:
    if state.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to the user with the id {state.st_uid}, who could put false events there"
    is_open = state.st_mode & 0o002 or (
        state.st_mode & 0o020 and (_has_access_list(path) or not _is_private_group(state.st_gid))
    )
    if is_open and not is_sticky and not stat.S_ISLNK(state.st_mode):
        return f"other users can write to {path}, and so put false events there: chmod go-w"
    return None


def _has_access_list(path: str) -> bool:
    """Whether the group's permissions are the most that an access list of POSIX gives to whom it names."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access", follow_symlinks=False))
    except (OSError, AttributeError):  # without one, and on systems other than Linux
        return False


def _is_private_group(group_id: int) -> bool:
    """Whether nobody is in the group but this user and root."""
    import grp  # rarely needed
    import pwd

    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = "root"
    try:
        group = grp.getgrgid(group_id)
    except KeyError:  # a container's, for which no account is known
        return True
    return (group_id == 0 or group.gr_name == name) and {*group.gr_mem} <= {name, "root"}


def forget_couriers(folder: str) -> None:
    """Remove the pipes and locks of couriers that were killed with all that was beside them, as a container's are."""
    before = time.time() - _COURIER_IS_GONE
    # There may be none, or another courier removes them now.
    with suppress(OSError), os.scandir(os.path.join(folder, _COURIERS)) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_mtime < before and not _is_read(entry.path):
                os.unlink(entry.path)


def _is_read(path: str) -> bool:
    """Whether a process has the named pipe, or that beside the lock, open for reading."""
    try:
        os.close(os.open(path.removesuffix(".lock"), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
    except OSError:
        return False
    return True
