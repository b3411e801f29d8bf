# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why something is so, or where it comes from, in Chinese. Those who find it out, and the outbox, say it in English."""

from __future__ import annotations

import re

_WHO_ANSWERED = "请检查 api_url，以及是否由代理或登录门户响应"
_REASONS = {
    r"integration_key: no integration key is set\. .*": (
        "没有设置集成密钥。请设置 push_url（Flashduty 控制台显示的推送地址）、integration_key 或"
        " integration_key_file 之一，例如用环境变量 FLASHDUTY_PUSH_URL"
    ),
    r"app_key: no app key is set, .*": (
        "没有设置 APP Key，而查询变更需要它。请在 Flashduty 控制台（账户设置，APP Key）新建一个，并设置 app_key，"
        "例如用环境变量 FLASHDUTY_APP_KEY"
    ),
    r"no answer within (\S+) s": r"\1 秒内没有响应",
    r"no answer: (.*)": r"没有响应：\1",
    r"the host name was not found": "域名无法解析",
    r"the connection was refused": "连接被拒绝",
    r"the connection was closed before an answer arrived": "收到响应之前连接中断",
    r"the proxy did not connect: (.*)": r"代理未能连通：\1",
    r"the TLS connection failed: (.*)\. Check ca_path, .*": r"TLS 连接失败：\1。请检查 ca_path，以及中间是否有代理",
    r"HTTP (\d+), a redirect to (\S+), .*": rf"HTTP \1，被重定向到 \2，没有跟随：{_WHO_ANSWERED}",
    r"HTTP (\d+), too many requests": r"HTTP \1，请求过多",
    r"HTTP (\d+), an answer that is not Flashduty's: .*": rf"HTTP \1，不是 Flashduty 的响应：{_WHO_ANSWERED}",
    r"no thread can be started for the request": "无法启动发送请求的线程",
    r"more than (\S+) events were waiting": r"等待的事件超过 \1 个",
    r"names of groups: (.*); the path of the inventory": r"主机组名 \1，以及 inventory 的路径",
    r"names of groups: (.*)": r"主机组名 \1",
    r"the path of the inventory": " inventory 的路径",
    r"the environment variable (.*)": r"环境变量 \1",
    r"the variable (.*)": r"变量 \1",
    r"the task": "任务",
    r"the defaults": "默认值",
    r"the outbox was replaced meanwhile": "发件箱在此期间被替换",
    r"the Python package requests is missing for (.*), install it with: (.*)": (
        r"\1 缺少 Python 包 requests，请安装：\2"
    ),
    r"the Python package requests cannot be imported(?: from (.*))? \((.*)\)\. Repair it with: (.*)": (
        r"无法导入 Python 包 requests \1（\2）。请修复：\3"
    ),
}


def in_chinese(reason: object) -> str:
    """The reason in Chinese; one that is not ours, such as a message of Flashduty, as it is."""
    text = str(reason)
    for pattern, chinese in _REASONS.items():
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return found.expand(chinese)
    return text
