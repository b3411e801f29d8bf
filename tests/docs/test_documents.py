# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents: both languages say the same, links lead somewhere, and what is shown is what the tools take."""

from __future__ import annotations

import configparser
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.flashcat.flashduty.plugins.doc_fragments.connection import ModuleDocFragment
from flashduty_sandbox import rules
from flashduty_sandbox.faults import KINDS
from flashduty_sandbox.receiver import Receiver

ROOT = Path(__file__).parents[2]
HIDDEN_OR_BUILT = re.compile(r"(^|/)(\.(?!github)|changelogs/|CHANGELOG)")
DOCUMENTS = sorted(
    name
    for path in ROOT.rglob("*.md")
    if not HIDDEN_OR_BUILT.search(name := str(path.relative_to(ROOT))) and path.is_file()
)
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class _Loader(yaml.SafeLoader):
    """Takes Ansible's own tags for text."""


_Loader.add_multi_constructor("!", lambda _found, _suffix, node: str(node.value))
LANGUAGES = {"shell", "ini", "yaml", "json", "groovy", "text"}


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _blocks(name: str, language: str) -> list[str]:
    return [textwrap.dedent(text) for _indent, found, text in _FENCED.findall(_text(name)) if found == language]


def _all_blocks(language: str) -> list[Any]:
    # Most blocks of a translation are those of the English page.
    first = {
        text: f"{name}-{number}"
        for name in reversed(DOCUMENTS)
        for number, text in reversed(list(enumerate(_blocks(name, language))))
    }
    return [pytest.param(text, id=where) for text, where in first.items()]


def _prose(name: str) -> str:
    return _FENCED.sub("", _text(name))


def _structure(name: str) -> dict[str, Any]:
    text = _text(name)
    prose = _prose(name)
    return {
        "headings": [len(level) for level in re.findall(r"^(#+) ", prose, re.MULTILINE)],
        "blocks": [(indent, language, _COMMENT.sub("", block)) for indent, language, block in _FENCED.findall(text)],
        "tables": [_row(line) for line in prose.splitlines() if line.startswith("|")],
        "list items": [indent for indent, _mark in re.findall(r"^( *)(-|\d+\.) ", prose, re.MULTILINE)],
        "links": [place for link in _links(name) if (place := _place(name, link)) != (_in_english(name), None)],
        "code": sorted(set(re.findall(r"`([^`\n]+)`", prose))),
    }


_COMMENT = re.compile(r"(?<!\S)# .*$", re.MULTILINE)


def _row(line: str) -> tuple[int, str]:
    """The columns of a table's row, and its first cell where that is code."""
    cells = re.split(r"(?<!\\)\|", line)[1:-1]
    first = cells[0].replace("、", ", ").strip()
    return len(cells), first if re.fullmatch(r"[`, -]*(`[^`]+`[`, -]*)*", first) else ""


def _links(name: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", _prose(name))


def _in_english(name: str) -> str:
    return name.replace(".zh-CN.", ".")


def _place(name: str, link: str) -> tuple[str, int | None]:
    """Where a link of this document leads, in the English name of the page and by the number of the heading."""
    target, anchor = _target(name, link)
    if anchor is None:
        return _in_english(target), None
    return _in_english(target), _anchors(target).index(anchor)


def _target(name: str, link: str) -> tuple[str, str | None]:
    """The file of this repository and the anchor in it, or the address of another site."""
    if link.startswith(REPOSITORY):
        path: str = re.sub(r"^/(blob|raw)/main/", "", link[len(REPOSITORY) :])
        if path == link[len(REPOSITORY) :]:
            return link, None
        link = os.path.relpath(path, Path(name).parent)
    elif re.match(r"[a-z]+:", link):
        return link, None
    path, _hash, anchor = link.partition("#")
    return os.path.normpath(Path(name).parent / path) if path else name, anchor or None


REPOSITORY = yaml.safe_load(_text("galaxy.yml"))["repository"]
GUIDES = [
    name
    for name in DOCUMENTS
    if re.match(r"docs/|roles/|README|SECURITY|CONTRIBUTING", name)
    and name not in ("docs/benchmarks.md", "docs/checklists.md")
]
TRANSLATED = [name for name in DOCUMENTS if name.endswith(".zh-CN.md")]


@pytest.mark.parametrize("name", TRANSLATED)
def test_both_languages_have_the_same_structure(name: str) -> None:
    english, chinese = _structure(_in_english(name)), _structure(name)
    for part in english:
        assert chinese[part] == english[part], part


@pytest.mark.parametrize("name", [name for name in GUIDES if name not in TRANSLATED])
def test_a_guide_has_a_page_in_each_language_and_each_links_to_the_other_at_its_top(name: str) -> None:
    twin = name.replace(".md", ".zh-CN.md")
    assert twin in TRANSLATED
    assert _target(name, _links(name)[0]) == (twin, None)
    assert _target(twin, _links(twin)[0]) == (name, None)


@pytest.mark.parametrize("name", TRANSLATED)
def test_bold_text_is_shown_bold(name: str) -> None:
    # Markdown takes ** between punctuation and a letter for plain text where it should end or begin bold text.
    for inside in re.findall(r"\*\*([^*\n]+)\*\*(?=\w)", _prose(name)):
        assert re.search(r"\w$", inside), inside
    for inside in re.findall(r"(?<=\w)\*\*([^*\n]+)\*\*", _prose(name)):
        assert re.match(r"\w", inside), inside


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_chinese_page_leads_to_the_chinese_pages(name: str) -> None:
    others = {_target(name, link)[0] for link in _links(name)[1:]}
    assert not {twin for other in others if (twin := other.replace(".md", ".zh-CN.md")) in TRANSLATED}


def test_the_readme_needs_no_other_file_for_its_links_since_galaxy_shows_it_alone() -> None:
    assert [link for link in _links("README.md") if not re.match("https://|#", link)] == []


def test_the_readme_lists_every_plugin_role_and_playbook() -> None:
    there = {
        str(path.relative_to(ROOT))
        for pattern in ("plugins/callback/*.py", "plugins/modules/*.py", "plugins/filter/*.py", "playbooks/*.yml")
        for path in ROOT.glob(pattern)
    }
    there |= {f"{path.parent.relative_to(ROOT)}/README.md" for path in ROOT.glob("roles/*/meta")}
    # The sandbox has a page of its own.
    there -= {"playbooks/sandbox.yml"}
    assert not there - {_target("README.md", link)[0] for link in _links("README.md")}


def _anchors(name: str) -> list[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", _prose(name), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_inside_the_repository_lead_somewhere(name: str) -> None:
    for link in _links(name):
        target, anchor = _target(name, link)
        if re.match(r"[a-z]+:", target):
            continue
        assert (ROOT / target).exists(), link
        if anchor:
            assert anchor in _anchors(target), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_kinds_of_blocks_are_known(name: str) -> None:
    assert {language for _indent, language, _text_ in _FENCED.findall(_text(name))} <= LANGUAGES


@pytest.mark.parametrize("text", _all_blocks("ini"))
def test_ini_is_read(text: str) -> None:
    # An inventory is ini with names that have no value.
    configparser.ConfigParser(allow_no_value=True, delimiters=("=",)).read_string(text)


@pytest.mark.parametrize("text", _all_blocks("json"))
def test_json_is_read(text: str) -> None:
    json.loads(text)


def _playbook(text: str) -> str | None:
    """A block as a playbook, if it is plays or tasks."""
    document = yaml.load(text, _Loader)
    if not (isinstance(document, list) and all(isinstance(entry, dict) for entry in document)):
        return None
    if all("hosts" in entry or "ansible.builtin.import_playbook" in entry for entry in document):
        return text
    if all(any("." in key for key in entry) or "block" in entry for entry in document):
        return "- hosts: localhost\n  tasks:\n" + textwrap.indent(text, "    ")
    return None


def test_yaml_is_read_and_plays_and_tasks_are_ones_for_ansible(tmp_path: Path) -> None:
    playbooks = []
    for block in _all_blocks("yaml"):
        text = _playbook(*block.values)
        if text is None:
            continue
        # Its name says which block it is where ansible-playbook finds a fault.
        folder = tmp_path / str(block.id).replace("/", "-")
        folder.mkdir()
        for named in re.findall(r"\b\w+\.yml\b", text):
            (folder / named).write_text("[]\n", encoding="utf-8")
        (folder / "playbook.yml").write_text(text, encoding="utf-8")
        playbooks.append(str(folder / "playbook.yml"))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "--syntax-check", "-i", "localhost,", *playbooks],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[DEPRECATION WARNING]" not in done.stderr


@pytest.mark.parametrize("text", _all_blocks("shell"))
def test_commands_name_what_there_is(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    targets = set(re.findall(r"^([\w-]+):", _text("Makefile"), re.MULTILINE))
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets
        for collection_playbook in (
            re.findall(r"flashcat\.flashduty\.(\w+)", line) if "ansible-playbook" in words else ()
        ):
            assert collection_playbook in playbooks


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_in_the_text_exist(name: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", _text("Makefile"), re.MULTILINE))
    targets |= {f"lint-{linter}" for linter in re.search(r"^LINTERS := (.*)$", _text("Makefile"), re.M)[1].split()}  # type: ignore[index]
    assert set(re.findall(r"`make ([\w-]+)", _prose(name))) <= targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_environment_variables_in_the_text_exist(name: str) -> None:
    known = set(re.findall(r"- name: (FLASHDUTY_\w+)", ModuleDocFragment.PLUGIN))
    for folder in ("callback", "modules"):
        for path in (ROOT / "plugins" / folder).glob("*.py"):
            known |= set(re.findall(r"- name: (FLASHDUTY_\w+)", path.read_text(encoding="utf-8")))
    assert set(re.findall(r"\bFLASHDUTY_\w+", _text(name))) <= known


def test_the_injectors_of_the_credential_type_use_its_fields() -> None:
    blocks = [yaml.safe_load(block) for block in _blocks("docs/awx.md", "yaml")]
    (inputs,) = [block for block in blocks if "fields" in block]
    (injectors,) = [block for block in blocks if "env" in block]
    fields = {field["id"]: field for field in inputs["fields"]}
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(injectors)))
    assert used == set(fields)
    assert set(inputs["required"]) <= set(fields)
    assert all(field["secret"] for field in fields.values())


def test_the_site_is_searched_for_links_that_lead_nowhere_and_for_what_it_loads(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("@import url('https://cdn.example/a.css');", encoding="utf-8")
    (tmp_path / "guide.html").write_text('<h2 id="标签">Labels</h2>', encoding="utf-8")
    (tmp_path / "index.html").write_text(
        '<a href="guide.html#%E6%A0%87%E7%AD%BE">Labels</a> <a href="guide.html#gone">Gone</a>'
        '<a href="gone.html">Gone</a> <a href="https://example.com">Elsewhere</a> <script src="https://cdn.example/a.js"></script>',
        encoding="utf-8",
    )
    faults = runpy.run_path(str(ROOT / "docs" / "site" / "build.py"))["_faults"]
    assert list(faults(tmp_path)) == [
        "index.html leads to gone.html, which is not there",
        "index.html leads to guide.html#gone, which has no such heading",
        "index.html loads https://cdn.example/a.js",
        "style.css loads https://cdn.example/a.css",
    ]


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = yaml.safe_load(_text(".github/workflows/ci.yml"))
    targets = set(workflow["jobs"]["make"]["strategy"]["matrix"]["target"])
    ours = set(re.findall(r"^\t?make (?:--keep-going )?([\w-]+)", _text(".ci/run"), re.MULTILINE))
    assert ours - {"environments"} <= targets
    assert workflow["permissions"] == {"contents": "read"}


def test_versions_agree() -> None:
    galaxy = yaml.safe_load(_text("galaxy.yml"))
    released = set(yaml.safe_load(_text("changelogs/changelog.yaml"))["releases"])
    fragments = list((ROOT / "changelogs" / "fragments").glob("*.yml"))
    assert galaxy["version"] in released or fragments


def _first_cells(name: str, heading: str) -> list[str]:
    """What stands as code in the first column of the tables under a heading."""
    section = _prose(name).split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)


def test_the_sandbox_page_names_every_switch_fault_and_endpoint(tmp_path: Path) -> None:
    (play,) = yaml.safe_load(_text("playbooks/sandbox.yml"))
    checked = [entry["name"] for entry in play["tasks"][0]["loop"]]
    assert _first_cells("docs/sandbox.md", "Switches") == checked
    assert {f"sandbox_{name}" for name in re.findall(r"^# sandbox_(\w+)", _text("playbooks/sandbox.yml"), re.M)} == set(
        checked
    )
    assert sorted(_first_cells("docs/sandbox.md", "Faults")) == sorted(KINDS)
    with Receiver(tmp_path / "r.db") as receiver:
        served = {f"/sandbox/{name}" for name in receiver._sandbox._routes}
    # The page's own.
    own = {"/sandbox/change", "/sandbox/correlate"}
    endpoints = _first_cells("docs/sandbox.md", "Endpoints")
    assert set(endpoints) == served - own | {rules.PUSH_PATH, rules.LIST_PATH}


def _documentation(kind: str, name: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-doc"), "--json", "-t", kind, name],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout)[name]["doc"]["options"])


def test_ansible_doc_shows_every_option_of_the_callback_with_environment_ini_and_variable() -> None:
    options = _documentation("callback", "flashcat.flashduty.flashduty_change")
    # No variable decides where files are. Labels come from the variable flashduty_labels of each host; the texts are
    # templates, whose variables ansible-core must not render by itself: the description names them.
    templates = {"change_key", "title", "description", "link"}
    no_variable = {"integration_key_file", "outbox_url_file", "state_dir", "labels"}
    for name, option in options.items():
        assert [entry["name"] for entry in option["env"]] == [f"FLASHDUTY_{name.upper()}"], name
        assert [(entry["section"], entry["key"]) for entry in option["ini"]] == [("callback_flashduty_change", name)], (
            name
        )
        variables = [entry["name"] for entry in option.get("vars") or []]
        if name in templates:
            assert f"flashduty_{name}" in str(option["description"])
        else:
            assert variables == ([] if name in no_variable else [f"flashduty_{name}"]), name


def test_what_an_execution_environment_needs_is_installed_with_the_collection() -> None:
    installed = ROOT / ".build" / "collections" / "ansible_collections" / "flashcat" / "flashduty"
    needs = yaml.safe_load((installed / "meta" / "execution-environment.yml").read_text(encoding="utf-8"))
    lines = (installed / needs["dependencies"]["python"]).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["requests"]
