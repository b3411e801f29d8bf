# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Branch and commit of a git checkout, read from its files: git may be missing, and takes milliseconds to start.

The layout: https://git-scm.com/docs/gitrepository-layout
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_FILE_MAX = 4096
# Some 200,000 references.
_PACKED_REFS_MAX = 16 * 1024 * 1024
_SYMBOLIC_MAX = 6
_BRANCHES = "refs/heads/"
# What stands in HEAD where the references are in a database of another format.
_ELSEWHERE = "refs/heads/.invalid"

# What is checked out: the name of the branch, None where it is a commit or tag; the commit, None before the first one.
_Checkout = tuple[str | None, str | None]


def checkout(path: str | os.PathLike[str]) -> _Checkout:
    """The branch and the commit of the checkout that a file or folder is in; None for what cannot be read.

    :param path: symbolic links are followed first: what they lead to is what runs.
    """
    try:
        return _checkout(Path(os.path.realpath(path)))
    except (OSError, ValueError):
        return None, None


def checkout_root(path: str) -> str | None:
    """The folder of the checkout that a file or folder is in; None where it is in none, or that cannot be read."""
    try:
        return next((str(folder) for folder in (Path(path), *Path(path).parents) if (folder / ".git").exists()), None)
    except (OSError, ValueError):
        return None


def _checkout(path: Path) -> _Checkout:
    for folder in (path, *path.parents):
        own = folder / ".git"
        if own.is_dir():
            # Tools leave empty folders of that name behind; git passes them by, too.
            if (own / "HEAD").exists():
                return _head(own)
        elif own.exists():
            kind, colon, place = _text(own).partition(":")
            return _head(folder / place.strip()) if colon and kind == "gitdir" else (None, None)
    return None, None


def _head(own: Path) -> _Checkout:
    """From a checkout's own files, and those that it shares with other worktrees."""
    common = own / "commondir"
    shared = own / _text(common).strip() if common.exists() else own
    name, branch = "HEAD", None
    for _step in range(_SYMBOLIC_MAX):
        place = next((folder / name for folder in (own, shared) if (folder / name).is_file()), None)
        if place is None:
            return branch, _packed(name, shared)
        content = _content(place, _FILE_MAX).strip()
        if not content.startswith(b"ref:"):
            return branch, _commit(content)
        name = os.fsdecode(content[len(b"ref:") :].strip())
        if not name.startswith("refs/") or ".." in name or name == _ELSEWHERE:
            break
        branch = name[len(_BRANCHES) :] if name.startswith(_BRANCHES) else None
    return None, None


def _packed(name: str, shared: Path) -> str | None:
    if not (shared / "packed-refs").exists():
        return None
    content = b"\n" + _content(shared / "packed-refs", _PACKED_REFS_MAX)
    match = re.search(rb"\n([0-9a-f]+) " + re.escape(os.fsencode(name)) + rb"\r?(?=\n|\Z)", content)
    return _commit(match[1]) if match else None


def _commit(content: bytes) -> str | None:
    is_hexadecimal = len(content) in (40, 64) and not content.strip(b"0123456789abcdef")
    return content.decode("ascii") if is_hexadecimal else None


def _text(path: Path) -> str:
    return os.fsdecode(_content(path, _FILE_MAX)).rstrip("\r\n")


def _content(path: Path, limit: int) -> bytes:
    """The content of a file.

    :raises ValueError: for a pipe or device, which could block, and for more than ``limit`` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is not a file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} has more than {limit} bytes")
    return content
