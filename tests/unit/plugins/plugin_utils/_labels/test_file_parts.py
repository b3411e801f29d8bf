# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A part of a file says of the wanted variables what the whole file says, or the whole file is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.file_parts import WholeFile, part_with

NAMES = frozenset({"service", "team", "on"})
HAS_LIBYAML = hasattr(yaml, "CLoader")
needs_libyaml = pytest.mark.skipif(not HAS_LIBYAML, reason="without libyaml, every file is read as a whole")

PARTS = {
    "": "",
    "# service\n": "",
    "port: 80\n": "",
    "port: 80\nsecret: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  61\n": "",
    "path: C:\\dir\n": "",
    "service: shop\n": "service: shop\n",
    "service: shop": "service: shop",
    "service: |+\n  shop\n\n\nport: 80\n": "service: |+\n  shop\n\n\n",
    "---\nport: 80\nservice: shop # of us\n\n# next\nteam: 7\n": "service: shop # of us\n\n# next\nteam: 7\n",
    "é: ö\nservice: größe\nlast: 1\n": "service: größe\n",
    "text: |\n  service: no\nteam: of_text\n": "team: of_text\n",
    'text: "\nservice: no\n"\nteam: of_text\n': "team: of_text\n",
    "map: {\nservice: no\n}\nteam: of_text\n": "team: of_text\n",
    "service:\nport: 80\n": "service:\n",
    "service:\n  - a\n  - b\nport: 80\n": "service:\n  - a\n  - b\n",
    "service: >-\n  two\n  lines\nport: 80\n": "service: >-\n  two\n  lines\n",
}
WHOLE = [
    "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
    '"service": shop\n',
    '"\\x73ervice": shop\n',
    "  service: shop\n",
    "? service\n: shop\n",
    "{service: shop}\n",
    '{"service": "shop"}\n',
    '{"\\u0073ervice": "shop"}\n',
    "&a service: shop\n",
    "team: &a service\n*a : shop\n",
    "service: &a shop\nport: *a\n",
    "port: &a shop\nservice: *a\n",
    "base: &a {service: shop}\n<<: *a\n",
    "service: one\nservice: two\n",
    'service: "{{ port }}"\n',
    "service: {a: 1}\n",
    "service: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  61\n",
    "service: !unsafe shop\n",
    "!own service: shop\n",
    '!!binary "c2VydmljZQ==": shop\n',
    "--- !own\nservice: shop\n",
    "%TAG ! tag:yaml.org,2002:\n---\nservice: shop\n",
    'service: "\\x7b\\x7b port }}"\n',
    "service: shop\n---\nteam: two\n",
    "- service\n",
    "service\n",
    "service: [\n",
    "service: \t\x00\n",
    "team: shop\n?",
    "service: shop\n? port\n: 80\n",
    "service: <<\n",
]


@needs_libyaml
@pytest.mark.parametrize("text", PARTS)
def test_the_lines_of_the_wanted_variables_are_the_part(text: str) -> None:
    assert part_with(text.encode(), NAMES) == PARTS[text]


@pytest.mark.parametrize("text", WHOLE)
def test_all_that_is_unusual_asks_for_the_whole_file(text: str) -> None:
    with pytest.raises(WholeFile):
        part_with(text.encode(), NAMES)


def test_what_is_no_text_asks_for_the_whole_file() -> None:
    with pytest.raises(WholeFile):
        part_with(b"service: \xff\n", NAMES)


def test_without_libyaml_a_file_that_names_a_variable_is_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CLoader", raising=False)
    assert part_with(b"port: 80\n", NAMES) == ""
    with pytest.raises(WholeFile):
        part_with(b"service: shop\n", NAMES)


PIECES = st.sampled_from(
    [
        *("service", "team", "on", "port:", "&a", "*a", "<<", "?", "-", "|", "|+", ">", "'", '"', "{", "}", "[", "]"),
        *(",", "#", "!", "\\", "\\x73", "---", "...", "%", "@", "~", "80", "1.5", "yes", "é", " ", "\t", "\n", "\n\n"),
        *("\n  ", ": ", "service: ", "\nservice: ", "\nteam: shop\n", "\nport: |\n  ", '"\n', "\n- "),
    ]
)


@needs_libyaml
@given(st.lists(PIECES, max_size=14).map("".join))
def test_a_part_says_what_the_whole_file_says(text: str) -> None:
    try:
        part = part_with(text.encode(), NAMES)
    except WholeFile:
        return
    try:
        whole: Any = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        # The syntax is right, a value of another variable is not: ansible-core refuses the file when it reads it.
        assert (yaml.load(part, Loader=yaml.CSafeLoader) or {}).keys() <= NAMES
        return
    wanted = {key: whole[key] for key in NAMES & whole.keys()} if isinstance(whole, dict) else {}
    assert (yaml.load(part, Loader=yaml.CSafeLoader) or {}) == wanted
