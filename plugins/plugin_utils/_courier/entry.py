# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module of plugin_utils in a plain Python process.

`python -I /path/to/entry.py MODULE` imports MODULE, such as `_courier.process`, and calls its `main()`; should that
fail, the standard error ends with why, in one line. Nothing of ansible-core is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
import types

ROOT = "ansible_collections"
PACKAGE = f"{ROOT}.flashcat.flashduty.plugins.plugin_utils"

# What a process of ours needs of the environment, which may hold keys.
_ENVIRONMENT = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {name for proxy in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (proxy, proxy.upper())}
)


def command(module: str) -> list[str]:
    """The command line that runs a module; it leaves nothing behind in the folders of the collection."""
    return [sys.executable, "-I", "-S", "-B", os.path.abspath(__file__), module]


def environment(with_libpq: bool = False) -> dict[str, str]:
    """The environment to run a module in.

    :param with_libpq: whether it may connect to PostgreSQL, for which libpq has settings of its own there.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if value and (name in _ENVIRONMENT or (with_libpq and name.startswith("PG") and name.isalpha()))
    }


def import_path() -> list[str]:
    """Where this process finds modules, for one that is in another folder.

    Without the current folder, which `python -m` puts there and in which anything may lie, unless PYTHONPATH names it.
    """
    try:
        here = os.getcwd()
        named = {os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
        paths = [os.path.abspath(path) for path in sys.path if path]
    except OSError:  # the current folder was deleted
        return [path for path in sys.path if os.path.isabs(path)]
    return [path for path in paths if path != here or path in named]


def make_importable(folder: str) -> None:
    """Make `ansible_collections` mean `folder` in this process.

    The `ansible` package puts a regular package of that name into site-packages, which would hide every other folder.
    """
    package = types.ModuleType(ROOT)
    package.__path__ = [folder]
    sys.modules[ROOT] = package


def run(module: str) -> None:
    """Run a module."""
    # The folder `ansible_collections` that holds this file.
    make_importable(os.path.abspath(__file__).rsplit(os.sep, 6)[0])
    importlib.import_module(f"{PACKAGE}.{module}").main()


if __name__ == "__main__":
    try:
        run(sys.argv[1])
    except Exception as error:  # without a traceback: whoever started this shows it to the user
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))
