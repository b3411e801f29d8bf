# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where Flashduty is, with which keys, and how these stay out of everything that is printed or stored.

Private to this collection; may change in any release.

Source: https://developer.flashcat.cloud/zh/flashduty/event-api/change-event (the key rides in the query string).
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import json
import os
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any, NamedTuple

DEFAULT_API_URL = "https://api.flashcat.cloud"
DEFAULT_TIMEOUT = 10.0
PUSH_PATH = "/event/push/change/standard"
LIST_PATH = "/change/list"
# Each of these alone says which integration is meant.
KEY_OPTIONS = ("push_url", "integration_key", "integration_key_file")
# And each of these, where the shared outbox is.
OUTBOX_URL_OPTIONS = ("outbox_url", "outbox_url_file")
# No server takes a longer address.
_KEY_MAX = 2000
REDACTED = "********"
# What is shorter is no key of Flashduty's, and may be a word of somebody's text.
_SECRET_LEAST = 8
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")
_WRAPPED = {
    "\ufeff": "begins with a byte order mark, which an editor has put there. Save it as UTF-8 without BOM",
    **dict.fromkeys("\"'`\u201c\u201d\u2018\u2019", "is wrapped in quotes. Remove them"),
    **dict.fromkeys("<>", "is wrapped in < >. Remove them"),
}


class InvalidConnection(ValueError):
    """An option that no connection can be made from. The text never holds a secret."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option


class MissingKey(InvalidConnection):
    """None of the options that carry the integration key is set."""

    def __init__(self) -> None:
        super().__init__(
            "integration_key",
            "no integration key is set. Set one of push_url (the Push URL as the Flashduty console shows it), "
            "integration_key or integration_key_file, for example by the environment variable FLASHDUTY_PUSH_URL",
        )


class MissingAppKey(InvalidConnection):
    """Reading needs an app key, and none is set."""

    def __init__(self) -> None:
        super().__init__(
            "app_key",
            "no app key is set, and reading changes needs one. Make one in the Flashduty console (account settings, "
            "APP key) and set app_key, for example by the environment variable FLASHDUTY_APP_KEY",
        )


class Connection(NamedTuple):
    """How to reach one integration. Make it with :meth:`from_options` or :meth:`for_reading`.

    :ivar api_url: base address, without a trailing slash.
    :ivar integration_key: for pushing; empty where a connection only reads.
    :ivar app_key: for reading; None where there is none.
    :ivar timeout: the whole budget of one delivery, seconds.
    :ivar identity: what stands for the integration key where only another host knows it; otherwise empty.
    :ivar outbox_url: address of the PostgreSQL that holds the shared outbox; None where there is none.
    """

    api_url: str
    integration_key: str
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    app_key: str | None = None
    identity: str = ""
    outbox_url: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Connection:
        """The connection that the options of a module, an action or a callback describe.

        :raises MissingKey: where no option carries an integration key.
        :raises InvalidConnection: naming the option and what is wrong with it.
        """
        return cls._made(options, *_address_and_key(options))

    @classmethod
    def for_reading(cls, options: Mapping[str, Any]) -> Connection:
        """The same for what only reads, which needs an app key and no integration key.

        :raises MissingAppKey: where there is none.
        :raises InvalidConnection: naming the option and what is wrong with it.
        """
        try:
            api_url, key = _address_and_key(options)
        except MissingKey:
            api_url, key = _api_url(options), ""
        connection = cls._made(options, api_url, key)
        if connection.app_key is None:
            raise MissingAppKey
        return connection

    @classmethod
    def with_key_file_of(cls, host: str, options: Mapping[str, Any], path: str) -> Connection:
        """The same where another host alone reads the key from a file of its own.

        :raises InvalidConnection: naming the option and what is wrong with it.
        """
        return cls._made(options, _api_url(options), "")._replace(identity=f"{host} {path}")

    @classmethod
    def _made(cls, options: Mapping[str, Any], api_url: str, key: str) -> Connection:
        timeout = _seconds(options.get("timeout"))
        validate = options.get("validate_certs")
        return cls(
            api_url=api_url,
            integration_key=key,
            validate_certs=True if validate is None else bool(validate),
            ca_path=_readable(options, "ca_path"),
            client_cert=_readable(options, "client_cert"),
            client_key=_readable(options, "client_key"),
            timeout=timeout,
            app_key=_key("app_key", str(options["app_key"])) if options.get("app_key") else None,
            outbox_url=outbox_url_of(options),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, the keys included: for the pipe to a process of ours only."""
        return self._asdict()

    def for_pushing(self) -> Connection:
        """The same without the app key, which is a user's whole permission and of no use there."""
        return self._replace(app_key=None)

    def secrets(self) -> list[str]:
        """What must be neither printed nor stored."""
        found = [self.integration_key, self.app_key or ""]
        if self.outbox_url is not None:
            from ansible_collections.flashcat.flashduty.plugins.module_utils import _outbox_url

            found += _outbox_url.secrets_of(self.outbox_url)
        return [secret for secret in found if secret]

    def redact(self, text: str) -> str:
        """The text without its secrets, in whatever spelling they stand there."""
        for secret in self.secrets():
            text = redacted(text, secret) if len(secret) >= _SECRET_LEAST else text
        return text

    def integration_id(self, salt: bytes) -> str:
        """How the outbox knows this integration: a salted hash of the key, 32 hex digits."""
        return _hashed(self.integration_key or self.identity, salt)

    def __repr__(self) -> str:
        return f"Connection({self.api_url!r}, integration_key={REDACTED!r}, app_key={REDACTED!r})"


@functools.lru_cache(maxsize=None)
def _hashed(key: str, salt: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", key.encode(), salt, 1000).hex()[:32]


def redacted(text: str, secret: str) -> str:
    """The text without the secret, be it plain, percent-encoded or escaped as in JSON and Python literals."""
    if not secret:
        return text
    spellings = {
        secret,
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, REDACTED)
    # Nobody but an attacker breaks it up by what nobody sees.
    seen = _UNSEEN.sub("", secret)
    return REDACTED if seen and seen in _UNSEEN.sub("", text) else text


def _bare(option: str, text: str) -> str:
    """What was copied from the console, without the space around it.

    :raises InvalidConnection: where more than space was copied along.
    """
    text = text.strip()
    problem = _WRAPPED.get(text[:1]) or _WRAPPED.get(text[-1:])
    if problem is not None:
        raise InvalidConnection(option, problem)
    return text


def _address_and_key(options: Mapping[str, Any]) -> tuple[str, str]:
    if options.get("push_url"):
        return _from_push_url("push_url", _bare("push_url", str(options["push_url"])), options)
    api_url = _api_url(options)
    if options.get("integration_key"):
        return api_url, _key("integration_key", str(options["integration_key"]))
    if options.get("integration_key_file"):
        text = _from_file("integration_key_file", options, "A key itself goes into integration_key")
        if "://" in text:
            return _from_push_url("integration_key_file", text, options)
        return api_url, _key("integration_key_file", text)
    raise MissingKey


def outbox_url_of(options: Mapping[str, Any]) -> str | None:
    """The address of the shared outbox; None where no option names it.

    :raises InvalidConnection: naming the option and what is wrong with it.
    """
    option = next((name for name in OUTBOX_URL_OPTIONS if options.get(name)), None)
    if option is None:
        return None
    from ansible_collections.flashcat.flashduty.plugins.module_utils import _outbox_url

    if option == "outbox_url":
        url = _bare(option, str(options[option]))
    else:
        url = _from_file(option, options, "An address itself goes into outbox_url")
    problem = _outbox_url.problem_of(url)
    if problem is not None:
        raise InvalidConnection(option, problem)
    return url


def _from_file(option: str, options: Mapping[str, Any], hint: str) -> str:
    path = usable_path(option, str(options[option]))
    try:
        with open(path, encoding="utf-8") as file:
            return _bare(option, file.read(4096))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        # Without the path: it may be the secret, put here by mistake.
        raise InvalidConnection(option, f"the file that it names cannot be read: {reason}. {hint}") from None


def _api_url(options: Mapping[str, Any]) -> str:
    address = _bare("api_url", str(options.get("api_url") or DEFAULT_API_URL)).rstrip("/")
    if PUSH_PATH in address:
        raise InvalidConnection("api_url", "contains a Push URL, which goes into push_url")
    _check_address("api_url", address, options)
    return address


def _from_push_url(option: str, url: str, options: Mapping[str, Any]) -> tuple[str, str]:
    try:
        parts = urllib.parse.urlsplit(url)
        query = urllib.parse.parse_qs(parts.query)
    except ValueError:
        raise InvalidConnection(option, "is not an address. Copy the Push URL from the Flashduty console") from None
    base, found, rest = parts.path.partition(PUSH_PATH)
    if not parts.scheme and not found:
        raise InvalidConnection(
            option,
            "is not an address. Copy the Push URL from the Flashduty console; a key alone goes into integration_key",
        )
    if not found or rest.strip("/"):
        raise InvalidConnection(
            option,
            f"its path must end in {PUSH_PATH}. Copy the Push URL of a change integration from the Flashduty console",
        )
    keys = query.get("integration_key", [])
    if len(keys) != 1:
        raise InvalidConnection(option, "must carry ?integration_key=… once, as the Flashduty console shows it")
    address = f"{parts.scheme}://{parts.netloc}{base.rstrip('/')}"
    _check_address(option, address, options)
    return address, _key(option, keys[0])


def _seconds(given: Any) -> float:
    try:
        seconds = DEFAULT_TIMEOUT if given is None else float(given)
    except (TypeError, ValueError, OverflowError):
        raise InvalidConnection("timeout", f"must be a number of seconds, got {str(given)[:60]!r}") from None
    if not 0 < seconds <= 3600:
        raise InvalidConnection("timeout", f"must be more than 0 and at most 3600 seconds, got {seconds:g}")
    return seconds


def _key(option: str, text: str) -> str:
    key = _bare(option, text)
    if "://" in key or PUSH_PATH in key:
        raise InvalidConnection(option, "contains an address. The Push URL of the Flashduty console goes into push_url")
    if "integration_key=" in key:
        raise InvalidConnection(option, "contains integration_key=, which is not part of the key. Remove it")
    if not key or not key.isprintable() or any(character.isspace() for character in key):
        raise InvalidConnection(option, "must contain one key, without spaces or line breaks")
    if len(key) > _KEY_MAX:
        raise InvalidConnection(option, f"must have at most {_KEY_MAX} characters, got {len(key)}")
    return key


def _check_address(option: str, api_url: str, options: Mapping[str, Any]) -> None:
    try:
        parts = urllib.parse.urlsplit(api_url)
        host, _port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        parts, host = urllib.parse.urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host or not api_url.isprintable() or " " in api_url:
        more = "" if option == "api_url" else f"{PUSH_PATH}?integration_key=…"
        raise InvalidConnection(option, f"must be an address such as {DEFAULT_API_URL}{more}")
    if parts.username is not None:
        raise InvalidConnection(option, "must not contain a user name")
    if parts.query or parts.fragment:
        raise InvalidConnection(option, "must not contain a query or a fragment")
    if parts.scheme == "http" and not is_loopback(host) and host not in _listed(options.get("plain_http_hosts") or ()):
        raise InvalidConnection(
            option,
            f"plain http to {host} would show the integration key to the network. Use https, "
            f"or name the host in plain_http_hosts if that network is trusted",
        )


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def is_loopback(host: str) -> bool:
    """Whether the host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def usable_path(option: str, path: str) -> str:
    """The path with its user's home folder filled in.

    :raises InvalidConnection: where no file can have such a name.
    """
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise InvalidConnection(option, "contains a character that a file name cannot contain") from None
    if "\0" in path:
        raise InvalidConnection(option, "contains a NUL character, which a file name cannot contain")
    return os.path.expanduser(path)


def _readable(options: Mapping[str, Any], option: str) -> str | None:
    if not options.get(option):
        return None
    path = os.path.abspath(usable_path(option, str(options[option])))
    if not os.access(path, os.R_OK):
        raise InvalidConnection(option, f"cannot read {path}")
    return path
