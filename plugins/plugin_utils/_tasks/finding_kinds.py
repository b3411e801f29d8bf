# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor can find, and what it says of it: what is so, and on a second line what to do about it.

docs/troubleshooting.md has a table of all that is not ok.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text


class Kind(NamedTuple):
    """One thing that the doctor can find.

    :ivar check: what was looked at.
    :ivar state: ok, warn or fail.
    """

    check: str
    state: str
    text: Text


def _ok(check: str, en: str, zh: str) -> Kind:
    return Kind(check, "ok", Text(en, zh))


def _warn(check: str, en: str, zh: str) -> Kind:
    return Kind(check, "warn", Text(en, zh))


def _fail(check: str, en: str, zh: str) -> Kind:
    return Kind(check, "fail", Text(en, zh))


# What is looked at, where that is another word in Chinese.
CHECKS: Mapping[str, Text] = {
    "versions": Text("versions", "版本"),
    "configuration": Text("configuration", "配置文件"),
    "reports": Text("reports", "上报"),
    "settings": Text("settings", "设置"),
    "permissions": Text("permissions", "权限"),
    "integration key": Text("integration key", "集成密钥"),
    "proxy": Text("proxy", "代理"),
    "clock": Text("clock", "时钟"),
    "key": Text("key", "密钥验证"),
    "app key": Text("app key", "APP Key"),
    "labels": Text("labels", "标签"),
    "outbox": Text("outbox", "发件箱"),
}
KINDS: Mapping[str, Kind] = {
    "versions": _ok("versions", "{versions}", "{versions}"),
    "core-too-old": _fail(
        "versions",
        "{versions}\nSupported is ansible-core 2.16 and later",
        "{versions}\n支持 ansible-core 2.16 及以上版本，请升级",
    ),
    "core-untested": _warn(
        "versions",
        "{versions}\nThis collection was tested up to ansible-core 2.22",
        "{versions}\n本 collection 测试到 ansible-core 2.22",
    ),
    "requests": _ok("requests", "requests {version}", "requests {version}"),
    "requests-missing": _fail("requests", "{problem}", "{problem}"),
    "requests-broken": _fail(
        "requests",
        "requests {version} does not work: {problem}\n{python} -m pip install --force-reinstall requests",
        "requests {version} 无法使用：{problem}\n{python} -m pip install --force-reinstall requests",
    ),
    "requests-old": _warn(
        "requests",
        "requests {version}\nOlder than 2.25: {python} -m pip install --upgrade requests",
        "requests {version}\n低于 2.25：{python} -m pip install --upgrade requests",
    ),
    "configuration": _ok("configuration", "read from {file}", "读取自 {file}"),
    "configuration-none": _ok("configuration", "no ansible.cfg is read", "没有读取任何 ansible.cfg"),
    "configuration-ignored": _warn(
        "configuration",
        "the ansible.cfg in this folder is not read, most likely because others can write to the folder\n"
        "Set ANSIBLE_CONFIG to its path, or remove their write permission",
        "没有读取当前文件夹中的 ansible.cfg，多半因为其他人可以写入该文件夹\n"
        "把 ANSIBLE_CONFIG 设为它的路径，或者去掉写入权限",
    ),
    "callback": _ok("callback", "enabled by {origin}", "已启用，来自 {origin}"),
    "callback-not-enabled": _warn(
        "callback",
        "not enabled, so runs are not reported; {origin} names {names}\n"
        "Add it to callbacks_enabled in the section [defaults] of {file}: {callback}",
        "未启用，运行不会上报；{origin} 启用的是：{names}\n"
        "把它加入 {file} 中 [defaults] 的 callbacks_enabled：{callback}",
    ),
    "reports-off": _warn(
        "reports",
        "switched off by {origin}\nSet enabled to true to report runs",
        "已被 {origin} 关闭\n要上报运行，请把 enabled 设为 true",
    ),
    "reports-off-for-hosts": _warn(
        "reports",
        "switched off by the variable flashduty_enabled for {hosts}\n"
        "Set it to true, or remove it, to report runs on these hosts",
        "变量 flashduty_enabled 对 {hosts} 关闭了上报\n要上报这些主机上的运行，请把它设为 true 或删除",
    ),
    "preview": _warn(
        "reports",
        "only shown and not sent, preview is set by {origin}\nSet preview to false to report runs",
        "只显示、不发送，preview 由 {origin} 设置\n要上报运行，请把 preview 设为 false",
    ),
    "environment-unknown": _warn(
        "settings",
        "nothing reads the environment variable {name}\nDid you mean {nearest}?",
        "没有任何程序读取环境变量 {name}\n是否应为 {nearest}？",
    ),
    "environment-unheard-of": _warn(
        "settings",
        "nothing reads the environment variable {name}\nRemove it, or look up the right name in the documentation",
        "没有任何程序读取环境变量 {name}\n请删除它，或者在文档中查找正确的名称",
    ),
    "ini-unknown": _warn(
        "settings",
        "nothing reads the key {name} in [{section}] of {file}\nDid you mean {nearest}?",
        "没有任何程序读取 {file} 中 [{section}] 的 {name}\n是否应为 {nearest}？",
    ),
    "ini-unheard-of": _warn(
        "settings",
        "nothing reads the key {name} in [{section}] of {file}\n"
        "Remove it, or look up the right name in the documentation",
        "没有任何程序读取 {file} 中 [{section}] 的 {name}\n请删除它，或者在文档中查找正确的名称",
    ),
    "variable-unknown": _warn(
        "settings",
        "nothing reads the variable {name}\nDid you mean {nearest}?",
        "没有任何程序读取变量 {name}\n是否应为 {nearest}？",
    ),
    "setting-invalid": _fail(
        "settings",
        "{problem}\nCorrect it, and run the doctor again",
        "设置无法使用：{problem}\n改正后再检查一次",
    ),
    "integration-key": _ok("integration key", "from {name}, set by {origin}", "来自 {name}，由 {origin} 设置"),
    "integration-key-in-inventory": _ok(
        "integration key",
        "hosts of the inventory have theirs",
        "inventory 中的主机各有自己的密钥",
    ),
    "integration-key-missing": _fail(
        "integration key",
        "{problem}\nIf the key is in the inventory, name the inventory: -i INVENTORY",
        "没有设置集成密钥。请设置 push_url（控制台显示的推送地址）、integration_key 或 integration_key_file 之一\n"
        "例如用环境变量 FLASHDUTY_PUSH_URL；如果密钥在 inventory 中，请指明它：-i INVENTORY",
    ),
    "integration-key-invalid": _fail(
        "integration key",
        "{problem}\nCopy the Push URL of a change integration from the Flashduty console again",
        "无法使用：{problem}\n请重新从 Flashduty 控制台复制变更集成的推送地址",
    ),
    "key-file-open": _warn(
        "permissions",
        "other users can read {path}, which contains {option}\nchmod 600 {path}",
        "其他人可以读取 {path}，其中有 {option}\nchmod 600 {path}",
    ),
    "group": _ok(
        "inventory",
        "the group {group} reports to the integration {integration} ({hosts})",
        "主机组 {group} 上报到集成 {integration}（{hosts}）",
    ),
    "hosts-without-key": _warn(
        "inventory",
        "{hosts} without an integration key while others have one; runs on these hosts alone are not reported\n"
        "Set flashduty_push_url for them too, in group_vars of their group or of all",
        "{hosts} 没有集成密钥，而其他主机有；只在这些主机上的运行不会上报\n"
        "也为它们设置 flashduty_push_url：放在其主机组或 all 的 group_vars 中",
    ),
    "hosts-key-invalid": _fail(
        "inventory",
        "the settings of {hosts} cannot be used: {problem}\nCorrect the variable, and run the doctor again",
        "{hosts} 的设置无法使用：{problem}\n改正该变量后再检查一次",
    ),
    "variables-unreadable": _warn(
        "inventory",
        "{problem}\nGive the vault's password, or repair the file",
        "有变量无法读取：{problem}\n请提供 vault 密码，或者修复该文件",
    ),
    "proxy": _ok("proxy", "through {proxy}", "经由 {proxy}"),
    "proxy-none": _ok("proxy", "none is used", "未使用"),
    "api-not-asked": _fail(
        "API",
        "{url} could not be tested: {problem}\nRepair that, and run the doctor again",
        "无法检查 {url}：{problem}\n修复后再检查一次",
    ),
    "api-no-answer": _fail(
        "API",
        "{url} does not answer: {problem}\nCheck {proxy}api_url, name resolution and the firewall",
        "{url} 没有响应：{problem}\n请检查 {proxy}api_url、域名解析和防火墙",
    ),
    "api": _ok("API", "{url} answers within {seconds:.1f} s", "{url} 在 {seconds:.1f} 秒内响应"),
    "api-slow": _warn(
        "API",
        "{url} answers within {seconds:.1f} s\nSlow answers make the end of a run wait",
        "{url} 在 {seconds:.1f} 秒内响应\n响应慢会使运行结束时等待",
    ),
    "tls": _ok("TLS", "the certificate is valid, verified with {authorities}", "证书有效，依据 {authorities}"),
    "tls-none": _warn(
        "TLS",
        "plain http: the key can be read in transit\nUse https except for tests",
        "明文 http，密钥在传输中可能被读取\n测试以外请使用 https",
    ),
    "tls-unchecked": _warn(
        "TLS",
        "the certificate is not verified\nSet validate_certs to true, and ca_path if the certificate is your own",
        "没有校验证书\n把 validate_certs 设为 true；如果是自己的证书，再设置 ca_path",
    ),
    "clock": _ok("clock", "agrees with the clock of the API", "与 API 一致"),
    "clock-unknown": _warn(
        "clock",
        "the API does not send its time, so the clock of this machine cannot be checked\n"
        "Make sure that NTP sets this machine's clock",
        "API 没有返回时间，无法与本机时钟比较\n请确认本机时钟由 NTP 校准",
    ),
    "clock-ahead": _fail(
        "clock",
        "{seconds:.0f} s ahead of the API, which refuses events from the future\nLet NTP set this machine's clock",
        "比 API 快 {seconds:.0f} 秒：事件时间会在将来，Flashduty 会拒绝\n请用 NTP 校准本机时钟",
    ),
    "clock-behind": _warn(
        "clock",
        "{seconds:.0f} s behind the API: changes are shown too early\nLet NTP set this machine's clock",
        "比 API 慢 {seconds:.0f} 秒：变更的时间会显示得过早\n请用 NTP 校准本机时钟",
    ),
    "key": _ok(
        "key",
        "accepted: the API rejects a made-up key, and not yours",
        "有效：API 拒绝了编造的密钥，没有拒绝你的密钥",
    ),
    "key-wrong": _fail(
        "key",
        "{said}\nCopy the Push URL of a change integration from the Flashduty console again",
        "密钥不对，API 的响应：{said}\n请重新从 Flashduty 控制台复制变更集成的推送地址",
    ),
    "key-unknown": _warn(
        "key",
        "the API answers your key and a made-up one alike: only a reported change can show whether yours works\n"
        "To be sure, report a change: ansible-playbook flashcat.flashduty.report",
        "API 对你的密钥和编造的密钥响应相同，不上报变更就无法判断\n"
        "要确认，请上报一个：ansible-playbook flashcat.flashduty.report",
    ),
    "key-not-flashduty": _fail(
        "key",
        "{said}\nCheck api_url and proxies: the answer is not Flashduty's",
        "响应：{said}\n请检查 api_url 和代理：响应的不是 Flashduty",
    ),
    "key-not-bought": _fail(
        "key",
        "{said}\nThe account has not bought the product",
        "API 的响应：{said}\n该账户没有购买此产品",
    ),
    "key-no-license": _fail(
        "key",
        "{said}\nThe account has no licence left",
        "API 的响应：{said}\n该账户没有可用的许可",
    ),
    "key-refused": _fail(
        "key",
        "{said}\nCheck the integration in the Flashduty console",
        "API 的响应：{said}\n请在 Flashduty 控制台检查该集成",
    ),
    "key-not-now": _warn("key", "{said}\nTry again in a minute", "API 的响应：{said}\n请一分钟后再试"),
    "app-key-none": _ok("app key", "not set; it is needed only to read changes", "没有设置；只有查询变更时才需要"),
    "app-key": _ok("app key", "changes can be read", "可以查询变更"),
    "app-key-refused": _fail(
        "app key",
        "{said}\nCheck it in the Flashduty console, or unset it",
        "API 的响应：{said}\n请在 Flashduty 控制台检查它，或者取消设置",
    ),
    "app-key-not-now": _warn("app key", "{said}\nTry again in a minute", "API 的响应：{said}\n请一分钟后再试"),
    "outbox-to-be-made": _ok("outbox", "{folder} will be created when it is needed", "需要时会创建 {folder}"),
    "no-sqlite": _fail(
        "outbox",
        "{problem}\nInstall what is missing, or run Ansible with a Python that has sqlite3",
        "无法保存要发送的内容：{problem}\n请安装缺少的部分，或使用带有 sqlite3 的 Python 运行 Ansible",
    ),
    "env-guessed": _ok(
        "labels",
        "env={env} for the {hosts} hosts of the inventory, guessed from {origin}",
        "inventory 的 {hosts} 台主机的 env={env}，推断自{origin}",
    ),
    "outbox-unsafe": _fail(
        "outbox",
        "{problem}\nCorrect it, or set state_dir to a folder of your own; until then a temporary outbox is used",
        "不安全：{problem}\n改正之前会使用备用发件箱；也可以把 state_dir 设为自己的文件夹",
    ),
    "outbox-not-makeable": _fail(
        "outbox",
        "{folder} cannot be created\nMake {parent} writable, or set state_dir",
        "无法创建 {folder}\n使 {parent} 可写，或者设置 state_dir",
    ),
    "outbox-not-writable": _fail(
        "outbox",
        "{folder} is not writable\nChange its owner, or set state_dir",
        "无法写入 {folder}\n更改其所有者，或者设置 state_dir",
    ),
    "outbox-not-usable": _fail(
        "outbox",
        "no outbox can be used in {folder}: {problem}\nRepair it, or set state_dir",
        "{folder} 中无法使用发件箱：{problem}\n请修复，或者设置 state_dir",
    ),
    "outbox-folder-open": _warn(
        "outbox",
        "other users can look into {folder}\nchmod 700 {folder}",
        "其他人可以查看 {folder}\nchmod 700 {folder}",
    ),
    "outbox-file-open": _warn(
        "outbox",
        "other users can read {path}\nchmod 600 {path}",
        "其他人可以读取 {path}\nchmod 600 {path}",
    ),
    "outbox-on-network": _warn(
        "outbox",
        "{folder} is on a network file system, whose file locks may fail\nSet state_dir to a local folder",
        "{folder} 在网络文件系统上，其文件锁可能失效\n把 state_dir 设为本地文件夹",
    ),
    "outbox-empty": _ok("outbox", "nothing waits in {folder}", "{folder} 中没有等待的事件"),
    "outbox-waiting": _warn(
        "outbox",
        "{events} in {folder} not delivered yet\nDeliver now: {flush}",
        "{folder} 中有 {events}尚未送达\n立即发送：{flush}",
    ),
    "outbox-refused": _warn(
        "outbox",
        "{events} refused by Flashduty\nSee why: ansible-playbook flashcat.flashduty.outbox -e outbox_state=refused",
        "{events}被 Flashduty 永久拒绝\n查看原因：ansible-playbook flashcat.flashduty.outbox -e outbox_state=refused",
    ),
    "outbox-vanished-runs": _warn(
        "outbox",
        "{runs} ended without a final status\nClose their changes: {flush}",
        "{runs}意外结束\n关闭它们的变更：{flush}",
    ),
    "outbox-other-key": _warn(
        "outbox",
        "for the integration {integration}, which has another key: {what}\n"
        "If its key was replaced by this one: {flush} -e adopt={integration}. Otherwise flush with its key",
        "集成 {integration} 使用另一个密钥，发件箱中有它的内容：{what}\n"
        "如果其密钥已被这个替换：{flush} -e adopt={integration}。否则请用它的密钥执行 flush",
    ),
    "outbox-spool": _warn(
        "outbox",
        "events that could not be stored in it are in {folder}\nDeliver them: {flush}",
        "发件箱不可用期间，事件存入了备用发件箱 {folder}\n发送：{flush}",
    ),
    "outbox-unreadable": _warn(
        "outbox",
        "{path} cannot be read: {problem}\nThe next run sets a damaged file aside",
        "无法读取 {path}：{problem}\n下一次运行会另存损坏的文件，并保存可读的内容",
    ),
    "outbox-set-aside": _warn(
        "outbox",
        "{files} set aside in {folder}\nWhat could be read was saved; the files can be deleted",
        "{folder} 中另存了 {files}\n可读的内容已保存，可以随意删除这些文件",
    ),
    "psycopg-missing": _fail(
        "shared outbox",
        "psycopg cannot be imported: {problem}\n{python} -m pip install 'psycopg[binary]'",
        "无法导入 Python 库 psycopg：{problem}\n{python} -m pip install 'psycopg[binary]'",
    ),
    "shared-outbox": _ok(
        "shared outbox",
        "{nodes} reported to {where} within a day, {runs} in progress",
        "一天内有 {nodes}上报到 {where}，{runs}正在进行",
    ),
    "shared-outbox-not-usable": _fail(
        "shared outbox",
        "{where} cannot be used: {problem}\n"
        "Check outbox_url, password, server and firewall. Runs are reported all the same, but only from here",
        "无法使用 {where}：{problem}\n请检查 outbox_url、密码、服务器和防火墙。运行仍会上报，但只从本机上报",
    ),
    "shared-outbox-read-only": _fail(
        "shared outbox",
        "{where} can only be read, as a standby can\n"
        "Let outbox_url name the primary, for example all servers with ?target_session_attrs=read-write",
        "{where} 只能读取，例如备用服务器\n"
        "让 outbox_url 指向主服务器，例如列出所有服务器并加上 ?target_session_attrs=read-write",
    ),
    "shared-outbox-plain": _warn(
        "shared outbox",
        "the way to {where} is not encrypted, so others may read what is reported\n"
        "Add ?sslmode=verify-full to outbox_url, and sslrootcert where the certificate is your own",
        "到 {where} 的连接没有加密，其他人可能读取上报的内容\n"
        "在 outbox_url 中加上 ?sslmode=verify-full；如果是自己的证书，再加上 sslrootcert",
    ),
    "shared-outbox-no-tables": _fail(
        "shared outbox",
        "{where} has no tables of this collection\nMake them: {playbook}",
        "{where} 中没有本 collection 的表\n创建它们：{playbook}",
    ),
    "shared-outbox-older": _fail(
        "shared outbox",
        "the tables in {where} are of an older version\nBring them up to date: {playbook}",
        "{where} 中的表属于较旧的版本\n更新它们：{playbook}",
    ),
    "shared-outbox-newer": _fail(
        "shared outbox",
        "the tables in {where} are of a newer version\nInstall the same version of this collection everywhere",
        "{where} 中的表属于较新的版本\n请在所有机器上安装相同版本的本 collection",
    ),
    "shared-outbox-forbidden": _fail(
        "shared outbox",
        "the role in outbox_url may not use the tables in {where}\nLet it, as their owner: {playbook} -e grant_to=ROLE",
        "outbox_url 中的角色无权使用 {where} 中的表\n以表的所有者身份授权：{playbook} -e grant_to=ROLE",
    ),
    "shared-outbox-waiting": _warn(
        "shared outbox",
        "{events} in {where} not delivered yet\nDeliver now, with the key of each integration: {flush}",
        "{where} 中有 {events}尚未送达\n立即发送，每个集成用它自己的密钥：{flush}",
    ),
    "shared-outbox-vanished-runs": _warn(
        "shared outbox",
        "{runs} ended without a final status, as {where} shows\nClose their changes: {flush}",
        "{where} 显示有 {runs}意外结束\n关闭它们的变更：{flush}",
    ),
}
