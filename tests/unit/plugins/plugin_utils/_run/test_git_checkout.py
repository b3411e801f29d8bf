# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Branch and commit of a checkout, compared with what git itself says."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.git_checkout import checkout

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
COMMIT = "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d"
NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
NOBODY |= {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    result = subprocess.run(command, env={**environment, **NOBODY}, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def repository(folder: Path, *options: str) -> Path:
    folder.mkdir()
    git(folder, "init", "-b", "main", *options)
    (folder / "site.yml").write_text("[]\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    return folder


def plain(folder: Path) -> Path:
    return repository(folder / "plain")


def on_a_branch_with_slashes(folder: Path) -> Path:
    made = repository(folder / "branch")
    git(made, "checkout", "-b", "release/1.2-热修")
    return made


def packed(folder: Path) -> Path:
    made = repository(folder / "packed")
    git(made, "branch", "main2")
    git(made, "tag", "-a", "v1", "-m", "v1")
    git(made, "pack-refs", "--all")
    return made


def packed_and_gone_on(folder: Path) -> Path:
    made = packed(folder)
    git(made, "commit", "--allow-empty", "-m", "two")
    return made


def detached(folder: Path) -> Path:
    made = packed(folder)
    git(made, "checkout", "v1")
    return made


def unborn(folder: Path) -> Path:
    (folder / "unborn").mkdir()
    git(folder / "unborn", "init", "-b", "first")
    return folder / "unborn"


def of_sha256(folder: Path) -> Path:
    return repository(folder / "sha256", "--object-format=sha256")


def worktree(folder: Path) -> Path:
    made = packed(folder)
    git(made, "commit", "--allow-empty", "-m", "two")
    git(made, "worktree", "add", "-b", "other", str(folder / "worktree"), "main2")
    return folder / "worktree"


def submodule(folder: Path) -> Path:
    inner, outer = repository(folder / "inner"), repository(folder / "outer")
    git(inner, "commit", "--allow-empty", "-m", "two")
    git(outer, "submodule", "add", str(inner), "playbooks")
    return outer / "playbooks"


def separate(folder: Path) -> Path:
    return repository(folder / "separate", "--separate-git-dir", str(folder / "elsewhere"))


def cloned(folder: Path) -> Path:
    git(folder, "clone", str(packed(folder)), "cloned")
    return folder / "cloned"


def symbolic_branch(folder: Path) -> Path:
    made = repository(folder / "symbolic")
    git(made, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    (made / ".git" / "HEAD").write_text("ref: refs/heads/alias\n")
    return made


def in_a_folder_of_it(folder: Path) -> Path:
    below = repository(folder / "whole") / "deploy" / "web"
    (below / ".git").mkdir(parents=True)
    return below


def by_a_link(folder: Path) -> Path:
    (folder / "current").symlink_to(repository(folder / "linked"))
    return folder / "current"


@needs_git
@pytest.mark.parametrize(
    "layout",
    [
        plain,
        on_a_branch_with_slashes,
        packed,
        packed_and_gone_on,
        detached,
        unborn,
        of_sha256,
        worktree,
        submodule,
        separate,
        cloned,
        symbolic_branch,
        in_a_folder_of_it,
        by_a_link,
    ],
)
def test_it_says_what_git_says(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    folder = layout(tmp_path)
    head = git(folder, "symbolic-ref", "-q", "HEAD").removeprefix("refs/heads/")
    revision = git(folder, "rev-parse", "-q", "--verify", "HEAD")
    assert head or revision
    assert checkout(folder) == (head or None, revision or None)
    assert checkout(folder / "site.yml") == checkout(folder)


@needs_git
def test_a_playbook_that_is_a_link_belongs_where_it_leads(tmp_path: Path) -> None:
    one, two = repository(tmp_path / "one"), repository(tmp_path / "two")
    git(two, "checkout", "-b", "two")
    (one / "linked.yml").symlink_to(two / "site.yml")
    assert checkout(one / "linked.yml")[0] == "two"


def test_no_checkout_gives_nothing(tmp_path: Path) -> None:
    assert checkout(tmp_path / "absent" / "site.yml") == (None, None)
    assert checkout("\0") == (None, None)


def _head(folder: Path, content: str) -> Path:
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text(content)
    return folder


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (COMMIT, (None, COMMIT)),
        (f"{COMMIT}\r\n", (None, COMMIT)),
        ("", (None, None)),
        ("hunter2", (None, None)),
        (COMMIT[:-1], (None, None)),
        ("ref: refs/heads/.invalid", (None, None)),
        ("ref: refs/heads/main", ("main", None)),
        ("ref: refs/heads/../../secret", (None, None)),
        ("ref: ../secret", (None, None)),
        ("ref: secret", (None, None)),
        ("ref: refs/remotes/origin/main", (None, None)),
        ("x" * 10_000, (None, None)),
    ],
)
def test_unusual_heads(tmp_path: Path, head: str, expected: tuple[str | None, str | None]) -> None:
    (tmp_path / "secret").write_text(COMMIT)
    _head(tmp_path, head)
    (tmp_path / ".git" / "secret").write_text(COMMIT)
    assert checkout(tmp_path) == expected


def test_references_that_go_round_end(tmp_path: Path) -> None:
    folder = _head(tmp_path, "ref: refs/heads/main")
    (folder / ".git" / "refs" / "heads").mkdir(parents=True)
    (folder / ".git" / "refs" / "heads" / "main").write_text("ref: refs/heads/main")
    assert checkout(folder) == (None, None)


def test_what_could_block_or_is_too_much_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "pipe" / ".git").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe" / ".git" / "HEAD")
    assert checkout(tmp_path / "pipe") == (None, None)
    (tmp_path / "git").mkdir()
    os.mkfifo(tmp_path / "git" / ".git")
    assert checkout(tmp_path / "git") == (None, None)
    (tmp_path / "large").mkdir()
    large = _head(tmp_path / "large", "ref: refs/heads/main")
    with open(large / ".git" / "packed-refs", "wb") as file:
        file.truncate(100 * 1024 * 1024)
    assert checkout(large) == (None, None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(git_file=st.binary(max_size=30) | st.sampled_from([b"gitdir: own", b"gitdir: \0"]), head=st.binary(max_size=80))
def test_whatever_the_files_hold_nothing_fails(tmp_path: Path, git_file: bytes, head: bytes) -> None:
    (tmp_path / ".git").write_bytes(git_file)
    (tmp_path / "own").mkdir(exist_ok=True)
    (tmp_path / "own" / "HEAD").write_bytes(head)
    checkout(tmp_path)
