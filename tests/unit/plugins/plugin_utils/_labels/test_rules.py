# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From targeted hosts to the labels of a change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    LABEL_KEY_MAX,
    LABEL_VALUE_MAX,
    LABELS_MAX,
    ChangeEvent,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_patterns import names_group
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import (
    LabelRules,
    RunLabels,
    TargetHost,
    joined,
    natural,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

LABEL_VARS = ("service", "cluster", "team", "owner", "env", "region")
BUILT_IN = {"source": "ansible", "actor": "alice", "controller": "deploy01"}


def host(name: str, *groups: str, **variables: Any) -> TargetHost:
    return TargetHost(name, groups, variables)


class Collected:
    def __init__(
        self, label_vars: Any = LABEL_VARS, labels: Any = None, built_in: Any = None, label_groups: Any = ()
    ) -> None:
        self.notices = Notices()
        options = {"label_groups": label_groups, "label_vars": label_vars, "labels": labels}
        rules = LabelRules.from_options(options, self.notices)
        self.run = RunLabels(rules, BUILT_IN if built_in is None else built_in, self.notices)

    def add(self, *hosts: TargetHost, playbook: str | None = None) -> Collected:
        self.run.add_play(hosts, playbook)
        return self

    @property
    def labels(self) -> dict[str, str]:
        return self.run.labels()

    def told(self) -> list[tuple[str, str]]:
        return [(notice.level, notice.text) for notice in self.notices.take()]


def test_hosts_groups_playbook_and_usual_variables_become_labels() -> None:
    collected = Collected().add(
        host("web10", "web", "prod", service="shop", region="nj", rack=3),
        host("web2", "web", "prod", service="shop", region="bj"),
        playbook="deploy.yml",
    )
    assert collected.labels == {
        "host": "web2,web10",
        "service": "shop",
        "region": "bj,nj",
        "group": "prod,web",
        "playbook": "deploy.yml",
        "actor": "alice",
        "source": "ansible",
        "controller": "deploy01",
    }
    assert collected.told() == []


def test_the_highest_rule_decides_for_each_host() -> None:
    collected = Collected(label_vars=["service", "actor"], labels={"env": "prod", "source": "release"})
    collected.add(
        host("web1", service="by variable", flashduty_labels={"service": "by map", "env": "test"}),
        host("web2", service="by variable", actor="bob"),
    )
    assert collected.labels["service"] == "by map,by variable"
    assert collected.labels["env"] == "prod"
    assert collected.labels["source"] == "release"
    # web1 has no user of its own, so what is built in holds for it.
    assert collected.labels["actor"] == "alice,bob"


def test_a_built_in_label_that_every_host_replaces_is_gone() -> None:
    collected = Collected().add(
        host("web1", "web", flashduty_labels={"actor": "bob", "host": "w1.example.com", "group": "shop"}),
        host("web2", "web", flashduty_labels={"actor": "bob", "host": "w2.example.com", "group": "shop"}),
    )
    assert collected.labels["actor"] == "bob"
    assert collected.labels["host"] == "w1.example.com,w2.example.com"
    assert collected.labels["group"] == "shop"


def test_null_and_empty_values_take_a_label_away() -> None:
    collected = Collected(labels={"controller": None, "actor": "", "tags": []}, built_in={**BUILT_IN, "tags": "app"})
    collected.add(host("web1", service="shop", team="", flashduty_labels={"service": None, "source": ""}))
    assert collected.labels == {"host": "web1"}
    assert collected.told() == []


def test_a_variable_can_have_another_label_and_stand_in_for_another_one() -> None:
    collected = Collected(label_vars=["cluster=k8s_cluster", " service = app ", "service"])
    collected.add(host("web1", k8s_cluster="nj-1", app="shop", service="ignored"), host("web2", service="blog", app=""))
    assert collected.labels["cluster"] == "nj-1"
    assert collected.labels["service"] == "blog,shop"
    assert collected.told() == []


@pytest.mark.parametrize("entry", ["=", "a b", "cluster=", "=cluster", "x=y-z", "x={{ y }}", 3, None, {"a": "b"}])
def test_label_vars_that_make_no_sense_are_left_out_and_told(entry: Any) -> None:
    collected = Collected(label_vars=[entry, "service"]).add(host("web1", service="shop"))
    assert collected.labels["service"] == "shop"
    if entry is None:
        # Python's None reads as the name of a variable that no host has.
        assert collected.told() == []
    else:
        ((level, text),) = collected.told()
        assert level == "warning"
        assert "give variable or label=variable" in text


def test_the_names_of_groups_give_labels() -> None:
    collected = Collected(label_groups=["env_*=env", "(?P<site>[a-z]+)(?P<room>\\d*)_rack", "prod=tier=gold"])
    collected.add(
        host("web1", "env_prod", "web", "nj1_rack"),
        host("web2", "prod", "env_prod", "bj_rack"),
        host("db1", "env_", "my_env_prod"),
    )
    assert collected.labels.items() >= {"env": "prod", "site": "bj,nj", "room": "1", "tier": "gold"}.items()
    assert collected.told() == []


def test_several_groups_of_one_host_are_all_its_values() -> None:
    collected = Collected(label_groups=["env_*=env", "tag_Env_*=env"])
    collected.add(host("web1", "env_prod", "env_blue", "tag_Env_prod"))
    assert collected.labels["env"] == "blue,prod"


def test_names_of_groups_stand_between_what_is_built_in_and_variables() -> None:
    collected = Collected(label_groups=["by_*=actor", "env_*=env", "region_*=region", "at_*=host"], label_vars=["env"])
    collected.add(
        host("web1", "by_bob", "env_prod", "at_w1", env="by variable"),
        host("web2", "env_test", "region_nj", env=""),
        host("web3", "env_none", "region_none", flashduty_labels={"env": None, "region": None}),
    )
    labels = collected.labels
    assert labels["actor"] == "alice,bob"
    assert labels["env"] == "by variable,test"
    assert labels["region"] == "nj"
    assert labels["host"] == "w1,web2,web3"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("env", "name=label"),
        ("=env", "name=label"),
        ("env_*=", "name=label"),
        ("env_*=env=", "name=label"),
        ("*_env_*=env", "only one star"),
        ("env_(?P<env>[a-z)", "error"),
        ("env_(?P<env>[a-z]{2", "comma"),
        ("(?P<env>x{99999999999999999999})", "error"),
    ],
)
def test_label_groups_that_make_no_sense_are_left_out_and_told(entry: str, reason: str) -> None:
    collected = Collected(label_groups=[entry, "", "env_*=env"]).add(host("web1", "env_prod"))
    assert collected.labels["env"] == "prod"
    ((level, text),) = collected.told()
    assert level == "warning"
    assert text.startswith(f"label_groups: {entry!r} is left out, ")
    assert reason in text


@pytest.mark.parametrize(
    ("entry", "name", "env"),
    [
        ("env_*=env", "env_prod", "prod"),
        ("*_hosts=env", "prod_hosts", "prod"),
        (" tag_Env_* = env ", "tag_Env_prod", "prod"),
        ("_*=env", "_us_east_1", "us_east_1"),
        ("*=env", "anything", "anything"),
        ("prod=env", "prod", "prod"),
        ("production=env=prod", "production", "prod"),
        ("live_*=env=prod", "live_7", "prod"),
        ("p.d=env", "pxd", None),
        ("env_(?P<env>prod|test)", "env_prod", "prod"),
        ("env_(?P<env>prod|test)", "env_production", None),
        (r"(?i)ENV_(?P<env>[^_]+)(_[()|*]+)?", "env_prod", "prod"),
        (r"(?P<env>\w+?)_(\d{1,3}\.){3}\d{1,3}", "prod_10.0.0.1", "prod"),
        ("(?P<env>[a-z]+)(?:_x)*", "prod_x_x", "prod"),
        ("(?P<other>x)|env_(?P<env>.*)", "env_", None),
    ],
)
def test_what_patterns_match(entry: str, name: str, env: str | None) -> None:
    collected = Collected(label_groups=[entry]).add(host("web1", name))
    assert collected.labels.get("env") == env
    assert collected.told() == []


@pytest.mark.parametrize(
    "slow",
    [
        "(?P<env>(a+)+)b",
        "(?P<env>a*a*a*a*a*a*a*a*a*)b",
        "-".join(f"(?P<part{number}>.+)" for number in range(12)) + "!",
    ],
)
def test_an_expression_that_is_too_slow_gives_no_labels_and_that_is_told_once(slow: str) -> None:
    collected = Collected(label_groups=["role_(?P<role>.+)", slow, "env_*=env"])
    collected.add(host("web1", "-".join(["a"] * 125), "a" * 250, "env_prod", "role_db"))
    assert collected.labels["env"] == "prod"
    assert collected.labels["role"] == "db"
    ((level, text),) = collected.told()
    assert level == "warning"
    assert repr(slow) in text
    assert "repetitions" in text


def test_of_thousands_of_groups_none_is_given_up() -> None:
    collected = Collected(label_groups=[f"(?P<label{number}>[a-z]+)_{number}.*" for number in range(10)])
    collected.add(*(host(f"web{number}", f"env_{number}", "web") for number in range(2_000)))
    assert collected.labels["label3"] == "env"
    assert collected.told() == []


def test_rules_name_the_variables_to_look_up() -> None:
    rules = LabelRules.from_options({"label_vars": ["service", "cluster=service", "team"]}, Notices())
    assert rules.variable_names == ("service", "team", "flashduty_labels")


def test_values_read_as_ansible_shows_them() -> None:
    labels = {"n": 3, "f": 1.5, "t": True, "off": False, "l": ["b", 2, None, True], "c": "a\x00b\nc", "s": " x "}
    found = Collected(labels=labels).add().labels
    assert {key: found[key] for key in labels} == {
        "n": "3",
        "f": "1.5",
        "t": "true",
        "off": "false",
        "l": "b,2,true",
        "c": "a b c",
        "s": "x",
    }


@pytest.mark.parametrize(
    "text", ["dc=nj, team = sre,\nempty=,", "{dc: nj, team: sre, empty: null}", '{"dc": "nj", "team": ["sre"]}']
)
def test_the_option_may_be_text(text: str) -> None:
    collected = Collected(labels=text, built_in={}).add(host("web1", team="of the host"))
    assert collected.labels == {"dc": "nj", "team": "sre", "host": "web1"}
    assert collected.told() == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{dc: nj", "no valid YAML"), ("{dc nj}{", "no valid YAML"), ("{{ x }}", "no valid YAML"), ("nj", "'nj' is left")],
)
def test_an_option_that_is_no_map_is_left_out_and_told(text: str, problem: str) -> None:
    collected = Collected(labels=text).add()
    assert collected.labels == BUILT_IN
    ((level, told),) = collected.told()
    assert (level, problem in told) == ("warning", True)


def test_lists_of_several_hosts_are_one_set_of_items() -> None:
    one, two = host("web1", team=["b", "a"]), host("web2", team=["c", "a"])
    assert Collected().add(one).labels["team"] == "b,a"
    assert Collected().add(one, two).labels["team"] == "a,b,c"


def test_maps_are_no_values() -> None:
    collected = Collected(labels={"option": {"a": 1}, "lists": [["x"]]})
    collected.add(
        host("web1", service={"name": "shop"}, flashduty_labels={"map": {"a": 1}, "fine": "yes"}),
        host("web2", service={"name": "shop"}, flashduty_labels="text"),
    )
    assert collected.labels["fine"] == "yes"
    assert not {"service", "map", "option", "lists"} & collected.labels.keys()
    told = collected.told()
    assert [(level, text.split(" is ")[0]) for level, text in told] == [
        ("warning", "labels: labels.option"),
        ("warning", "labels: labels.lists"),
        ("debug", "labels: variable service"),
        ("warning", "labels: flashduty_labels.map"),
        ("warning", "flashduty_labels"),
    ]


def test_keys_keep_their_text_but_not_what_is_no_text() -> None:
    labels = {"环境": "生产", " a\x07b ": 1, 5: "five", True: "yes", "": "none", "x" * LABEL_KEY_MAX: 1, "y" * 129: 1}
    collected = Collected(labels=labels, built_in={}).add()
    assert collected.labels == {"环境": "生产", "a b": "1", "5": "five", "true": "yes", "x" * LABEL_KEY_MAX: "1"}
    ((level, text),) = collected.told()
    assert (level, "129 characters" in text) == ("warning", True)


def test_later_plays_and_batches_join() -> None:
    collected = Collected().add(host("web1", "web", service="shop"), playbook="deploy.yml")
    collected.add(host("web1", "web", service="shop"), host("web2", "web", service="shop"), playbook="deploy.yml")
    assert collected.labels["host"] == "web1,web2"
    collected.add(host("db1", "db", service="store"), playbook="db.yml")
    assert collected.labels["host"] == "db1,web1,web2"
    assert collected.labels["service"] == "shop,store"
    assert collected.labels["group"] == "db,web"
    assert collected.labels["playbook"] == "db.yml,deploy.yml"


def test_a_play_without_hosts_still_has_the_built_in_labels() -> None:
    assert Collected().add(playbook="deploy.yml").labels == {**BUILT_IN, "playbook": "deploy.yml"}


def test_more_than_fifty_labels_go_by_their_rank_and_that_is_told_once() -> None:
    fixed = {f"fixed{number}": number for number in range(30)}
    mapped = {f"mapped{number}": number for number in range(30)}
    collected = Collected(labels=fixed).add(
        host("web1", "web", service="shop", team="t", flashduty_labels=mapped), playbook="deploy.yml"
    )
    labels = collected.labels
    assert len(labels) == LABELS_MAX
    assert fixed.keys() | {"host", "service", "team"} <= labels.keys()
    assert {key for key in labels if key.startswith("mapped")} == {f"mapped{number}" for number in range(17)}
    assert collected.labels == labels
    collected.add(host("web2", flashduty_labels={"mapped99": 1}))
    assert len(collected.labels) == LABELS_MAX
    ((level, text),) = collected.told()
    assert level == "warning"
    assert "18 beyond the limit of 50" in text
    assert "mapped17,mapped18" in text


def test_built_in_labels_go_from_the_least_useful_one() -> None:
    command_line = {
        "source": "ansible",
        "actor": "alice",
        "controller": "c1",
        "limit": "web",
        "tags": "a",
        "skip_tags": "b",
    }
    collected = Collected(labels={f"fixed{number}": number for number in range(46)}, built_in=command_line)
    labels = collected.add(host("web1", "web"), playbook="deploy.yml").labels
    assert {key for key in labels if not key.startswith("fixed")} == {"host", "group", "playbook", "actor"}


def test_a_long_list_is_cut_at_a_whole_item() -> None:
    labels = Collected().add(*(host(f"web{number}.example.com") for number in range(10_000))).labels
    value = labels["host"]
    assert LABEL_VALUE_MAX - 40 < len(value) <= LABEL_VALUE_MAX
    *shown, rest = value.split(",")
    assert shown == [f"web{number}.example.com" for number in range(len(shown))]
    assert rest == f"+{10_000 - len(shown)}"


def test_one_long_value_is_cut_within() -> None:
    assert joined(["x" * 3000]) == "x" * (LABEL_VALUE_MAX - 1) + "…"
    assert re.fullmatch(r"x+…,\+1", joined(["x" * 3000, "y"]))
    assert len(joined(["x" * 3000, "y"])) <= LABEL_VALUE_MAX


@given(st.lists(st.text(min_size=1, max_size=30), max_size=40), st.integers(40, 300))
def test_joined_tells_of_every_item(items: list[str], limit: int) -> None:
    text = joined(items, limit)
    assert len(text) <= limit
    whole = ",".join(items)
    if text != whole:
        shown, _plus, left_out = text.rpartition(",+")
        kept = len(items) - int(left_out)
        assert shown == ",".join(items[:kept])
        assert len(whole) > limit


def test_natural_order() -> None:
    names = ["web10", "web2", "web02", "Web1", "10", "9", "a", "a1b10", "a1b9", "", "²", "x" + "9" * 5000]
    ordered = sorted(names, key=natural)
    for earlier, later in [("web2", "web10"), ("9", "10"), ("a1b9", "a1b10"), ("web02", "web10")]:
        assert ordered.index(earlier) < ordered.index(later)


@given(st.lists(st.text(alphabet="a1029.", max_size=6)))
def test_natural_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=5)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
_MAPS = st.dictionaries(_SCALARS | st.text(min_size=120, max_size=140), _VALUES, max_size=60)


@given(
    hosts=st.lists(
        st.tuples(st.text(max_size=20), st.lists(st.text(max_size=20)), _MAPS | _VALUES, _VALUES), max_size=3
    ),
    labels=_MAPS | st.text(alphabet="{}=a,: \n\"'[&*!", max_size=20),
    label_vars=st.lists(_SCALARS),
    label_groups=st.lists(_SCALARS | st.sampled_from(["*=group", "a*=env", "(?P<env>.*)", "*=x=\x07"])),
)
def test_whatever_goes_in_the_labels_are_valid(
    hosts: list[tuple[str, list[str], Any, Any]],
    labels: Mapping[Any, Any],
    label_vars: list[Any],
    label_groups: list[Any],
) -> None:
    collected = Collected(label_vars=[*label_vars, "service"], labels=labels, label_groups=label_groups)
    collected.add(
        *(host(name, *groups, flashduty_labels=own, service=service) for name, groups, own, service in hosts),
        playbook="deploy.yml",
    )
    found = collected.labels
    fields = {"change_status": "Done", "change_key": "k", "title": "t", "labels": found}
    assert ChangeEvent.validated(fields, now=0).labels == found
    assert all(len(value) <= LABEL_VALUE_MAX for value in found.values())


@pytest.mark.parametrize("value", [["DB_PASSWORD=hunter2"], {"a": "b"}, [{"a": "b"}], True, "x" * 201])
def test_by_default_only_a_short_text_or_number_is_a_label(value: Any) -> None:
    notices = Notices()
    rules = LabelRules.from_options({"label_vars": ["env", "env=stage", "job"]}, notices, vars_by_default=True)
    assert rules.written_names == {"env", "stage", "job"}
    assert rules.of_variables({"env": value, "stage": "x" * 200, "job": 7}, notices) == {
        "env": ("x" * 200,),
        "job": ("7",),
    }
    asked_for = LabelRules.from_options({"label_vars": ["env"]}, notices)
    assert asked_for.written_names == frozenset()
    assert "env" in asked_for.of_variables({"env": value}, notices) or value in ({"a": "b"}, [{"a": "b"}])


def test_names_of_hosts_and_groups_are_cut_at_a_number() -> None:
    notices = Notices()
    rules = LabelRules.from_options({"label_vars": ["env"]}, notices)
    run = RunLabels(rules, {}, notices, names_max=3)
    run.add_play([host(f"web{number}", f"g{number}", env=f"e{number}") for number in range(3)])
    assert run.labels() == {"host": "web0,web1,web2", "group": "g0,g1,g2", "env": "e0,e1,e2"}
    run.add_play([host(f"web{number}", f"g{number}", env=f"e{number}") for number in range(5)])
    assert run.labels() == {"host": "web0,web1,web2,+2", "group": "g0,g1,g2,+2", "env": "e0,e1,e2,e3,e4"}
    assert joined([letter * 1000 for letter in "abcd"], most=3) == f"{'a' * 1000},{'b' * 1000},+2"
    assert joined(["a" * 3000, "b", "c"], most=1).endswith("…,+2")


def test_the_label_group_has_the_groups_that_are_named() -> None:
    collected = Collected(label_groups=["env_*=env"])
    hosts = [host("web1", "web", "env_prod"), host("db1", "db", "env_prod")]
    collected.run.add_play(hosts, is_named=names_group(["we*:db:&env_prod:!x"]))
    assert (collected.labels["group"], collected.labels["env"]) == ("db,web", "prod")
    collected = Collected()
    collected.run.add_play(hosts, is_named=names_group(["all"]))
    assert "group" not in collected.labels


def test_env_comes_from_the_path_where_nothing_nearer_gives_it_and_says_from_what() -> None:
    built_in = {"env": ("prod",), "inventory": ("prod",)}
    collected = Collected(label_groups=["pre_prod=env", "*_prod=env=prod", "staging=env"], built_in=built_in)
    assert collected.run.env_origin() == ""
    collected.add(host("web1", "staging", "shop_prod", "pre_prod"))
    assert collected.labels["env"] == "pre_prod,prod,staging"
    assert collected.run.env_origin() == "names of groups: pre_prod,shop_prod,staging"
    collected.add(host("web2", "web"))
    assert collected.run.env_origin().endswith("; the path of the inventory")
    by_variable = Collected(built_in=built_in).add(host("web1", env="test"))
    assert (by_variable.labels["env"], by_variable.run.env_origin()) == ("test", "")
