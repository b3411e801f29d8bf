# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names of groups give which labels."""

from __future__ import annotations

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.group_patterns import (
    GroupExpression,
    GroupPattern,
    InvalidPattern,
    parsed,
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
        ("a*=x", "a", {}),
        # The two ends of a name may not be the same characters.
        ("ab*ba=x", "aba", {}),
        ("ab*ba=x", "abxba", {"x": "x"}),
    ],
)
def test_labels_of_a_name(pattern: str, name: str, labels: dict[str, str]) -> None:
    entry = parsed(pattern)
    assert isinstance(entry, GroupPattern)
    value = entry.of(name)
    assert ({entry.label: value} if value else {}) == labels


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
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(InvalidPattern, match=problem):
        parsed(text)


def test_an_expression_gives_a_label_for_each_named_group() -> None:
    entry = parsed(r"(?P<env>prod|test)_(?P<region>.+)")
    assert isinstance(entry, GroupExpression)
    assert entry.labels == (("env", "env"), ("region", "region"))
