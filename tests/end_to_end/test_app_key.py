# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With an app key, a task compares with what Flashduty shows: control nodes that share no disk agree."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from control_node import APP_KEY, ControlNode

from flashduty_sandbox.receiver import Receiver

TASK = """
- hosts: all
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change:
        change_key: CHANGE-1 (v1.2+3)
        change_status: {status}
        title: Upgrade
        labels: {{service: storefront}}
        description: This is {status}.
"""


@pytest.fixture
def nodes(tmp_path: Path, receiver: Receiver) -> list[ControlNode]:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        node = ControlNode(folder, receiver)
        del node.environment["ANSIBLE_CALLBACKS_ENABLED"]
        node.environment["FLASHDUTY_APP_KEY"] = APP_KEY
        (folder / "inventory").write_text(
            f"[all]\nweb[1:12]\n[all:vars]\nansible_connection=local\nansible_python_interpreter={sys.executable}\n"
        )
        made.append(node)
    return made


def _changed(node: ControlNode, status: str, *arguments: str) -> int:
    """On how many hosts the task changed something."""
    code, output = node.run("--forks", "12", *arguments, node.write(f"{status}.yml", TASK.format(status=status)))
    assert code == 0, output
    assert APP_KEY not in output
    return output.count("changed: [")


def _reads(receiver: Receiver) -> int:
    return sum(request["path"] == "/change/list" for request in receiver.requests())


def test_two_control_nodes_agree(nodes: list[ControlNode], receiver: Receiver) -> None:
    one, two = nodes
    assert _changed(one, "Processing") == 1
    assert _changed(two, "Processing") == 0
    assert _changed(two, "Done", "--check") == 12
    assert _changed(two, "Done") == 1
    # Flashduty shows the text of the first event, and the other control node has nothing to add.
    assert _changed(one, "Done") == 0
    # Its own outbox says Processing, Flashduty says Done.
    assert _changed(one, "Processing", "--check") == 12
    assert _changed(one, "Processing") == 1
    assert [event["body"]["change_status"] for event in receiver.events()] == ["Processing", "Done", "Processing"]


@pytest.mark.slow
@pytest.mark.parametrize("merge", ["first", "last"])
def test_what_one_of_them_began_that_was_planned_is_not_begun_again(
    nodes: list[ControlNode], receiver: Receiver
) -> None:
    for status in ("Planned", "Ready", "Processing", "Done"):
        assert _changed(nodes[0], status, "--limit", "web1") == 1
        assert _changed(nodes[1], status, "--limit", "web1") == 0
        assert _changed(nodes[0], status, "--limit", "web1") == 0
    assert len(receiver.events()) == 4


def test_many_hosts_ask_once_or_twice(nodes: list[ControlNode], receiver: Receiver) -> None:
    assert _changed(nodes[0], "Processing", "--check") == 12
    assert 1 <= _reads(receiver) <= 2
    assert not (nodes[0].folder / "home" / "flashduty").exists()
    assert _changed(nodes[0], "Processing") == 1
    assert 2 <= _reads(receiver) <= 4


def test_where_flashduty_cannot_be_asked_the_outbox_decides(nodes: list[ControlNode], receiver: Receiver) -> None:
    node = nodes[0]
    node.environment["FLASHDUTY_APP_KEY"] = "wr0ng-key"
    path = node.write("play.yml", TASK.format(status="Processing"))
    code, output = node.run(path)
    assert code == 0, output
    assert (output.count("changed: ["), output.count("cannot be read from"), "wr0ng" in output) == (
        1,
        1,
        False,
    )
    assert _reads(receiver) == 1
    assert node.run(path)[1].count("changed: [") == 0
