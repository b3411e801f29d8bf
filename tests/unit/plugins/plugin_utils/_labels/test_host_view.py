# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of a host, in the order of Ansible's precedence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible.inventory.host import Host

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_view import HostView
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import MISSING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import GroupSet, Own

# From the lowest place to the highest.
PLACES = ("role default", "group", "host", "fact", "play", "role", "set_fact", "extra")
WRITTEN = ("group", "host", "play", "extra")


def view(values: dict[str, dict[str, Any]], merge: bool = False, only_written: bool = False) -> HostView:
    """A host with variables in these places."""
    play: Any = SimpleNamespace(
        defaults=values.get("role default", {}),
        above_hosts=[values.get("play", {})],
        exports=values.get("role", {}),
        above_all=[values.get("extra", {})],
        merge=merge,
    )
    groups = GroupSet((), [[values.get("group", {})]])
    own = Own([values.get("host", {})], values.get("fact", {}), [values.get("set_fact", {})])
    return HostView(play, Host("web1.example.com"), groups, own, only_written)


@pytest.mark.parametrize("only_written", [False, True])
def test_a_higher_place_beats_a_lower_one(only_written: bool) -> None:
    counting = WRITTEN if only_written else PLACES
    for number, place in enumerate(PLACES):
        seen = view({name: {"x": name} for name in PLACES[: number + 1]}, only_written=only_written)
        highest = [name for name in PLACES[: number + 1] if name in counting]
        assert seen.get("x") == (highest[-1] if highest else MISSING), place


def test_maps_are_merged_over_all_places_where_that_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(C, "DEFAULT_HASH_BEHAVIOUR", "merge")
    values = {place: {"x": {"highest": place, place: True}} for place in PLACES}
    assert view(values, merge=True).get("x") == {"highest": "extra", **dict.fromkeys(PLACES, True)}
    assert view(values, merge=True, only_written=True).get("x") == {
        "highest": "extra",
        **dict.fromkeys(WRITTEN, True),
    }
    # What is no map replaces what is one.
    assert view({**values, "play": {"x": "text"}}, merge=True).get("x") == {
        "highest": "extra",
        **dict.fromkeys(("role", "set_fact", "extra"), True),
    }


def test_a_host_knows_its_own_name() -> None:
    assert view({}).get("inventory_hostname_short") == "web1"
    assert view({}).get("nobody_has_it") is MISSING
