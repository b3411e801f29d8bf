# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates among the variables of hosts: worked out as ansible-core does, and no more often than they must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from inventories import NAMES, PLAY, Run, inventory_of, write

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import files
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets


def test_a_template_sees_the_variables_of_each_host(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of(
            {"web1": {"region": "nj"}, "web2": {"region": "bj"}, "web3": {"dc": "sz", "region": "{{ dc }}"}}
        ),
        group_vars__all={"cluster": "{{ region }}-1", "flashduty_labels": {"zone": "{{ region }}a", "n": "{{ nope }}"}},
    )
    run = Run(tmp_path)
    found = run.values()
    assert [found[host]["cluster"] for host in ("web1", "web2", "web3")] == ["nj-1", "bj-1", "sz-1"]
    assert found["web3"]["flashduty_labels"] == {"zone": "sza"}
    assert found == run.core_values()
    (notice,) = run.notices.take()
    assert notice.level == "debug"
    assert "flashduty_labels.n of web1 is left out" in notice.text


def test_an_own_variable_that_only_a_template_reads_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {"cluster": "{{ dc }}"}, "web2": {}}),
        group_vars__all={"cluster": "none"},
        host_vars__web1={"dc": "sz"},
    )
    assert Run(tmp_path).values() == {"web1": {"cluster": "sz"}, "web2": {"cluster": "none"}}


def test_templates_that_need_all_variables_are_worked_out_for_a_limited_number_of_hosts(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"region": f"r{number}"} for number in range(5)}
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of(hosts),
        group_vars__all={
            "cluster": "{{ hostvars[inventory_hostname].region }}",
            "team": "{{ lookup('vars', 'region') }}",
        },
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values()
    assert run.notices.take() == []
    limited = run.values(limit=2)
    assert [host for host, values in limited.items() if "cluster" in values] == ["web0", "web1"]
    assert all(values["region"] == f"r{host[3:]}" for host, values in limited.items())
    (notice,) = run.notices.take()
    assert notice.level == "warning"
    assert "for 2 hosts only" in notice.text


def test_a_template_that_cannot_be_read_is_no_answer_for_another_host(tmp_path: Path) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {"dc": "nj"}, "web2": {"dc": "bj"}, "web3": {}}),
        group_vars__all={"cluster": "{{ hostvars[inventory_hostname].dc | default('none') }}"},
    )
    run = Run(tmp_path)
    assert run.values() == run.core_values()
    assert [values["cluster"] for values in run.values().values()] == ["nj", "bj", "none"]


def test_a_template_that_needs_more_than_was_looked_up_is_no_answer_for_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {}, "web2": {}}),
        group_vars__all={"cluster": "{{ measured }}"},
    )
    run = Run(tmp_path)
    run.manager.set_host_facts("web1", {"measured": "one"})
    run.manager.set_host_facts("web2", {"measured": "two"})
    # Facts in such a cache are not looked up, though ansible-core has them.
    monkeypatch.setattr(C, "CACHE_PLUGIN", "jsonfile")
    assert run.values() == {"web1": {"cluster": "one"}, "web2": {"cluster": "two"}}


def test_a_template_sees_the_group_that_wins(tmp_path: Path) -> None:
    groups: dict[str, Any] = {
        "a": {"children": {"b": {"hosts": {"web1": {}}}}, "vars": {"dc": "outer"}},
        "b": {"vars": {"dc": "inner"}},
    }
    write(tmp_path, site=PLAY, hosts=inventory_of({}, groups), group_vars__all={"cluster": "{{ dc | upper }}"})
    assert Run(tmp_path).values() == {"web1": {"cluster": "INNER"}}


def test_templates_and_text_that_looks_like_one_are_kept_apart(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"dc": f"dc {number}"} for number in range(20)}
    other = "#jinja2: variable_start_string: '[%', variable_end_string: '%]'\n"
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of(hosts),
        group_vars__all={
            "service": "{{ dc | upper }}{{ '[% dc %]' }}",
            "team": other + "{{ dc | upper }}{{ '[% dc %]' }}",
            "cluster": "{{ lookup('vars', 'service') }}",
        },
    )
    run = Run(tmp_path)
    found = run.values()
    assert found["web7"] == {
        "service": "DC 7[% dc %]",
        "team": "{{ dc | upper }}{{ 'dc 7' }}",
        "cluster": "DC 7[% dc %]",
    }
    assert found == run.core_values()


def test_addresses_and_ports_stay_text(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"ansible_host": f"10.0.0.{number}"} for number in range(3)}
    text = {"cluster": "{{ ansible_host }}:{{ port }}", "region": "{{ ansible_host }}", "team": "{{ port }}"}
    write(tmp_path, site=PLAY, hosts=inventory_of(hosts), group_vars__all={**text, "port": 9100})
    run = Run(tmp_path)
    assert (run.values()["web2"]["cluster"], run.values()["web2"]["region"]) == ("10.0.0.2:9100", "10.0.0.2")
    assert run.values() == run.core_values()


def test_equal_text_may_be_a_template_on_one_host_only(tmp_path: Path) -> None:
    hosts = inventory_of({"web1": {"region": "nj"}, "web2": {"region": "nj"}})
    unsafe = "cluster: !unsafe '{{ region }}'\nteam: !unsafe '{{ region | upper }}'\n"
    template = unsafe.replace("!unsafe ", "")
    write(tmp_path, site=PLAY, hosts=hosts, host_vars__web1=template, host_vars__web2=unsafe)
    run = Run(tmp_path)
    assert run.values() == {
        "web1": {"cluster": "nj", "team": "NJ", "region": "nj"},
        "web2": {"cluster": "{{ region }}", "team": "{{ region | upper }}", "region": "nj"},
    }
    assert run.values() == run.core_values()


def test_a_template_that_fails_is_not_tried_with_all_variables_for_each_host(tmp_path: Path) -> None:
    hosts = {f"web{number}": {"region": f"r{number}"} for number in range(9)}
    write(tmp_path, site=PLAY, hosts=inventory_of(hosts), group_vars__all={"cluster": "{{ region }}{{ nope }}"})
    run = Run(tmp_path)
    assert all("cluster" not in values for values in run.values(limit=1).values())
    assert [notice.level for notice in run.notices.take()] == ["debug"]


@pytest.mark.parametrize("slow", [False, True])
def test_lookups_that_may_do_more_than_read_are_run_only_where_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    if slow:
        monkeypatch.setattr(files, "sort_groups", None)
    count = tmp_path / "count"
    write(
        tmp_path,
        site=PLAY,
        hosts=inventory_of({"web1": {}, "web2": {}}),
        group_vars__all={
            "service": "{{ lookup('pipe', 'echo x | tee -a " + str(count) + "') }}",
            "team": "{{ deeper | upper }}",
            "deeper": "{{ query('ansible.builtin.pipe', 'echo x | tee -a " + str(count) + "') | first }}",
            "cluster": "{{ lookup('env', 'HOME') }}{{ lookup('vars', 'region') }}",
            "region": "nj",
        },
    )
    run = Run(tmp_path)
    found = targets(run.play, run.inventory.get_hosts(), NAMES, run.notices, written=NAMES)
    assert [target.variables.keys() for target in found] == [{"cluster", "region"}] * 2
    assert not count.exists()
    told = [notice.text for notice in run.notices.take() if notice.level == "warning"]
    assert sorted(text.split()[1] for text in told) == ["service", "team"]
    assert run.values()["web1"]["team"] == "X"
    assert count.exists()
