# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a process of ours is given."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _standalone


def test_the_import_path_means_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "here", "/there"])
    assert _standalone.import_path() == [str(tmp_path / "here"), "/there"]


def test_the_import_path_in_a_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "path", ["", "here", "/there"])
    assert _standalone.import_path() == ["/there"]


STANDALONE = Path(_standalone.__file__)
PROBE = """\
import sys
def main(argv):
    import ansible_collections
    print(list(ansible_collections.__path__), argv, sorted({name.partition(".")[0] for name in sys.modules}))
    return 7
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """_standalone.py in a collection of its own, with a room."""
    folder = tmp_path / "ansible_collections/flashcat/flashduty/plugins/plugin_utils"
    folder.mkdir(parents=True)
    shutil.copy(STANDALONE, folder)
    (folder / "_probe.py").write_text(PROBE, encoding="utf-8")
    return folder / STANDALONE.name


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-B", *arguments], capture_output=True, text=True, timeout=30, check=False, cwd="/"
    )


def test_standalone_runs_a_room_and_imports_next_to_nothing(copied: Path) -> None:
    done = python("-S", str(copied), "_probe", "a", "b c")
    assert (done.returncode, done.stderr) == (7, "")
    assert str([str(copied.parents[4])]) in done.stdout
    assert "['a', 'b c']" in done.stdout
    for heavy in ("typing", "re", "json", "subprocess", "pathlib", "socket", "logging", "ansible", "requests"):
        assert f"'{heavy}'" not in done.stdout


def test_standalone_is_not_misled_by_a_regular_package(copied: Path, tmp_path: Path) -> None:
    fake = tmp_path / "site" / "ansible_collections"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("", encoding="utf-8")
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(fake.parent)!r}); import ansible_collections; "
        f"del sys.modules['ansible_collections']; "
        f"sys.argv = ['x', '_probe']; runpy.run_path({str(copied)!r}, run_name='__main__')"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (7, "")
    assert str([str(copied.parents[4])]) in done.stdout


def test_standalone_outside_a_collection_says_so(copied: Path, tmp_path: Path) -> None:
    moved = shutil.move(copied, tmp_path / "_standalone.py")
    done = python(str(moved), "_probe")
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not lie in ansible_collections/flashcat/flashduty/plugins/plugin_utils" in done.stderr
    assert python(str(STANDALONE)).returncode == 2
