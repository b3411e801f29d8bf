# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With an app key, a task compares with what Flashduty shows: control nodes that share no disk agree."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from control_node import APP_KEY, KEY, ControlNode

from flashduty_sandbox.receiver import Receiver

pytestmark = pytest.mark.slow

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change:
        change_key: CHANGE-1 (v1.2+3)
        change_status: {status}
        title: Upgrade
        labels: {{service: storefront}}
        description: This is {status}.
      {more}
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
        _write_inventory(node, "web[1:3]")
        made.append(node)
    return made


def _write_inventory(node: ControlNode, *hosts: str) -> None:
    local = f"ansible_connection=local\nansible_python_interpreter={sys.executable}\n"
    node.write("inventory", "\n".join(["[all]", *hosts, "[all:vars]", local]))


def _play(status: str, more: str = "") -> str:
    return PLAY.format(status=status, more=more)


def _checked(status: str) -> str:
    return _play(status, "check_mode: true")


def _changed(node: ControlNode, *plays: str, check: bool = False) -> list[int]:
    """On how many hosts each play of one run changed something."""
    arguments = ("--check",) if check else ()
    code, output = node.run("--forks", "12", *arguments, node.write("site.yml", "".join(plays)))
    assert code == 0, output
    assert APP_KEY not in output
    return [part.count("changed: [") for part in output.split("PLAY [")[1:]]


def _reads(receiver: Receiver) -> int:
    return sum(request["path"] == "/change/list" for request in receiver.requests())


def test_two_control_nodes_agree_and_many_hosts_ask_once_or_twice(nodes: list[ControlNode], receiver: Receiver) -> None:
    one, two = nodes
    _write_inventory(one, "web[1:12]")
    assert _changed(one, _play("Processing"), check=True) == [12]
    assert 1 <= _reads(receiver) <= 2
    assert not one.state.exists()
    assert _changed(one, _play("Processing")) == [1]
    assert 2 <= _reads(receiver) <= 4
    assert _changed(two, _play("Processing"), _checked("Done"), _play("Done")) == [0, 3, 1]
    _write_inventory(one, "web[1:3]")
    # Flashduty shows the text of the first event, and the other control node has nothing to add. After that, its own
    # outbox says Processing, Flashduty says Done.
    assert _changed(one, _play("Done"), _checked("Processing"), _play("Processing")) == [0, 3, 1]
    assert [event["body"]["change_status"] for event in receiver.events()] == ["Processing", "Done", "Processing"]


def test_what_one_of_them_began_that_was_planned_is_not_begun_again(
    nodes: list[ControlNode], receiver: Receiver, tmp_path: Path
) -> None:
    another_key = KEY[::-1]
    with Receiver(tmp_path / "last", integration_keys={another_key}, app_keys={APP_KEY}, merge="last") as last:
        for node in nodes:
            push_urls = {"first": receiver.push_url(KEY), "last": last.push_url(another_key)}
            _write_inventory(node, *(f"{host} flashduty_push_url={push_url}" for host, push_url in push_urls.items()))
        assert _changed(nodes[0], _play("Planned")) == [2]
        assert _changed(nodes[1], _play("Planned")) == [0]
        for before, status in pairwise(["Planned", "Ready", "Processing", "Done"]):
            assert _changed(nodes[0], _play(before), _play(status)) == [0, 2]
            assert _changed(nodes[1], _play(status)) == [0]
        assert _changed(nodes[0], _play("Done")) == [0]
        assert (len(receiver.events()), len(last.events())) == (4, 4)


def test_where_flashduty_cannot_be_asked_the_outbox_decides(nodes: list[ControlNode], receiver: Receiver) -> None:
    node = nodes[0]
    node.environment["FLASHDUTY_APP_KEY"] = "wr0ng-key"
    path = node.write("play.yml", _play("Processing"))
    code, output = node.run(path)
    assert code == 0, output
    assert (output.count("changed: ["), output.count("cannot be read from"), "wr0ng" in output) == (1, 1, False)
    assert _reads(receiver) == 1
    assert node.run(path)[1].count("changed: [") == 0
