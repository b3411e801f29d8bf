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

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import entry


def test_the_import_path_means_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "here", "/there"])
    assert entry.import_path() == [str(tmp_path / "here"), "/there"]


def test_the_import_path_in_a_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "path", ["", "here", "/there"])
    assert entry.import_path() == ["/there"]


def test_the_import_path_has_the_current_folder_only_where_the_operator_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/there"])
    monkeypatch.setenv("PYTHONPATH", ":/there")
    assert entry.import_path() == ["/there"]
    monkeypatch.setenv("PYTHONPATH", f"/there:{tmp_path}")
    assert entry.import_path() == [str(tmp_path), "/there"]


def test_no_setting_of_ours_is_in_the_environment_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLASHDUTY_INTEGRATION_KEY", "FLASHDUTY_PUSH_URL", "FLASHDUTY_APP_KEY", "ANSIBLE_VAULT_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("https_proxy", "http://proxy.test")
    environment = entry.environment()
    assert environment["https_proxy"] == "http://proxy.test"
    assert "secret" not in environment.values()


def test_the_settings_of_libpq_are_for_a_process_that_may_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", "/etc/pgpass")
    assert "PGPASSFILE" not in entry.environment()
    monkeypatch.setenv("PGP_PASSPHRASE", "secret")
    environment = entry.environment(with_libpq=True)
    assert environment["PGPASSFILE"] == "/etc/pgpass"
    assert "secret" not in environment.values()


PROBE = """\
import sys
def main():
    import ansible_collections
    print(list(ansible_collections.__path__), sorted({name.partition(".")[0] for name in sys.modules}))
    sys.exit(7)
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """entry.py in a collection of its own, with a module to run."""
    folder = tmp_path / "ansible_collections/flashcat/flashduty/plugins/plugin_utils"
    (folder / "_courier").mkdir(parents=True)
    shutil.copy(entry.__file__, folder / "_courier")
    (folder / "_probe.py").write_text(PROBE, encoding="utf-8")
    return folder / "_courier" / "entry.py"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-B", *arguments], capture_output=True, text=True, timeout=30, check=False, cwd="/"
    )


def test_it_runs_a_module_and_imports_next_to_nothing(copied: Path) -> None:
    done = python("-S", str(copied), "_probe")
    assert (done.returncode, done.stderr) == (7, "")
    assert str([str(copied.parents[5])]) in done.stdout
    for heavy in ("typing", "re", "json", "subprocess", "pathlib", "socket", "logging", "ansible", "requests"):
        assert f"'{heavy}'" not in done.stdout


def test_it_is_not_misled_by_a_regular_package(copied: Path, tmp_path: Path) -> None:
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
    assert str([str(copied.parents[5])]) in done.stdout


def test_what_fails_says_why_in_one_line(copied: Path) -> None:
    (copied.parents[1] / "_probe.py").write_text("raise ValueError('one\\ntwo')", encoding="utf-8")
    done = python("-S", str(copied), "_probe")
    assert (done.returncode, done.stderr) == (1, "ValueError: one two\n")
