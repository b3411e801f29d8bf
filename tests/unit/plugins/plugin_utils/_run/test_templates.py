# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Title, description and link as the user's templates make them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig
from plays import play_with

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 and older take every text for a template

    def trust_as_template(value: str) -> str:
        return value


EVIL = "{{ lookup('pipe', 'echo pwned') }}"


@pytest.fixture(autouse=True, scope="module")
def _process_of_ansible() -> None:
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()


def _texts(notices: Notices | None = None, variables: dict[str, Any] | None = None, **options: Any) -> PlayTexts:
    templates = {name: trust_as_template(text) if isinstance(text, str) else text for name, text in options.items()}
    return PlayTexts("Deploy", "site.yml", play_with(variables or {}), (), templates, notices or Notices())


def test_what_the_run_says_is_never_a_template() -> None:
    texts = _texts(description="{{ flashduty_run.text }} {{ flashduty_run.failed[0].message }} {{ service }}")
    run = {"text": EVIL, "failed": [{"message": EVIL}]}
    assert texts.rendered("description", run, {"service": EVIL}) == " ".join([EVIL] * 3)


def test_values_of_the_host_go_before_those_of_the_play() -> None:
    texts = _texts(title="{{ service }} on {{ inventory_hostname }}", variables={"service": "play"})
    assert texts.variable_names == ("inventory_hostname", "service")
    assert texts.rendered("title", {}, {"inventory_hostname": "web1"}) == "play on web1"
    assert texts.rendered("title", {}, {"inventory_hostname": "web1", "service": "host"}) == "host on web1"


def test_a_failing_template_is_told_once() -> None:
    notices = Notices()
    texts = _texts(notices, title="{{ absent_one }}", link="{{ 1 / 0 }}")
    for _event in range(3):
        assert texts.rendered("title", {}, {}) == texts.rendered("link", {}, {}) == ""
    first, second = notices.take()
    assert (first.level, second.level) == ("warning", "warning")
    assert first.text.startswith("title has its default value")
    assert "absent_one" in first.text
    assert second.text.startswith("link has its default value")


@pytest.mark.parametrize(
    ("template", "text"),
    [("{{ 12 * 3 }}", "36"), ("{{ none }}", ""), ("{{ [1, 2] }}", "[1, 2]"), (1234, "1234"), ("  a\x00b\nc ", "a b c")],
)
def test_whatever_a_template_gives_becomes_text(template: Any, text: str) -> None:
    assert _texts(title=template).rendered("title", {}, {}) == text


def test_lines_stay_in_the_description_alone() -> None:
    texts = _texts(title="a\nb", description="a\nb")
    assert texts.rendered("title", {}, {}) == "a b"
    assert texts.rendered("description", {}, {}) == "a\nb"
    assert not texts.rendered("link", {}, {})
