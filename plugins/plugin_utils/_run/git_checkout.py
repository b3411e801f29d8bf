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
from typing import NamedTuple

_FOLDERS_MAX = 100
_FILE_MAX = 4096
# Some 200,000 references.
_PACKED_REFS_MAX = 16 * 1024 * 1024
_SYMBOLIC_MAX = 5
_COMMIT = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_BRANCHES = "refs/heads/"
# What stands in HEAD where the references are in a database of another format.
_ELSEWHERE = "refs/heads/.invalid"


class GitCheckout(NamedTuple):
    """What is checked out.

    :ivar branch: its name; None where a commit or tag is checked out.
    :ivar revision: the commit; None before the first one.
    """

    branch: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> GitCheckout:
        """The checkout that a file or folder is in; what cannot be read is None.

        :param path: symbolic links are followed first: what they lead to is what runs.
        """
        try:
            repository = _repository(Path(os.path.realpath(path)))
            return cls() if repository is None else _head(*repository)
        except (OSError, ValueError):
            return cls()


def checkout_root(path: str) -> str | None:
    """The folder of the checkout that a file or folder is in; None where it is in none, or that cannot be read."""
    try:
        return next((str(folder) for folder in (Path(path), *Path(path).parents) if (folder / ".git").exists()), None)
    except (OSError, ValueError):
        return None


def _repository(path: Path) -> tuple[Path, Path] | None:
    """The folder of the checkout's own files, and that of the files it shares with other worktrees."""
    for folder in (path, *path.parents)[:_FOLDERS_MAX]:
        found = folder / ".git"
        if found.is_dir():
            # Tools leave empty folders of that name behind; git passes them by, too.
            if (found / "HEAD").exists():
                return found, _shared(found)
        elif found.exists():
            kind, colon, place = _text(found).partition(":")
            if kind != "gitdir" or not colon:
                return None
            own = folder / place.strip()
            return own, _shared(own)
    return None


def _shared(own: Path) -> Path:
    place = own / "commondir"
    return own / _text(place).strip() if place.exists() else own


def _head(own: Path, shared: Path) -> GitCheckout:
    content = _content(own / "HEAD", _FILE_MAX).strip()
    name = _symbolic(content)
    for _step in range(_SYMBOLIC_MAX):
        if name is None:
            return GitCheckout(None, _commit(content))
        if not name.startswith("refs/") or ".." in name or name == _ELSEWHERE:
            break
        branch = name[len(_BRANCHES) :] if name.startswith(_BRANCHES) else None
        place = next((folder / name for folder in (own, shared) if (folder / name).is_file()), None)
        if place is None:
            return GitCheckout(branch, _packed(name, shared))
        content = _content(place, _FILE_MAX).strip()
        further = _symbolic(content)
        if further is None:
            return GitCheckout(branch, _commit(content))
        name = further
    return GitCheckout()


def _packed(name: str, shared: Path) -> str | None:
    if not (shared / "packed-refs").exists():
        return None
    content = b"\n" + _content(shared / "packed-refs", _PACKED_REFS_MAX)
    match = re.search(rb"\n([0-9a-f]+) " + re.escape(os.fsencode(name)) + rb"\r?(?=\n|\Z)", content)
    return _commit(match[1]) if match else None


def _symbolic(content: bytes) -> str | None:
    kind, colon, name = content.partition(b":")
    return os.fsdecode(name.strip()) if colon and kind == b"ref" else None


def _commit(content: bytes) -> str | None:
    return content.decode("ascii") if _COMMIT.match(content) else None


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
