# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every way a run can end, at every moment, with the API up, slow and down: closed once, soon, and with the truth.

The environment variable ENDINGS says how many endings to draw, SEED which; with 216, every combination is there.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from control_node import ControlNode
from endings import LATEST, WAYS, Stage, Way

FLUSH = "flashcat.flashduty.flush"
# How a change is closed when the API is there again.
AFTER_OUTAGE = ("down, then the courier delivers", "down, then flush delivers", "down, then the next run delivers")


@pytest.fixture
def stage(control: ControlNode) -> Iterator[Stage]:
    made = Stage(control)
    yield made
    made.close()


def before_the_start_is_delivered(stage: Stage, way: Way, chance: random.Random) -> None:
    stage.start(way, stage.playbook("sleep 20"))
    stage.wait_until(stage.is_open)
    time.sleep(chance.uniform(0, 0.02))


def in_a_task(stage: Stage, way: Way, chance: random.Random) -> None:
    mark = stage.mark("task")
    stage.start(way, stage.playbook(f"touch {mark}; sleep 20"))
    stage.wait_until(mark.exists)
    time.sleep(chance.uniform(0, 0.5))


def between_plays(stage: Stage, way: Way, chance: random.Random) -> None:
    mark = stage.mark("play")
    stage.start(way, stage.playbook(f"touch {mark}", *["true"] * 20))
    stage.wait_until(mark.exists)
    time.sleep(chance.uniform(0, 1))


def while_the_end_is_being_delivered(stage: Stage, way: Way, chance: random.Random) -> None:
    stage.start(way, stage.playbook("true"))
    stage.wait_until(stage.is_closed)
    time.sleep(chance.choice([0, chance.uniform(0, 0.2)]))


def after_the_end(stage: Stage, way: Way, chance: random.Random) -> None:
    run = stage.start(way, stage.playbook("true"))
    stage.wait_until(lambda: stage.has_ended() or run.is_over)


def at_any_time(stage: Stage, way: Way, chance: random.Random) -> None:
    stage.start(way, stage.playbook(*["true"] * 4))
    time.sleep(chance.uniform(0, 3))


MOMENTS: dict[str, Callable[[Stage, Way, random.Random], None]] = {
    "before the start is delivered": before_the_start_is_delivered,
    "in a task": in_a_task,
    "between plays": between_plays,
    "while the end is being delivered": while_the_end_is_being_delivered,
    "after the end": after_the_end,
    "at any time": at_any_time,
}
# By then the statistics were reached.
AT_THE_END = ("while the end is being delivered", "after the end")


class Ending(NamedTuple):
    """A card of the deck."""

    number: int
    way: str
    moment: str
    api: str
    chance: float

    def __str__(self) -> str:
        return f"{self.number}: {self.way}, {self.moment}, API {self.api}"


def drawn(count: int, seed: str) -> list[Ending]:
    """So many endings: decks of all combinations, each shuffled."""
    chance = random.Random(seed)
    cards: list[tuple[str, str, str]] = []
    while len(cards) < count:
        deck = [
            (way, moment, chance.choice(AFTER_OUTAGE) if api == "down" else api)
            for way, moment, api in itertools.product(WAYS, MOMENTS, ("up", "slow", "down"))
        ]
        chance.shuffle(deck)
        cards += deck
    return [Ending(number, *card, chance.random()) for number, card in enumerate(cards[:count])]


ENDINGS = drawn(int(os.environ.get("ENDINGS", "4")), os.environ.get("SEED", "1"))


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_whatever_happens_it_is_closed(
    stage: Stage, ending: Ending, record_property: Callable[[str, object], None]
) -> None:
    chance, way, faults = random.Random(ending.chance), WAYS[ending.way], stage.receiver.faults
    is_down = ending.api.startswith("down")
    if ending.api == "slow":
        faults.set("delay", seconds=chance.uniform(0.3, 2))
    elif is_down:
        stage.control.environment["FLASHDUTY_WAIT"] = "0.5"
        kind = chance.choice(["hang", "refuse"])
        faults.set(kind, **({"seconds": 3600} if kind == "refuse" else {}))
    MOMENTS[ending.moment](stage, way, chance)
    stage.end(way)
    if is_down:
        assert stage.receiver.events() == []
        time.sleep(chance.uniform(0, 1))
        faults.clear()
    if ending.api.endswith("flush delivers"):
        assert stage.control.run(FLUSH)[0] == 0
    elif ending.api.endswith("the next run delivers"):
        code, output = stage.control.run(stage.other_playbook())
        assert code == 0, output
    took = stage.wait_for_close()
    status = stage.check(way.reason)
    output = stage.run.output if stage.run is not None else ""
    if ending.moment in AT_THE_END:
        assert status == "Done", output
    elif ending.moment in ("before the start is delivered", "in a task"):
        assert status == "Canceled", output
    if not is_down and status is not None:
        record_property("closed after", took)
        assert took < LATEST
