# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a spool may lie, and whom a folder belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import is_private, spool_folders


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
