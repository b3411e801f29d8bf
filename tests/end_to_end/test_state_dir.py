# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which folder the outbox lies in, and that what somebody else put there neither stops nor deceives a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from control_node import KEY, ControlNode

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import own_name
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox

NOTHING = "- hosts: web1\n  gather_facts: false\n"
TASK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change: {change_key: A-1, change_status: Done, title: t, state_dir: a/tasks}
"""


def run(control: ControlNode, *arguments: str) -> str:
    code, output = control.run(*arguments or [control.write("site.yml", NOTHING)])
    assert code == 0, output
    assert "Traceback" not in output
    return " ".join(output.split())


def _forged_event(state: Path, control: ControlNode) -> None:
    with Outbox(str(state), Connection(control.receiver.url, KEY)) as outbox:
        forged = ChangeEvent("Done", "forged", "forged")
        outbox.put(forged)
    state.chmod(0o777)


def _dangling_links(state: Path, control: ControlNode) -> None:
    state.mkdir(parents=True)
    for name in ("salt", "outbox.sqlite3", "creation.lock", "couriers"):
        (state / name).symlink_to(control.folder / "elsewhere" / name)


def _link(state: Path, control: ControlNode) -> None:
    state.parent.mkdir(parents=True)
    state.symlink_to(control.folder / "elsewhere")


def _pipe(state: Path, _control: ControlNode) -> None:
    state.mkdir(parents=True)
    os.mkfifo(state / "salt")


def _somebodys(state: Path, _control: ControlNode) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs the right to give files away")
    state.mkdir(parents=True)
    os.chown(state, 54321, 54321)


@pytest.mark.alike
@pytest.mark.parametrize("plant", [_forged_event, _dangling_links, _link, _pipe, _somebodys])
def test_what_somebody_else_made_is_left_alone(
    control: ControlNode, plant: Callable[[Path, ControlNode], None]
) -> None:
    (control.folder / "elsewhere").mkdir()
    plant(control.state, control)
    output = run(control)
    assert output.count("flashduty_change:") == 1, output
    # Older releases of ansible-core break the lines of a warning, also within a path.
    said = "".join(output.split())
    assert str(control.state) in said
    assert str(control.spools[0]) in said
    run(control, "flashcat.flashduty.flush")
    assert control.statuses() == ["Processing", "Done"]
    assert {event["change_key"] for event in control.receiver.events()} != {"forged"}
    assert list((control.folder / "elsewhere").iterdir()) == []


def test_several_users_share_a_folder_and_each_has_one_below_it(control: ControlNode) -> None:
    shared = control.folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    control.environment["FLASHDUTY_STATE_DIR"] = str(shared)
    assert "flashduty_change:" not in run(control)
    assert control.statuses() == ["Processing", "Done"]
    assert [path.name for path in shared.iterdir()] == [own_name()]
    assert (shared / own_name()).stat().st_mode & 0o777 == 0o700


def test_a_relative_folder_counts_from_the_current_one(control: ControlNode) -> None:
    control.environment["FLASHDUTY_STATE_DIR"] = "some/where"
    (control.folder / "playbooks").mkdir()
    run(control, control.write("playbooks/task.yml", TASK))
    # The task's own event, and those of the run, which go out beside it.
    assert sorted(control.statuses()) == ["Done", "Done", "Processing"]
    assert (control.folder / "a" / "tasks" / "outbox.sqlite3").exists()
    assert (control.folder / "some" / "where" / "outbox.sqlite3").exists()


def test_a_timer_with_another_environment_finds_the_spool(control: ControlNode, another_tmpdir: str) -> None:
    control.state.parent.mkdir(parents=True)
    control.state.write_text("this is no folder")
    control.environment.update({"FLASHDUTY_WAIT": "0"})
    control.receiver.faults.set("refuse", seconds=3600)
    run(control)
    assert control.statuses() == []
    control.receiver.faults.clear()
    control.environment["TMPDIR"] = another_tmpdir
    run(control, "flashcat.flashduty.flush")
    assert control.statuses() == ["Processing", "Done"]
