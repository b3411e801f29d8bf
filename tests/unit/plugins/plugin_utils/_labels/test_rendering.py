# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw variables become plain values, and a template is worked out no more often than it must."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible.inventory.host import Host
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import (
    MISSING,
    Renderer,
    plain,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 and older take every text for a template

    def trust_as_template(value: str) -> str:
        return value


class Text(str):
    """A text of a class of its own, as ansible-core tags them."""


class Hosts:
    """Hosts with variables, and a renderer that may ask for all of them.

    :param limit: for how many hosts.
    """

    def __init__(self, limit: int = 10, **variables: Mapping[str, Any]) -> None:
        self.variables = {host: self._trusted(values) for host, values in variables.items()}
        self.notices = Notices()
        self.renderer = Renderer(DataLoader(), lambda host: self.variables[host.name], limit, self.notices)

    def _trusted(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._trusted(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._trusted(item) for item in value]
        return trust_as_template(value) if isinstance(value, str) else value

    def lookup(self, host: str) -> Callable[[str], Any]:
        return lambda name: self.variables[host].get(name, MISSING)

    def render(self, host: str, name: str = "x") -> Any:
        return self.renderer.render(name, self.variables[host][name], self.lookup(host), Host(host))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        (Text("a"), "a"),
        (b"caf\xc3\xa9", "café"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        ((Text("a"), {"k": Text("b")}), ["a", {"k": "b"}]),
        ({Text("k"): [Text("v")]}, {"k": ["v"]}),
        ({7}, [7]),
        # What ansible-core 2.18 and older leave in place of default(omit).
        ("__omit_place_holder__abc", None),
    ],
)
def test_a_value_has_built_in_types_only(value: Any, expected: Any) -> None:
    found = plain(value)
    assert (found, type(found)) == (expected, type(expected))


def test_what_no_variable_can_be_is_an_error() -> None:
    with pytest.raises(TypeError, match="object"):
        plain([object()])


@pytest.mark.parametrize(
    ("template", "inputs"),
    [
        ("{{ service }}", {"service": "shop"}),
        ("{{ service }}-{{ env }}", {"service": "shop", "env": "prod"}),
        ("{{ number }}", {"number": 7}),
        ("{{ service }}", {"service": "yes"}),
        ("{{ service }}", {"service": "1.10"}),
        ("{{ service }}", {"service": "None"}),
        ("{{ service }}", {"service": "[1, 2]"}),
        ("{{ service }}", {"service": ""}),
        ("{{ service }}", {"service": " a "}),
        ("{{ service }}", {"service": True}),
        ("{{ service }}", {"service": "0x10"}),
        ("{{ address }}:80", {"address": "10.0.0.1"}),
        ("a\n{{ service }}\n", {"service": "shop"}),
        ("{{ service | upper }}", {"service": "shop"}),
        ("{{ service }}{# comment #}", {"service": "shop"}),
    ],
)
def test_a_template_gives_what_ansible_makes_of_it(template: str, inputs: dict[str, Any]) -> None:
    hosts = Hosts(web1={"x": template, **inputs})
    variables = hosts.variables["web1"]
    expected = plain(Templar(loader=DataLoader(), variables=variables).template(variables["x"]))
    found = hosts.render("web1")
    assert (found, type(found)) == (expected, type(expected))
    assert hosts.renderer.asked == 0


def test_a_variable_of_a_variable_counts_and_one_that_is_missing_costs_that_value_alone() -> None:
    hosts = Hosts(
        web1={"x": {"good": "{{ a }}", "bad": "{{ absent }}", "plain": 7}, "a": "{{ b }}!", "b": "deep"},
    )
    assert hosts.render("web1") == {"good": "deep!", "plain": 7}
    (notice,) = hosts.notices.take()
    assert notice.level == "debug"
    assert "x.bad" in notice.text
    assert "web1" in notice.text


def test_hosts_that_feed_a_template_alike_share_its_result() -> None:
    calls = "{{ (5 | random(start=0, step=1, seed=none)) ~ service }}"
    template = f"{calls}{'{{ 999999 | random }}'}"
    hosts = Hosts(web1={"x": template, "service": "a"}, web2={"service": "a"}, web3={"service": "b"})
    for host in ("web2", "web3"):
        hosts.variables[host]["x"] = hosts.variables["web1"]["x"]
    assert hosts.render("web1") == hosts.render("web2")
    assert hosts.render("web1") != hosts.render("web3")


def test_only_so_many_hosts_are_asked_for_everything_and_that_is_told_once() -> None:
    template = "{{ lookup('vars', 'ser' ~ 'vice') }}"
    hosts = Hosts(2, **{f"web{number}": {"x": template, "service": f"s{number}"} for number in range(5)})
    assert [hosts.render(f"web{number}") for number in range(5)] == ["s0", "s1", MISSING, MISSING, MISSING]
    assert hosts.renderer.asked == 2
    (notice,) = hosts.notices.take()
    assert notice.level == "warning"
    assert "2 hosts" in notice.text


def test_a_host_is_asked_once_for_all_its_templates() -> None:
    templates = {name: f"{{{{ lookup('vars', '{name}' ~ '') }}}}" for name in ("a", "b")}
    hosts = Hosts(1, web1={"x": templates["a"], "y": templates["b"], "a": "1st", "b": "2nd"})
    assert (hosts.render("web1", "x"), hosts.render("web1", "y")) == ("1st", "2nd")
    assert hosts.renderer.asked == 1


def test_a_value_that_holds_itself_ends() -> None:
    hosts = Hosts(web1={})
    loop: list[Any] = ["{{ a }}"]
    loop.append(loop)
    assert hosts.renderer.templates(loop)
    assert hosts.renderer.render("x", loop, lambda _name: MISSING, Host("web1")) is MISSING


@pytest.mark.parametrize(
    ("value", "is_template"),
    [("{{ a }}", True), ("{% if a %}", True), ("#jinja2: x", True), ("{a}", False), (7, False), ([["{{ a }}"]], True)],
)
def test_what_looks_like_a_template(value: Any, is_template: bool) -> None:
    assert bool(Hosts().renderer.templates(value)) is is_template


def test_what_a_host_answered_is_no_template() -> None:
    hosts = Hosts(web1={"x": "{{ answer }}"})
    # Neither trusted nor, on older cores, marked as safe.
    from ansible.utils.unsafe_proxy import wrap_var

    hosts.variables["web1"]["answer"] = wrap_var("{{ 6 * 7 }}")
    assert hosts.render("web1") == "{{ 6 * 7 }}"
