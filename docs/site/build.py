# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the documentation as a site, English in FOLDER/html and Chinese in its folder zh-CN: ``make docs`` calls this.

The guides are the Markdown files of this repository, the pages of plugins and roles come from antsibull-docs.
A warning of either tool, a link inside the site that leads nowhere, and a page that loads from a network are errors.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLLECTION = "flashcat.flashduty"
REFERENCE = "reference/index"
REPOSITORY = "https://github.com/flashcatcloud/ansible-collection-flashduty"
GUIDES = ("labels", "guarantees", "troubleshooting", "ci", "awx", "shared-outbox", "migrating", "sandbox")
ABOUT = ("CHANGELOG", "CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT", "docs/benchmarks", "docs/checklists")
ROLES = ("roles/tracked_change/README", "roles/control_node/README")
# What stands in the navigation where the page's own title is too long for it.
SHORT = {REFERENCE: "ansible-doc", **{role: role.split("/")[1] for role in ROLES}}
# The captions in English and Chinese, and the pages: files without their endings.
NAVIGATION = (
    (("Guides", "指南"), tuple(f"docs/{guide}" for guide in GUIDES)),
    (("Roles", "Role"), ROLES),
    (("Plugins, modules and roles", "插件、模块与 role"), (REFERENCE,)),
    (("Project", "项目"), ABOUT),
)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
# Between Chinese characters a browser shows a line's end as a blank.
_CHINESE_BREAK = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n *(?=[\u4e00-\u9fff])")
_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class _Language:
    """The pages that are written in one language. Their addresses are those of the files, README is the start."""

    def __init__(self, number: int, suffix: str, code: str, folder: str) -> None:
        self.number, self.suffix, self.code, self.folder = number, suffix, code, folder
        pages = ("README", *(page for _captions, pages in NAVIGATION for page in pages))
        self.pages = {page for page in pages if (ROOT / f"{page}{suffix}").is_file()}

    def address(self, name: str) -> str | None:
        """The address of the page that this file of the repository is."""
        page = name.removesuffix(self.suffix)
        return ("index" if page == "README" else page) if name != page and page in self.pages else None

    def navigation(self) -> str:
        """What the start ends with: the list of all pages."""
        lists = []
        for captions, pages in NAVIGATION:
            there = [
                f"{SHORT[page]} <{page}>" if page in SHORT else page
                for page in pages
                if page in self.pages or page == REFERENCE
            ]
            lists.append(
                "\n".join(["```{toctree}", ":hidden:", f":caption: {captions[self.number]}", "", *there, "```"])
            )
        return "\n\n" + "\n\n".join(lists) + "\n"


LANGUAGES = (_Language(0, ".md", "en", "."), _Language(1, ".zh-CN.md", "zh_CN", "zh-CN"))


def _place(name: str, folder: str) -> str | None:
    """Where this file of the repository is on the site, seen from this folder of the site."""
    for language in LANGUAGES:
        if (address := language.address(name)) is not None:
            return os.path.relpath(f"{language.folder}/{address}.html", folder)
    return None


def _staged(language: _Language, page: str) -> str:
    """The text of a page. Its links lead to the pages of the site where there are such, and to the repository."""
    source = f"{page}{language.suffix}"
    folder = os.path.dirname(page) or "."

    def link(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        path, _hash, fragment = target.partition("#")
        path = re.sub(rf"^{REPOSITORY}/(blob|raw)/main/", "/", path)
        if not path or ":" in path:
            return found[0]
        name = path[1:] if path[0] == "/" else os.path.normpath(os.path.join(os.path.dirname(source), path))
        anchor = f"#{fragment}" if fragment else ""
        if picture:
            return f"![{text}]({os.path.relpath(name, folder)})"
        if (address := language.address(name)) is not None:
            return f"[{text}]({os.path.relpath(address, folder)}.md{anchor})"
        if plugin := re.fullmatch(r"plugins/(callback|filter|module)s?/(\w+)\.py", name):
            return f"[{text}]({os.path.relpath(f'reference/{plugin[2]}_{plugin[1]}', folder)}.rst)"
        if place := _place(name, f"{language.folder}/{folder}"):
            return f'<a href="{place}{anchor}">{text}</a>'
        return f"[{text}]({REPOSITORY}/blob/main/{name}{anchor})"

    text = (ROOT / source).read_text(encoding="utf-8")
    # A badge would be loaded from a network.
    text = re.sub(rf"!\[([^\]]*)\]\((?:{REPOSITORY}/actions|https://img.shields.io)/[^)]*\)", r"\1", text)
    # Every second piece is a block of code.
    pieces = [
        piece if number % 2 else _LINK.sub(link, _CHINESE_BREAK.sub("", piece))
        for number, piece in enumerate(_FENCED.split(text))
    ]
    return "".join(pieces) + (language.navigation() if page == "README" else "")


def _stage(language: _Language, reference: Path, sources: Path) -> None:
    for page in language.pages:
        target = sources / f"{'index' if page == 'README' else page}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_staged(language, page), encoding="utf-8")
    shutil.copytree(ROOT / "docs" / "images", sources / "docs" / "images")
    for path in reference.rglob("*.rst"):
        target = sources / "reference" / path.relative_to(reference)
        target.parent.mkdir(parents=True, exist_ok=True)
        # The theme has a table of contents of its own.
        text = path.read_text(encoding="utf-8").replace(".. contents::\n   :local:\n   :depth: 1\n", "")
        folder = os.path.dirname(f"{language.folder}/reference/{path.relative_to(reference)}")
        for address, name in re.findall(rf"<({REPOSITORY}/blob/main/([^>]+))>`__", text):
            text = text.replace(f"<{address}>", f"<{_place(name, folder) or address}>")
        target.write_text(text, encoding="utf-8")


class _Page(HTMLParser):
    """The anchors of a page, where its links lead, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.anchors.add(attributes.get("id", ""))
        if tag == "a" and "href" in attributes:
            self.links.add(attributes["href"])
        if tag in _LOADED and attributes.get(_LOADED[tag]):
            self.loads.add(attributes[_LOADED[tag]])


def _faults(html: Path) -> Iterator[str]:
    """What is wrong with a site that can be seen from its files."""
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in html.rglob("*.html")}
    for path, page in pages.items():
        where = path.relative_to(html.resolve())
        for address in sorted(page.links | page.loads):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in page.loads and parts.scheme != "data":
                    yield f"{where} loads {address}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{where} leads to {address}, which is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where} leads to {address}, which has no such heading"
    for path in html.rglob("*.css"):
        for address in re.findall(
            r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^)\"']+)", path.read_text(encoding="utf-8")
        ):
            yield f"{path.relative_to(html)} loads {address}"


def _run(*command: str) -> None:
    if status := subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"{command[0]} ended with {status}")


def main(folder: Path) -> None:
    """Build the site. The collection is found by way of ANSIBLE_COLLECTIONS_PATH."""
    shutil.rmtree(folder, ignore_errors=True)
    reference, html = folder / "reference", folder / "html"
    # antsibull-docs writes to folders of one's own only.
    folder.mkdir(parents=True, mode=0o700)
    reference.mkdir(mode=0o700)
    made = ("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error")
    _run(*made, f"--dest-dir={reference}", COLLECTION)
    for language in LANGUAGES:
        sources = folder / "sources" / language.code
        _stage(language, reference, sources)
        options = (f"-Dlanguage={language.code}", "-c", str(HERE), "-d", str(folder / "doctrees" / language.code))
        _run("sphinx-build", "-q", "-W", "--keep-going", *options, str(sources), str(html / language.folder))
    if faults := list(_faults(html)):
        sys.exit("\n".join(faults))
    print(f"{html}/index.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
