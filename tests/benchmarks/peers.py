# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reporters that are compared, each set up as its documentation says, all pointed at the same stub.

Sources: community.general and community.grafana from the package ``ansible``, ARA from the package ``ara``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

OUR_COLLECTION = "flashcat.flashduty"
CALLBACK = f"{OUR_COLLECTION}.flashduty_change"
KEY = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Reporter:
    """A callback that reports a run.

    :ivar callback: its name for ``callbacks_enabled``; empty for none at all.
    :ivar needs: the Python module without which it does not work.
    :ivar settings: its environment, from the stub's address and a folder of its own.
    :ivar cannot: what it does not do.
    """

    name: str
    callback: str
    needs: str
    settings: Callable[[str, Path], Mapping[str, str]]
    cannot: str

    @property
    def is_here(self) -> bool:
        """Whether it is installed."""
        collection = self.callback.rpartition(".")[0]
        return _has(self.needs) and (not collection or collection == OUR_COLLECTION or is_installed(collection))


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it
        return False


def is_installed(collection: str) -> bool:
    """Whether the package ``ansible`` has brought the collection."""
    import ansible

    return Path(ansible.__file__).parent.parent.joinpath("ansible_collections", *collection.split(".")).is_dir()


def flashduty(url: str, folder: Path) -> dict[str, str]:
    """How our doors are told where to deliver."""
    return {
        "FLASHDUTY_PUSH_URL": f"{url}/event/push/change/standard?integration_key={KEY}",
        "FLASHDUTY_STATE_DIR": str(folder / "outbox"),
    }


def _ara(url: str, folder: Path) -> dict[str, str]:
    return {
        "ANSIBLE_CALLBACK_PLUGINS": f"{_plugins_of_ara()}:{Path(__file__).parent / 'callback_plugins'}",
        "ARA_API_CLIENT": "http",
        "ARA_API_SERVER": url,
        "ARA_BASE_DIR": str(folder / "ara"),
    }


def _plugins_of_ara() -> str:
    found = importlib.util.find_spec("ara.setup.callback_plugins")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parents[1] / "plugins" / "callback")


NONE = Reporter("no reporter", "", "ansible", lambda _url, _folder: {}, "")
# What it differs by from the first is what any figure here may be off by.
AGAIN = replace(NONE, name="no reporter, again")
OURS = Reporter("flashduty_change", CALLBACK, "ansible", flashduty, "")
REPORTERS = (
    NONE,
    OURS,
    Reporter(
        "grafana_annotations",
        "community.grafana.grafana_annotations",
        "ansible",
        lambda url, _folder: {"GRAFANA_URL": f"{url}/api/annotations", "GRAFANA_API_KEY": KEY},
        "nothing is kept: what was not taken at once is lost",
    ),
    Reporter(
        "slack",
        "community.general.slack",
        "prettytable",
        lambda url, _folder: {"SLACK_WEBHOOK_URL": f"{url}/services/T0/B0/{KEY}"},
        "nothing is kept: what was not taken at once is lost",
    ),
    Reporter(
        "opentelemetry",
        "community.general.opentelemetry",
        "opentelemetry.exporter.otlp.proto.http",
        lambda url, _folder: {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        },
        "reports at the end only; nothing is kept",
    ),
    Reporter("ara_default", "ara_default", "ara", _ara, "nothing is kept: what was not taken at once is lost"),
)
