# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings in an ansible.cfg, judged by the parser that ansible-core reads it with."""

from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.filter.callback_settings import callback_settings

NAME = "flashcat.flashduty.flashduty_change"
KEY_FILE = {"integration_key_file": "/etc/flashduty.key", "api_url": "https://fd.example"}
FILLING = st.lists(st.sampled_from(["", "# a comment", "; another"]), max_size=2)
LISTS = st.sampled_from(
    [
        "callbacks_enabled = a.b.c",
        "callbacks_enabled=a.b.c,d.e.f ; ours",
        "callbacks_enabled: a.b.c , d.e.f,",
        "callbacks_enabled =",
        "callbacks_enabled =\n    more.of.it\n    , x.y.z ; why",
        "callbacks_enabled = a.b.c,\n  # a comment within\n\tx.y.z",
    ]
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """An ansible.cfg that somebody could have written."""
    lines = draw(FILLING)
    for section in draw(st.permutations(["defaults", "ssh_connection", "callback_flashduty_change"])):
        if draw(st.booleans()):
            lines.append(f"[{section}]")
            settings = [draw(LISTS)] if section == "defaults" and draw(st.booleans()) else []
            settings += draw(st.sampled_from([[], ["forks = 5"], ["wait=3", "title = x ; y"]]))
            for setting in draw(st.permutations(settings)):
                lines += [*draw(FILLING), *setting.split("\n")]
            lines += draw(FILLING)
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(text)
    return parser


def callbacks(text: str) -> list[str]:
    value = parsed(text).get("defaults", "callbacks_enabled", fallback="", raw=True)
    return [item.strip() for item in value.replace("\n", ",").split(",") if item.strip()]


@given(text=files())
def test_nothing_else_changes_and_all_of_it_is_taken_back(text: str) -> None:
    before, lines = parsed(text), text.splitlines()
    changed = callback_settings(text, KEY_FILE)
    assert callback_settings(changed, KEY_FILE) == changed
    assert sorted(callbacks(changed)) == sorted([*callbacks(text), NAME])
    after = parsed(changed)
    assert {name: after["callback_flashduty_change"][name] for name in KEY_FILE} == KEY_FILE
    for section in before.sections():
        for key in before[section]:
            if key != "callbacks_enabled":
                assert after[section][key] == before[section][key]
    comments = [line for line in lines if line.lstrip()[:1] in ("#", ";")]
    assert [line for line in changed.splitlines() if line in comments] == comments
    back = callback_settings(changed, KEY_FILE, "absent")
    assert callbacks(back) == callbacks(text)
    assert [line for line in back.splitlines() if line in comments] == comments


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[defaults]\n",
        "[defaults]\nforks = 5\n# mine\n\n[ssh_connection]\npipelining = true\n",
        "[defaults]\ncallbacks_enabled = ansible.posix.timer\n",
        "[defaults]\ncallbacks_enabled = ansible.posix.timer, b.c.d ; both\nforks = 5\n",
        "[defaults]\ncallbacks_enabled =\n    ansible.posix.timer,\n    b.c.d\nforks = 5\n",
        "[callback_flashduty_change]\nwait = 3\n",
        "# nothing but a comment\n",
    ],
)
def test_taken_back_to_the_letter(text: str) -> None:
    changed = callback_settings(text, KEY_FILE)
    assert callbacks(changed) == [*callbacks(text), NAME]
    assert callback_settings(changed, KEY_FILE, "absent").rstrip(",\n") == text.rstrip(",\n")


def test_what_somebody_else_has_set_stays() -> None:
    text = "[callback_flashduty_change]\nintegration_key_file = /elsewhere\n"
    assert callback_settings(text, KEY_FILE, "absent") == text
