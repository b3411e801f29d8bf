# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's configuration for both languages: https://www.sphinx-doc.org/en/master/usage/configuration.html"""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

project = "flashcat.flashduty"
html_title = "Flashduty collection"
copyright = "the flashcat.flashduty contributors"
root_doc = "index"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
# The anchors that GitHub makes of headings.
myst_heading_anchors = 6
nitpicky = True
# What plugins refer to of ansible-core's is on another site.
suppress_warnings = ["ref.ref"]
nitpick_ignore_regex = [("envvar", "ANSIBLE_.*")]
default_role = "any"
highlight_language = "YAML+Jinja"
pygments_style = "ansible"
smartquotes = False
html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
# A browser reads them over http only.
html_show_search_summary = False
html_use_index = False


class SearchChinese(SearchEnglish):
    """Sphinx's own needs a dictionary. Here the page finds pairs of characters, and longer words as parts of a run."""

    lang = "zh"

    def split(self, text: str) -> list[str]:
        runs = super().split(text)
        return runs + [run[at : at + 2] for run in runs if not run.isascii() for at in range(len(run) - 1)]


def setup(app: Sphinx) -> None:
    app.add_search_language(SearchChinese)
