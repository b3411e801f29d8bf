# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook outbox: what was sent, what was refused and why, and sending that again."""

from __future__ import annotations

import re

from control_node import KEY, ControlNode

OUTBOX = "flashcat.flashduty.outbox"
SITE = "- name: Upgrade\n  hosts: web\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: /bin/true\n"
AGAIN = f"""
- import_playbook: {OUTBOX}
  vars: {{{{resend: "{{ids}}"}}}}
- import_playbook: flashcat.flashduty.flush
- import_playbook: {OUTBOX}
  vars: {{{{drop: "0123456789"}}}}
"""


def _lines(output: str) -> list[str]:
    return re.findall(r'"(\d{4}-\d\d-\d\d [^"]*)"', output)


def test_what_was_delivered_is_shown_without_a_key(control: ControlNode) -> None:
    assert control.run(control.write("site.yml", SITE))[0] == 0
    del control.environment["FLASHDUTY_PUSH_URL"]
    code, output = control.run(OUTBOX)
    assert code == 0, output
    done, processing = _lines(output)
    assert " delivered  Done " in done
    assert " delivered  Processing " in processing
    for event, line in zip(control.receiver.events(), (processing, done), strict=True):
        assert event["request_id"] in line
        assert event["change_key"] in line
        assert event["body"]["title"] in line


def test_what_was_refused_is_shown_and_sent_again_in_a_folder_that_users_share(control: ControlNode) -> None:
    shared = control.folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    control.environment["FLASHDUTY_STATE_DIR"] = str(shared)
    control.receiver.faults.set("status", status=400, message="labels: too many")
    assert control.run(control.write("site.yml", SITE))[0] == 0
    control.receiver.faults.clear()
    code, output = control.run(OUTBOX, "-e", "outbox_state=refused")
    lines = _lines(output)
    assert (code, len(lines)) == (0, 2)
    assert all("labels: too many" in line for line in lines)
    ids = ",".join(re.findall(r"\[(\w+)", "".join(lines)))
    code, output = control.run(OUTBOX, "--check", "-e", f"resend={ids}")
    assert (code, "2 refused events wait again" in output) == (0, True)
    code, output = control.run(control.write("again.yml", AGAIN.format(ids=ids)))
    assert "2 refused events wait again" in output
    assert control.only_change()["change_status"] == "Done"
    assert (code, "holds no refused event 0123456789" in " ".join(output.split())) == (2, True)
    assert KEY not in output
