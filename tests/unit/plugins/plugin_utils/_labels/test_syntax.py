# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the syntax of a template tells, and the templates that need no engine."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.syntax import (
    harmless_names,
    names_in,
    substituted,
    words_in,
)


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("plain text", set()),
        ("{{ service }}-{{ env }}", {"service", "env"}),
        ("{{ service.name | default(fallback) }}", {"service", "fallback"}),
        ("{% for item in items %}{{ item }}{% endfor %}", {"items", "item"}),
        ("{% set x = y %}{{ x }}", {"x", "y"}),
        ("{{ lookup('env', 'HOME') }}{{ a }}", {"a"}),
        # What reads more than one can see.
        ("{{ hostvars['web1'].service }}", None),
        ("{{ vars['service'] }}", None),
        ("{{ ansible_facts.x }}", None),
        ("{{ lookup('pipe', 'date') }}", None),
        ("{{ lookup(which, 'x') }}", None),
        ("{{ [1] | map(lookup) }}", None),
        ("#jinja2: variable_start_string: '[['\n[[ a ]]", None),
        ("{{ broken", None),
    ],
)
def test_the_variables_that_a_template_reads(template: str, names: set[str] | None) -> None:
    assert names_in(template) == names


def test_lookups_that_are_trusted_read_what_stands_in_their_arguments() -> None:
    assert names_in("{{ lookup('pipe', command) }}") is None
    assert names_in("{{ lookup('pipe', command) }}", trust_lookups=True) == frozenset({"command"})
    # These read variables that their arguments only name.
    assert names_in("{{ lookup('ansible.builtin.vars', 'a') }}", trust_lookups=True) is None


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{ query('ansible.builtin.fileglob', folder) }}", {"folder", "query"}),
        ("{{ lookup('vars', 'a') }}", {"lookup"}),
        # A broken one starts nothing.
        ("{{ broken", set()),
        ("{{ lookup('pipe', 'date') }}", None),
        ("{{ lookup('community.general.random_string') }}", None),
        ("{{ lookup(plugin) }}", None),
        ("{{ ['date'] | map(lookup) }}", None),
    ],
)
def test_a_lookup_that_may_do_more_than_read_is_not_harmless(template: str, names: set[str] | None) -> None:
    assert harmless_names(template) == names


def test_names_are_found_within_texts_too() -> None:
    assert words_in("{{ vars[\"owner\"] ~ hostvars['web-1'].x_2 }}") == {"vars", "owner", "hostvars", "web", "x_2"}


@pytest.mark.parametrize(
    ("template", "inputs", "text"),
    [
        ("{{ a }}-{{ b }}", {"a": "shop", "b": 7}, "shop-7"),
        ("{{address}}:{{ port }}", {"address": "10.0.0.1", "port": 80}, "10.0.0.1:80"),
        # Everything that ansible-core may take for something else than this text.
        ("{{ a }}", {"a": 7}, None),
        ("{{ a }}", {"a": True}, None),
        ("{{ a }}", {"a": "None"}, None),
        ("{{ a }}", {"a": "{{ b }}"}, None),
        ("{{ a }}", {}, None),
        ("{{ a | upper }}", {"a": "shop"}, None),
        ("{% if a %}x{% endif %}", {"a": "shop"}, None),
    ],
)
def test_only_what_is_surely_text_needs_no_engine(template: str, inputs: dict[str, Any], text: str | None) -> None:
    assert substituted(template, inputs) == text


def test_text_that_is_no_template_is_not_filled_in() -> None:
    class Unsafe(str):
        __UNSAFE__ = True

    assert substituted(Unsafe("{{ a }}"), {"a": "shop"}) is None
