# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the page on labels is run, and has the labels that the page shows."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from control_node import ControlNode

from ansible_collections.flashcat.flashduty import plugins
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import BUILT_IN
from flashduty_sandbox import correlation
from flashduty_sandbox.rules import CorrelateQuery

pytestmark = pytest.mark.slow

HEADING = "--- # Flashduty preview: this would be sent now; nothing is sent, nothing is stored"
PAGE = (Path(__file__).parents[2] / "docs" / "labels.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^`(?P<file>[\w./]+)`\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
WORKED_EXAMPLE = "From an inventory to an alert"


class Block(NamedTuple):
    """What stands between two fences.

    :ivar file: the name of the file that it is, if it is one.
    """

    file: str | None
    language: str
    text: str


def _sections() -> dict[str, list[Block]]:
    parts = re.split(r"^##+ (.+)$", PAGE, flags=re.MULTILINE)
    found = {}
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        blocks = [Block(match["file"], match["language"], match["text"]) for match in BLOCK.finditer(text)]
        if blocks:
            found[title] = blocks
    return found


SECTIONS = _sections()
DEFAULTS = [title for title in SECTIONS if title.startswith("The defaults for ")]
RECIPES = [title for title in SECTIONS if title not in (WORKED_EXAMPLE, *DEFAULTS)]
KEY = re.compile(r"ansible-[0-9]{8}-[0-9]{6}-([A-Za-z0-9-]+)-[0-9a-f]{8}")


def test_no_block_is_overlooked() -> None:
    assert len(re.findall(r"^```\w", PAGE, re.MULTILINE)) == sum(map(len, SECTIONS.values()))
    assert WORKED_EXAMPLE in SECTIONS


class Reader:
    """Someone who follows the page, block by block."""

    def __init__(self, control: ControlNode) -> None:
        self.control = control
        self.changes: list[dict[str, Any]] = []
        self.previewed: dict[str, Any] | None = None
        self.compared = 0
        control.environment["SUDO_USER"] = "alice"
        (control.folder / "group_vars").mkdir()
        # Beside the inventory of the page, only how to reach its hosts.
        connection = f"[all:vars]\nansible_connection=local\nansible_python_interpreter={sys.executable}\n"
        control.write("inventory", connection)

    def follow(self, block: Block) -> None:
        """Does what the block says, or checks it against what came of the command before."""
        if block.file:
            (self.control.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            path = self.control.write(block.file, block.text)
            if block.file == "ansible.cfg":
                self.control.environment["ANSIBLE_CONFIG"] = path
        elif block.language == "shell":
            for line in block.text.splitlines():
                self.run(shlex.split(line))
        elif block.language == "json":
            self.meets(json.loads(block.text))
        else:
            assert block.language == "yaml"
            self.compare(yaml.safe_load(block.text))

    def run(self, words: list[str]) -> None:
        """One line of a shell."""
        self.previewed = None
        self.control.receiver.reset()
        if words[0] == "export":
            name, _equals, value = words[1].partition("=")
            self.control.environment[name] = value
            return
        assignments = dict(word.split("=", 1) for word in words[: words.index("ansible-playbook")])
        saved = dict(self.control.environment)
        self.control.environment.update(assignments)
        code, output = self.control.run(*words[len(assignments) + 1 :])
        self.control.environment = saved
        assert code == 0, output
        assert "label" not in "".join(re.findall(r"\[WARNING\].*", output))
        if "FLASHDUTY_PREVIEW" in assignments:
            assert self.control.receiver.requests() == []
            shown = re.match(r"(?:.*\n)*?labels:\n(?:  .*\n)+", output.partition(HEADING)[2])
            assert shown
            self.previewed = yaml.safe_load(shown[0])
        self.changes = self.control.receiver.changes()

    def compare(self, shown: dict[str, Any]) -> None:
        """The labels that the page shows are those of a change; a null shows that there is no such label."""
        self.compared += 1
        if self.previewed is not None:
            labels = {**self.previewed["labels"], "controller": "deploy01"}
            if "labels" in shown:
                assert (self.previewed["title"], labels) == (shown["title"], shown["labels"])
                assert KEY.fullmatch(self.previewed["change_key"])
                key = KEY.fullmatch(shown["change_key"])
                assert key
                assert key[1] == "deploy01"
            else:
                assert labels == shown
            return
        expected = {key: value for key, value in shown.items() if value is not None}
        found = [change["labels"] for change in self.changes]
        assert any(
            expected.items() <= labels.items() and not (shown.keys() - expected.keys()) & labels.keys()
            for labels in found
        ), found

    def meets(self, labels: dict[str, str]) -> None:
        """An alert after the run meets the change that the page says, by all labels that it says."""
        self.compared += 1
        alert = CorrelateQuery(labels, max(change["last_time"] for change in self.changes) + 60, window=600)
        best = correlation.rank(self.changes, alert).matches[0]
        by = {"env", "region", "service"}
        assert set(best.shared) == (by | {"host"} if len(self.changes) > 1 else by)
        assert list(best.differing.values()) == ([] if len(self.changes) > 1 else ["listed"])


@pytest.fixture
def reader(control: ControlNode) -> Reader:
    reader = Reader(control)
    for block in SECTIONS[WORKED_EXAMPLE]:
        if block.file:
            reader.follow(block)
    return reader


def test_the_worked_example(reader: Reader) -> None:
    for block in SECTIONS[WORKED_EXAMPLE]:
        reader.follow(block)
    (change,) = reader.changes
    assert change["change_status"] == "Done"
    assert reader.compared == 2


@pytest.mark.parametrize("title", DEFAULTS)
def test_what_the_defaults_give(reader: Reader, title: str) -> None:
    (reader.control.folder / "group_vars" / "web.yml").unlink()
    for block in SECTIONS[title]:
        reader.follow(block)
    assert (len(DEFAULTS), reader.compared) == (3, 1)


# Several keys need several integrations: test_several_keys.py.
@pytest.mark.parametrize("recipe", [each for each in RECIPES if "ticket" not in each and "keys" not in each])
def test_the_recipe(reader: Reader, recipe: str) -> None:
    for block in SECTIONS[recipe]:
        reader.follow(block)
    assert reader.compared
    assert len(reader.changes) == (3 if "each host" in recipe else 1)


def test_the_recipe_of_the_ticket(reader: Reader) -> None:
    (recipe,) = (recipe for recipe in RECIPES if "ticket" in recipe)
    command, link = SECTIONS[recipe]
    reader.follow(command)
    assert [change["change_key"] for change in reader.changes] == ["CHG-1042"]
    reader.follow(link)
    reader.follow(command)
    assert [change["link"] for change in reader.changes] == ["https://tickets.example.com/CHG-1042"]


def test_the_tables_name_what_there_is() -> None:
    rules, _heading, rest = PAGE.partition("## Recipes")
    assert rest
    order = re.search(r"by names of groups, then (.*?); one warning", rules)
    assert order
    kept = re.findall(r"`(\w+)`", order[1])
    assert ["host", *kept] == list(BUILT_IN)
    row = next(line for line in rules.splitlines() if line.startswith("| what is built in"))
    assert set(re.findall(r"`(\w+)`", row)) == {*BUILT_IN, "ansible", "true"}
    source = (Path(next(iter(plugins.__path__))) / "callback" / "flashduty_change.py").read_text(encoding="utf-8")
    documentation = re.search(r'DOCUMENTATION = r"""(.*?)"""', source, re.DOTALL)
    assert documentation
    options = yaml.safe_load(documentation[1])["options"]
    for option in ("label_groups", "label_vars"):
        row = next(line for line in rules.splitlines() if f"`{option}`, default" in line)
        assert set(options[option]["default"]) <= set(re.findall(r"`([^`]+)`", row))
