# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks report and doctor, called by their names."""

from __future__ import annotations

import os
import re

import pytest
from control_node import APP_KEY, KEY, ControlNode

REPORT, DOCTOR = "flashcat.flashduty.report", "flashcat.flashduty.doctor"
FLUSH = "flashcat.flashduty.flush"


# ---- report


def test_report_sends_one_event_and_is_no_change_itself(control: ControlNode) -> None:
    options = ("-e", "change_key=CHG-9 change_status=Processing title='Upgrade it'", "-e", '{"labels": {"a": "b"}}')
    code, output = control.run(REPORT, "--check", *options)
    assert (code, control.receiver.requests()) == (0, []), output
    for said in ("accepted by Flashduty", "nothing to send"):
        code, output = control.run(REPORT, *options)
        assert code == 0, output
        assert f"CHG-9 is Processing: {said}" in output
    (event,) = control.receiver.events()
    assert (event["title"], event["labels"]) == ("Upgrade it", {"a": "b"})


@pytest.mark.alike
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("change_key=CHG-9 change_status=Done", "title is missing: set it with -e title=..."),
        ("change_status=Done title=x", "change_key is missing"),
        ("change_key=CHG-9 change_status=done title=x", "Planned, Ready, Processing, Canceled, Done"),
        ("change_key=CHG-9 change_status=Done title=x event_time=1700000000000", "milliseconds"),
    ],
)
def test_report_says_what_is_wrong(control: ControlNode, options: str, expected: str) -> None:
    code, output = control.run(REPORT, "-e", options)
    assert code == 2
    assert expected in " ".join(output.split())
    assert control.receiver.requests() == []


def test_report_sends_no_text_that_was_cut_at_a_blank(control: ControlNode) -> None:
    given = [*("-e", "change_key=CHG-9"), *("-e", "change_status=Done"), *("-e", "title=Upgrade the database")]
    code, output = control.run(REPORT, *given)
    assert code == 2
    said = " ".join(output.split())
    assert "Not read: 'the database'." in said
    assert "Quote the value twice" in said
    assert control.receiver.requests() == []


# ---- flush


def test_flush_says_what_it_did(control: ControlNode) -> None:
    control.receiver.faults.set("status", status=500)
    report = "change_status=Done title=x flashduty_timeout=1 change_key="
    assert control.run(REPORT, "-e", f"{report}CHG-1")[0] == 2
    code, output = control.run(FLUSH, "-e", "flush_wait=1")
    assert code == 2
    assert "0 delivered, 1 waiting, 0 closed, 0 refused" in output
    control.receiver.faults.clear()
    control.receiver.faults.set("status", status=400, times=1, message="a label is wrong")
    code, output = control.run(FLUSH)
    assert code == 0
    assert "0 delivered, 0 waiting, 0 closed, 1 refused" in output
    assert "a label is wrong" in output
    code, output = control.run(FLUSH, "-e", "flush_wait=soon")
    assert code == 2
    assert "delivered" not in output


# ---- doctor


def _findings(output: str) -> dict[str, str]:
    """What was said of each subject that is not all right, and of the keys in any case."""
    lines = re.findall(r'"(ok|warn|fail) +([\w ]+): (.*?)",?$', output, re.MULTILINE)
    return {check: f"{state} {text}" for state, check, text in lines if state != "ok" or check in ("key", "app key")}


def test_doctor_finds_nothing_wrong_and_creates_nothing(control: ControlNode) -> None:
    control.environment["FLASHDUTY_APP_KEY"] = APP_KEY
    for arguments in ((), ("--check",)):
        code, output = control.run(DOCTOR, *arguments)
        assert code == 0, output
        found = _findings(output)
        assert found.pop("key").startswith("ok accepted")
        assert found.pop("app key").startswith("ok changes can be read")
        assert found.pop("TLS").startswith("warn plain http")
        assert found == {}
        assert "enabled by the environment variable ANSIBLE_CALLBACKS_ENABLED" in output
        assert KEY not in output
        assert "DEPRECATION" not in output
    assert control.receiver.events() == []
    assert not (control.folder / "home" / "flashduty").exists()


def test_doctor_tells_from_what_env_is_guessed(control: ControlNode) -> None:
    code, output = control.run(DOCTOR)
    assert code == 0
    text = " ".join(output.split())
    assert "labels: env=prod for the 3 hosts of the inventory, guessed from names of groups: env_prod" in text
    control.environment["FLASHDUTY_LABELS"] = "env=qa"
    assert "guessed" not in control.run(DOCTOR)[1]


def test_doctor_tells_a_wrong_key_and_a_wrong_app_key(control: ControlNode) -> None:
    control.environment["FLASHDUTY_PUSH_URL"] = control.receiver.push_url("wr0ng-key")
    control.environment["FLASHDUTY_APP_KEY"] = "wr0ng-app"
    code, output = control.run(DOCTOR)
    assert code == 2
    found = _findings(output)
    assert found["key"].startswith("fail InvalidParameter: integration_key")
    assert found["app key"].startswith("fail Unauthorized")
    assert "wr0ng" not in output


def test_doctor_names_settings_that_nothing_reads_or_that_cannot_be_used(control: ControlNode) -> None:
    control.environment.update(FLASHDUTY_LABEL_VAR="env", FLASHDUTY_PREVIEW="1")
    code, output = control.run(DOCTOR)
    assert code == 0, output
    found = _findings(output)
    assert found["settings"].startswith("warn nothing reads the environment variable FLASHDUTY_LABEL_VAR. Did you mean")
    assert "preview is set by the environment variable FLASHDUTY_PREVIEW" in found["reports"]
    control.environment.update(FLASHDUTY_SCOPE="hosts")
    code, output = control.run(DOCTOR)
    assert code == 2
    assert "Valid are run, group, host" in _findings(output)["settings"]


def test_doctor_says_so_where_it_cannot_be_known(control: ControlNode) -> None:
    control.receiver.faults.set("status", status=400, error_code="InvalidParameter", message="title is required")
    code, output = control.run(DOCTOR)
    assert code == 0, output
    assert _findings(output)["key"].startswith("warn the API answers your key and a made-up one alike")


def test_doctor_without_network_callback_and_key(control: ControlNode) -> None:
    control.receiver.faults.set("refuse", seconds=60)
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    (control.folder / "ansible.cfg").write_text("[defaults]\ncallbacks_enabled = ansible.posix.timer\n")
    control.environment["ANSIBLE_CONFIG"] = str(control.folder / "ansible.cfg")
    code, output = control.run(DOCTOR)
    assert code == 2
    found = _findings(output)
    assert "the connection was refused" in found["API"]
    assert f"{control.folder}/ansible.cfg names ansible.posix.timer" in found["callback"]
    del control.environment["FLASHDUTY_PUSH_URL"]
    assert "fail integration_key: no integration key is set" in _findings(control.run(DOCTOR)[1])["integration key"]


def test_doctor_looks_into_the_outbox(control: ControlNode) -> None:
    control.receiver.faults.set("status", status=500)
    report = ("-e", "change_key=CHG-9 change_status=Done title=x flashduty_timeout=1")
    assert control.run(REPORT, *report)[0] == 2
    folder = control.folder / "home" / "flashduty"
    os.chmod(folder, 0o755)
    (folder / "outbox.sqlite3.corrupt-20260101-000000-1").write_text("")
    code, output = control.run(DOCTOR)
    assert code == 0, output
    for said in ("1 event in", "other users can look into", "1 damaged file set aside"):
        assert said in output
    os.chmod(folder, 0o700)


def test_doctor_says_where_each_group_reports_to(control: ControlNode) -> None:
    del control.environment["FLASHDUTY_PUSH_URL"]
    (control.folder / "group_vars").mkdir()
    control.write("group_vars/web.yml", f"flashduty_push_url: {control.receiver.push_url(KEY)}\n")
    for arguments in ((), ("--check",)):
        code, output = control.run(DOCTOR, *arguments)
        said = " ".join(output.split())
        assert code == 0, output
        assert "the group web reports to the integration #1 (2 hosts)" in said
        assert "1 host (db1) without an integration key while others have one" in said
        assert _findings(output)["key"].startswith("ok accepted")
        assert KEY not in output
