# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names of groups give which labels."""

from __future__ import annotations

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.group_patterns import (
    GroupPattern,
    InvalidPattern,
)


@pytest.mark.parametrize(
    ("pattern", "name", "labels"),
    [
        ("env_*=env", "env_prod", {"env": "prod"}),
        ("env_*=env", "my_env_prod", {}),
        # The star stands for something.
        ("env_*=env", "env_", {}),
        ("*_env=env", "prod_env", {"env": "prod"}),
        ("*=group", "anything", {"group": "anything"}),
        ("prod=env", "prod", {"env": "prod"}),
        ("prod=env", "production", {}),
        ("production=env=prod", "production", {"env": "prod"}),
        ("eu_*=region=europe", "eu_west", {"region": "europe"}),
        (" prod = env = p ", "prod", {"env": "p"}),
        # A value may hold what separates the others.
        ("prod=env=a=b", "prod", {"env": "a=b"}),
        # Nothing but the star has a meaning.
        ("a.b_*=env", "a.b_prod", {"env": "prod"}),
        ("a.b_*=env", "axb_prod", {}),
        (r"(?P<env>prod|test)_(?P<region>.+)", "prod_eu", {"env": "prod", "region": "eu"}),
        (r"(?P<env>prod|test)_(?P<region>.+)", "dev_eu", {}),
        # The whole name matches, or nothing does.
        (r"(?P<env>prod|test)", "prod_eu", {}),
        # A part that does not take part gives nothing.
        (r"(?P<env>prod|test)(_(?P<region>eu))?", "test", {"env": "test"}),
        (r"x(?P<env>.*)", "x", {}),
    ],
)
def test_labels_of_a_name(pattern: str, name: str, labels: dict[str, str]) -> None:
    assert dict(GroupPattern.from_text(pattern).of(name)) == labels


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "name=label"),
        ("prod", "name=label"),
        ("=env", "name=label"),
        ("prod=", "name=label"),
        ("prod=env=", "name=label"),
        ("a*b*=env", "one star"),
        (r"(?P<env>prod", "error"),
        (r"(?P<env>a)(?P<env>b)", "error"),
        # A comma began the next entry.
        (r"(?P<env>a{1", "comma"),
        (r"(?P<env>(a+)+)", "repeats"),
        (r"(?P<env>(?:a|ab)*)x", "repeats"),
        (r"(?P<env>([a-z]+_){2,})", "repeats"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(InvalidPattern, match=problem):
        GroupPattern.from_text(text)


@pytest.mark.parametrize(
    "text", [r"(?P<env>(?:ab)+)", r"(?P<env>[a+]+)", r"(?P<env>\(a\+\)+)", r"(?P<env>(a|b)c?)", r"(?P<env>(a+)b)+x?"]
)
def test_what_looks_alike_and_does_no_harm_is_allowed_unless_it_repeats_what_varies(text: str) -> None:
    if text.endswith("+x?"):
        with pytest.raises(InvalidPattern):
            GroupPattern.from_text(text)
    else:
        assert GroupPattern.from_text(text).labels == (("env", "env"),)


def test_a_name_that_no_group_has_is_not_matched() -> None:
    pattern = GroupPattern.from_text("env_*=env")
    assert dict(pattern.of("env_" + "x" * 251)) == {"env": "x" * 251}
    assert dict(pattern.of("env_" + "x" * 252)) == {}
