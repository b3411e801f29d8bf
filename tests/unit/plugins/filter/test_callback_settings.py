# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback enabled in, and taken out of, the text of an ansible.cfg."""

from __future__ import annotations

from configparser import ConfigParser

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.flashcat.flashduty.plugins.filter.callback_settings import FilterModule

CALLBACK = "flashcat.flashduty.flashduty_change"
SETTINGS = {"integration_key_file": "/etc/key", "wait": "7"}
callback_settings = FilterModule().filters()["callback_settings"]


def read(text: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("text", ["", "[defaults]\nforks = 5\n", "[defaults]\ncallbacks_enabled = timer\n"])
def test_it_is_enabled_beside_others_with_its_settings_and_goes_as_it_came(text: str) -> None:
    made = callback_settings(text, SETTINGS)
    parser = read(made)
    enabled = parser["defaults"]["callbacks_enabled"]
    assert enabled.replace(" ", "").split(",")[-1] == CALLBACK
    assert ("timer" in enabled) is ("timer" in text)
    assert dict(parser["callback_flashduty_change"]) == SETTINGS
    assert CALLBACK not in callback_settings(made, SETTINGS, "absent")
    assert read(callback_settings(made, SETTINGS, "absent")).get("defaults", "forks", fallback="") == (
        "5" if "forks" in text else ""
    )


def test_a_setting_with_another_value_is_somebody_elses() -> None:
    made = callback_settings("", SETTINGS)
    left = read(callback_settings(made, {**SETTINGS, "wait": "8"}, "absent"))
    assert dict(left["callback_flashduty_change"]) == {"wait": "7"}


def test_without_settings_it_is_enabled_alone() -> None:
    assert read(callback_settings("")).sections() == ["defaults"]


def test_an_unknown_state_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="state: must be present or absent, got 'gone'"):
        callback_settings("", {}, "gone")
