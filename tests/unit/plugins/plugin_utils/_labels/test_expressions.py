# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Regular expressions are matched with names of groups, and none of them holds up the run."""

from __future__ import annotations

import sys

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import expressions
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.expressions import matches

ENDLESS = r"(?P<env>(a+)+)b"
NAME = "a" * 60


def test_the_whole_name_matches_or_nothing_does() -> None:
    found = matches([r"(?P<env>prod|test)(_(?P<region>eu))?", "(?P<any>.*)"], ["prod", "test_eu", "prod_us", "生产"])
    assert found == [
        [{"env": "prod", "region": ""}, {"env": "test", "region": "eu"}, {}, {}],
        [{"any": "prod"}, {"any": "test_eu"}, {"any": "prod_us"}, {"any": "生产"}],
    ]


def test_what_comes_before_an_expression_that_takes_too_long_counts() -> None:
    assert matches(["(?P<env>.+)", ENDLESS, "(?P<later>.+)"], [NAME]) == [[{"env": NAME}]]


def test_many_ways_to_divide_a_long_name_take_no_longer() -> None:
    divided = "-".join(f"(?P<p{number}>.+)" for number in range(12)) + "!"
    assert matches([divided], ["-".join(["a"] * 125)]) == []


def test_a_machine_that_gives_no_processor_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "_WAIT_SECONDS", 0.0)
    assert matches(["(?P<env>.+)"], ["prod"]) == []


def test_without_another_process_there_are_no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert matches(["(?P<env>.+)"], ["prod"]) == []
