# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A shared outbox that cannot be used keeps nothing from Flashduty, and is one warning."""

from __future__ import annotations

import pytest
from control_node import ControlNode

pytestmark = pytest.mark.slow

# Nobody listens there.
URL = "postgresql://flash:s3cret-word@127.0.0.1:1/flashduty"
SITE = """
- name: Upgrade
  hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "true"
- name: Report
  hosts: localhost
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change:
        change_key: CHANGE-1
        change_status: Done
        title: Upgrade
"""


@pytest.mark.parametrize(
    ("language", "text"), [("en", "the shared outbox cannot be used"), ("zh", "无法使用共享发件箱")]
)
def test_it_is_reported_all_the_same(control: ControlNode, language: str, text: str) -> None:
    control.environment.update(FLASHDUTY_OUTBOX_URL=URL, FLASHDUTY_LANGUAGE=language, FLASHDUTY_WAIT="60")
    code, output = control.run(control.write("site.yml", SITE))
    assert code == 0, output
    # Of the run, and of the task.
    told = "".join(output.split())
    assert told.count("".join(text.split())) == 2, output
    assert "s3cret-word" not in output
    assert {event["body"]["change_status"] for event in control.receiver.events()} == {"Processing", "Done"}
    assert len(control.receiver.changes()) == 2


@pytest.mark.parametrize("url", ["mysql://flash:s3cret-word@db", "postgresql://flash:s3cret@word@db"])
def test_an_address_that_is_none_is_said_of_the_option(control: ControlNode, url: str) -> None:
    control.environment["FLASHDUTY_OUTBOX_URL"] = url
    code, output = control.run(control.write("site.yml", SITE.partition("- name: Report")[0]))
    assert (code, "outbox_url: must be an address" in " ".join(output.split())) == (0, True), output
    assert "s3cret" not in output
