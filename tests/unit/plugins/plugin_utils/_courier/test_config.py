# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a courier is told goes through a pipe."""

from __future__ import annotations

import pytest
from outboxes import ME

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import CourierConfig

CONNECTION = Connection("https://fd.example", "k3y 'ü'", ca_path="/etc/ca.pem", timeout=2.5)
CONFIG = CourierConfig(
    state_dir="/var/lib/状态",
    connection=CONNECTION,
    process=ME,
    fifo="/var/lib/状态/couriers/1.fifo",
    run="run-1",
    interrupted_text="被 Ctrl-C 中断\n由 alice 启动",
    signals=True,
    import_path=["/usr/lib/python3", "/home/a b/lib"],
)


@pytest.mark.parametrize("config", [CONFIG, CONFIG._replace(run=None, interrupted_text=None, signals=False)])
def test_the_courier_reads_what_the_client_wrote(config: CourierConfig) -> None:
    assert CourierConfig.from_json(config.to_json()) == config


def test_the_integration_key_comes_along_and_the_app_key_does_not() -> None:
    config = CONFIG._replace(connection=CONNECTION._replace(app_key="secret-app-key"))
    text = config.to_json()
    assert "secret-app-key" not in text
    assert CourierConfig.from_json(text).connection == CONNECTION


def test_the_address_of_the_shared_outbox_comes_along_and_is_not_shown() -> None:
    config = CONFIG._replace(connection=CONNECTION._replace(outbox_url="postgresql://flash:s3cret@db"))
    assert CourierConfig.from_json(config.to_json()).connection.outbox_url == "postgresql://flash:s3cret@db"
    assert "s3cret" not in repr(config)
    assert CONFIG.connection.outbox_url is None


def test_no_key_is_shown_where_a_config_is() -> None:
    shown = repr(CONFIG._replace(connection=CONNECTION._replace(app_key="secret-app-key")))
    assert "fd.example" in shown
    assert "k3y" not in shown
    assert "secret-app-key" not in shown


def test_it_does_not_fill_the_pipe_before_the_courier_reads() -> None:
    # The client writes all of it before it goes on; 65536 bytes is what a pipe holds.
    many = CONFIG._replace(interrupted_text="断" * 2048, import_path=["/usr/lib/python3/dist-packages"] * 200)
    assert len(many.to_json().encode()) < 65536
