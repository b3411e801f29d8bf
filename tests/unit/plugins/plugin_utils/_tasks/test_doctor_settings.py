# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor says of settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest
from ansible import constants as C  # noqa: N812

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks import doctor_settings
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Finding


def unknown_names(variables: Collection[str]) -> list[Finding]:
    return [found.said("en") for found in doctor_settings.unknown_names(variables)]


def turned_off(options: Mapping[str, bool], origins: Mapping[str, str]) -> list[Finding]:
    return [found.said("en") for found in doctor_settings.turned_off(options, origins)]


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FLASHDUTY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(C, "CONFIG_FILE", None)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("FLASHDUTY_PUSHURL", "Did you mean FLASHDUTY_PUSH_URL?"),
        ("FLASHDUTY_INTEGRATION-KEY", "Did you mean FLASHDUTY_INTEGRATION_KEY?"),
        ("FLASHDUTY_XYZZY_QUUX_17", "Remove it, or look up the right name in the documentation"),
    ],
)
def test_an_environment_variable_that_nothing_reads_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    monkeypatch.setenv("FLASHDUTY_SCOPE", "host")
    monkeypatch.setenv(name, "s3cret")
    (found,) = unknown_names(())
    assert (found.state, found.advice) == ("warn", advice)
    assert name in found.text
    assert "s3cret" not in found.line()


def test_a_key_of_ansible_cfg_that_nothing_reads_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "ansible.cfg"
    config.write_text(
        "[DEFAULT]\nx = 1\n[callback_flashduty_change]\nscope = host\nlable_vars = env\n[defaults]\nzz = 1\n"
    )
    monkeypatch.setattr(C, "CONFIG_FILE", str(config))
    (found,) = unknown_names(())
    assert f"lable_vars in [callback_flashduty_change] of {config}" in found.text
    assert found.advice == "Did you mean label_vars?"


def test_a_config_file_that_cannot_be_read_is_core_s_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"no section", b"\xff\xfe", None):
        config = tmp_path / "ansible.cfg"
        config.write_bytes(content) if content else config.unlink()
        monkeypatch.setattr(C, "CONFIG_FILE", str(config))
        assert list(unknown_names(())) == []


def test_a_variable_is_told_only_where_one_of_ours_was_meant() -> None:
    seen = ("flashduty_push_url", "flashduty_pushurl", "flashduty_change_keys", "flashduty_team_of_the_month", "other")
    assert [found.advice for found in unknown_names(seen)] == [
        "Did you mean flashduty_change_key?",
        "Did you mean flashduty_push_url?",
    ]


@pytest.mark.parametrize(
    ("options", "origins", "said"),
    [
        ({"enabled": True, "preview": False}, {}, []),
        ({"enabled": False, "preview": False}, {"enabled": "the variable flashduty_enabled"}, []),
        (
            {"enabled": False, "preview": False},
            {"enabled": "off the environment variable FLASHDUTY_ENABLED"},
            ["switched off by the environment variable FLASHDUTY_ENABLED. Set enabled to true to report runs"],
        ),
        (
            {"enabled": True, "preview": True},
            {"preview": "ansible.cfg"},
            ["only shown and not sent, preview is set by ansible.cfg. Set preview to false to report runs"],
        ),
    ],
)
def test_what_turns_reports_off_is_named(options: dict[str, bool], origins: dict[str, str], said: list[str]) -> None:
    assert [f"{found.text}. {found.advice}" for found in turned_off(options, origins)] == said


def test_where_options_come_from_is_told_in_a_users_words(
    ansible_cfg: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ansible_cfg(scope="host", enabled="false")
    monkeypatch.setenv("FLASHDUTY_WAIT", "7")
    origins = doctor_settings.configured_origins()
    assert origins["wait"] == "the environment variable FLASHDUTY_WAIT"
    assert origins["scope"].endswith("ansible.cfg")
    assert origins["enabled"] == f"off {origins['scope']}"
    assert "language" not in origins
