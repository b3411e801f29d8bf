# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The address of the PostgreSQL that holds the shared outbox, and the secrets in it.

Private to this collection; may change in any release.

What libpq would take apart elsewhere than its author meant is refused here: libpq's own error would show a part of the
password as a host or a port.

Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

from __future__ import annotations

import re
import urllib.parse

URL_MAX = 2000
_PARTS = re.compile(
    r"(?P<scheme>postgres(?:ql)?://)(?:(?P<user>[^:@/?#]*)(?P<password>:[^@/?#]*)?@)?"
    r"(?P<hosts>[^@/?#]*)(?:/[^@/?#]*)?(?:\?(?P<query>[^@?#]*))?"
)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::[0-9]*)?")
_SETTING = re.compile(r"\w+=[^=]*")
_SECRET_SETTING = re.compile(r"(?<=[?&])(password|sslpassword)=([^&]*)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
# What is shorter may be a word of somebody's text.
_SECRET_LEAST = 8


def problem_of(url: str) -> str | None:
    """Why no address can be such, in words that hold none of it; None where it can."""
    if not re.match("postgres(ql)?://", url):
        return "must be an address that begins with postgresql:// or postgres://"
    if not url.isprintable() or " " in url or len(url) > URL_MAX:
        return f"must have no spaces or line breaks, and at most {URL_MAX} characters"
    parts = _PARTS.fullmatch(url)
    query = (parts["query"] or "") if parts else ""
    if (
        parts is None
        or not all(_HOST.fullmatch(host) for host in parts["hosts"].split(","))
        or not all(_SETTING.fullmatch(setting) for setting in query.split("&") if query)
        or _BAD_ESCAPE.search(url)
    ):
        return (
            "must be an address such as postgresql://user:password@host:5432/database?sslmode=verify-full;"
            " write what a password holds of : / ? # @ % & = percent-encoded, such as %40 for @"
        )
    return None


def secrets_of(url: str, least: int = _SECRET_LEAST) -> list[str]:
    """What of a usable address must not be shown: the address, where it holds a password, and the password.

    :param least: only what is as long.
    """
    parts = _PARTS.fullmatch(url)
    password = ((parts["password"] or "") if parts else "")[1:]
    found = [secret for secret in (password, *(value for _name, value in _SECRET_SETTING.findall(url))) if secret]
    spellings = [spelling for secret in found for spelling in (secret, urllib.parse.unquote(secret))]
    return [*dict.fromkeys(each for each in (url if found else "", *spellings) if len(each) >= least)]


def shown(url: str) -> str:
    """A usable address as people may see it."""
    parts = _PARTS.fullmatch(url)
    if parts is not None and parts["password"]:
        url = f"{url[: parts.start('password')]}:***{url[parts.end('password') :]}"
    return _SECRET_SETTING.sub(r"\1=***", url)
