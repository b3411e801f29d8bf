# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent to other hosts is understood by the oldest Python that they may have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.flashcat.flashduty.plugins import module_utils

FOLDER = Path(next(iter(module_utils.__path__)))
PYENV = Path("~/.pyenv/versions").expanduser()
# A shim of pyenv is found on the path even where no such Python is chosen.
OLDEST = next((str(path) for path in PYENV.glob("3.8.*/bin/python3.8")), None) or shutil.which("python3.8")
# Stands for what brings its own support for that Python, in the versions that are made for it.
REQUESTS = """
import sys, types
class Anything(types.ModuleType):
    __path__ = []
    def __getattr__(self, name):
        return type(name, (), {})
names = "requests requests.adapters requests.utils urllib3 urllib3.connection urllib3.connectionpool"
for name in names.split():
    sys.modules[name] = Anything(name)
    if "." in name:
        setattr(sys.modules[name.partition(".")[0]], name.partition(".")[2], sys.modules[name])
"""


@pytest.mark.skipif(OLDEST is None, reason="there is no Python 3.8 on this machine")
def test_every_file_is_imported_by_python_3_8() -> None:
    names = {path.stem for path in FOLDER.glob("_*.py")}
    assert names == {"_answer", "_argspec", "_change_event", "_change_query", "_connection", "_http", "_outbox_url"}
    modules = ", ".join(f"ansible_collections.flashcat.flashduty.plugins.module_utils.{name}" for name in sorted(names))
    script = f"{REQUESTS}\nsys.path.insert(0, {str(FOLDER.parents[4])!r})\nimport {modules}"
    done = subprocess.run([str(OLDEST), "-I", "-B", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
