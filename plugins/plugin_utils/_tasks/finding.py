# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One thing that the doctor looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import LeftOver
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.findings import KINDS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.reasons import in_chinese

_SHOWN_HOSTS = 5
_COUNTED = {
    "event": "{} 个事件",
    "run": "{} 次运行",
    "damaged file": "{} 个损坏的文件",
    "host": "{} 台主机",
    "node": "{} 个节点",
}
_CHECKS = {
    "versions": "版本",
    "configuration": "配置文件",
    "reports": "上报",
    "settings": "设置",
    "permissions": "权限",
    "integration key": "集成密钥",
    "proxy": "代理",
    "clock": "时钟",
    "key": "密钥验证",
    "app key": "APP Key",
    "labels": "标签",
    "outbox": "发件箱",
}
_ORIGINS = {
    "the environment variable ": "环境变量 ",
    "the variable ": "变量 ",
    "the task": "任务",
    "the defaults": "默认值",
    "the usual authorities": "通用证书机构",
    "no callback": "无",
}


class Finding(NamedTuple):
    """One thing that was looked at, in words.

    :ivar state: ok, warn or fail.
    :ivar advice: what to do; empty where there is nothing to do.
    :ivar kind: its name in the table of docs/troubleshooting.md.
    """

    check: str
    state: str
    text: str
    advice: str = ""
    kind: str = ""

    def line(self, language: str = "en") -> str:
        """For people.

        :param language: en or zh.
        """
        check = f"{_CHECKS.get(self.check, self.check)}：" if language == "zh" else f"{self.check}: "
        # Chinese has a full stop of its own.
        stop = "。" if self.advice[:1] > "\u2e80" else ". "
        return f"{self.state:<4}  {check}{self.text}{stop + self.advice if self.advice else ''}"


class Found(NamedTuple):
    """One thing that was looked at. Make it with :func:`found`.

    :ivar whose: the integration that it holds for, where there are several.
    """

    kind: str
    values: Mapping[str, Any]
    whose: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether something does not work."""
        return KINDS[self.kind].state == "fail"

    @property
    def is_of_key(self) -> bool:
        """Whether it holds for one integration only."""
        return KINDS[self.kind].check in ("key", "app key")

    def said(self, language: str) -> Finding:
        """It in words.

        :param language: en or zh.
        """
        known = KINDS[self.kind]
        values = {
            name: value.said(language)
            if isinstance(value, (Origin, Counted))
            else value.text(language)
            if isinstance(value, LeftOver)
            else in_chinese(value)
            if language == "zh" and name in ("problem", "said", "origin")
            else value
            for name, value in self.values.items()
        }
        text, advice = (part.format_map(values) for part in (known.zh if language == "zh" else known.en))
        # A path stands apart from Chinese words, another Chinese word does not.
        text = re.sub("(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", text)
        text = f"{self.whose}: {text}" if self.whose else text
        return Finding(known.check, known.state, text, advice, self.kind)


def found(kind: str, **values: Any) -> Found:
    """One thing that was looked at.

    :param kind: one of :data:`KINDS`.
    :param values: those in its texts.
    """
    return Found(kind, values)


class Origin(str):
    """Where a setting comes from, in English words."""

    def said(self, language: str) -> str:
        """It in that language."""
        for english, chinese in _ORIGINS.items() if language == "zh" else ():
            if self.startswith(english):
                return chinese + self[len(english) :]
        return str(self)


class Counted(NamedTuple):
    """How many of what, and which.

    :ivar what: one of them, in English.
    """

    number: int
    what: str
    names: Sequence[str] = ()

    def said(self, language: str) -> str:
        """It in that language."""
        names = [*self.names[:_SHOWN_HOSTS], *(["…"] if len(self.names) > _SHOWN_HOSTS else [])]
        if language == "zh":
            text = _COUNTED[self.what].format(self.number)
            return f"{text}（{'、'.join(names)}）" if names else text
        text = f"{self.number} {self.what}{'' if self.number == 1 else 's'}"
        return f"{text} ({', '.join(names)})" if names else text
