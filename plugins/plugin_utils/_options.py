# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the callback, resolved alike for callback and tasks: variables, then environment, then ansible.cfg.

Private to this collection; may change in any release.

What is set to nothing is not set: CI systems do so with each variable that nobody has given a value.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible.plugins.loader import callback_loader

try:
    from ansible.module_utils.secrets import register_secrets
except ImportError:  # before ansible-core 2.22
    register_secrets = None

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    DEFAULT_API_URL,
    KEY_OPTIONS,
    OUTBOX_URL_OPTIONS,
    Connection,
    InvalidConnection,
    MissingKey,
    usable_path,
)

CALLBACK = "flashcat.flashduty.flashduty_change"
_NAMES = (CALLBACK, "ansible_collections.flashcat.flashduty.plugins.callback.flashduty_change")
# Templates over more than ansible-core knows when it resolves options, so they are left raw. Their variables are not in
# the documentation's `vars`, for ansible-core 2.21 would work them out, from extra variables alone, and refuse to load
# the callback where that fails.
TEMPLATES = {name: f"flashduty_{name}" for name in ("change_key", "title", "description", "link")}
# The variables that say which integration is meant.
INTEGRATION_VARIABLES = ("flashduty_push_url", "flashduty_integration_key", "flashduty_api_url")
_SECRETS = frozenset({"push_url", "integration_key", "app_key", "outbox_url"})
# Of several ways to name the same, the one that stands nearest decides alone.
ALTERNATIVES = (KEY_OPTIONS, OUTBOX_URL_OPTIONS)
_LEVELS = ("var", "env", "ini", "default")
# Set to nothing, these turn off what they do by default.
_EMPTY_IS_A_VALUE = frozenset({"label_groups", "label_vars"})
# Under this name, ansible-core knows the options without the sources that are set to nothing.
_WITHOUT_EMPTY = f"{CALLBACK} options"


def prepare() -> None:
    """Load the definitions of the options now: workers forked from this process need not load them again, each."""
    # Whatever is wrong with them, the task that needs them says.
    with contextlib.suppress(Exception):
        configured_name()


def resolved(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> dict[str, Any]:
    """Every option of the callback; templates among them are left raw.

    :param variables: the variables of a play or task that the operator has written, as Ansible holds them.
    :param template: renders one of them.
    :raises InvalidConnection: naming the variable or option that cannot be used, and why. The text holds no secret.
    """
    definitions = all_definitions()
    given = {}
    for option, definition in definitions.items():
        for name in sorted(entry["name"] for entry in definition.get("vars", ()) if entry["name"] in variables):
            value = _rendered(name, variables[name], template)
            if option in _EMPTY_IS_A_VALUE or not is_empty(value):
                given[name] = value
    options, levels = {}, {}
    for option, definition in definitions.items():
        value, origin = configured(option, definition, given)
        options[option], levels[option] = value, _level(str(origin))
    for option, name in TEMPLATES.items():
        if not is_empty(variables.get(name)):
            options[option] = variables[name]
    _keep_nearest(options, levels)
    return options


def variable_names() -> set[str]:
    """The variables that set options."""
    found = {entry["name"] for definition in all_definitions().values() for entry in definition.get("vars", ())}
    return found.union(TEMPLATES.values())


def is_default(option: str, options: Mapping[str, Any]) -> bool:
    """Whether an option has the value that it has where nobody sets it."""
    definition = C.config.get_configuration_definition(option, plugin_type="callback", plugin_name=configured_name())
    return bool(options[option] == definition.get("default"))


def state_dir(options: Mapping[str, Any]) -> str:
    """The folder that holds the outbox; that of a task counts from the current folder, as ansible-core lets the others.

    :raises InvalidConnection: where there can be no such path.
    """
    path = usable_path("state_dir", str(options.get("state_dir") or os.path.join(C.ANSIBLE_HOME, "flashduty")))
    try:
        return os.path.abspath(path)
    except OSError as error:  # the current folder was deleted
        raise InvalidConnection("state_dir", f"must be an absolute path here: {error.strerror}") from None


def configured_name() -> str:
    """The name under which ansible-core has filed the callback's options, which it loads with the callback."""
    for _attempt in range(2):
        for name in _NAMES:
            if C.config.has_configuration_definition("callback", name):
                return name
        callback_loader.get(CALLBACK, class_only=True)
    raise LookupError(f"ansible-core does not know the options of {CALLBACK}")


def all_definitions() -> Mapping[str, Mapping[str, Any]]:
    """The definitions of the options, less the environment variables and lines of ansible.cfg that are set to nothing.

    ansible-core takes an empty value for one: for false, for the current folder, for an invalid choice.
    """
    file = _config_file(C.CONFIG_FILE)
    definitions: dict[str, Mapping[str, Any]] = {}
    for option, definition in C.config.get_configuration_definitions("callback", configured_name()).items():
        if option not in _EMPTY_IS_A_VALUE:
            env = [entry for entry in definition.get("env", ()) if os.environ.get(entry["name"], "set").strip()]
            ini = [
                entry
                for entry in definition.get("ini", ())
                if file.get(entry["section"], entry["key"], fallback="set").strip()
            ]
            definition = {**definition, "env": env, "ini": ini}
        definitions[option] = definition
    C.config.initialize_plugin_configuration_definitions("callback", _WITHOUT_EMPTY, definitions)
    return definitions


def config_file(path: str | None) -> ConfigParser:
    """An ansible.cfg as ansible-core reads it; empty where it cannot be read."""
    parser = ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
    try:
        parser.read(path or (), encoding="utf-8")
    except (OSError, UnicodeError, ConfigParserError):  # then ansible-core has not read it either
        return ConfigParser()
    return parser


_config_file = functools.lru_cache(config_file)


def is_empty(value: Any) -> bool:
    """Whether an option with this value counts as not set."""
    return value is None or (isinstance(value, str) and not value.strip())


def _rendered(name: str, value: Any, template: Callable[[Any], Any]) -> Any:
    try:
        return _plain(template(value))
    except Exception as error:  # a template can raise anything
        raise InvalidConnection(
            name,
            f"its template failed{_reason(name, error)}."
            " Only what is written down counts: facts, registered results and set_fact values do not count here",
        ) from None


def configured(option: str, definition: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Any, Any]:
    """The value of an option, and where it comes from as ansible-core says it.

    :param given: variables that set options, with their values.
    :raises InvalidConnection: where the value cannot be used.
    """
    try:
        found: tuple[Any, Any] = C.config.get_config_value_and_origin(
            option, plugin_type="callback", plugin_name=_WITHOUT_EMPTY, variables=given
        )
    except Exception as error:
        valid = f". Valid are {', '.join(definition['choices'])}" if definition.get("choices") else ""
        raise InvalidConnection(option, f"cannot be used{_reason(option, error)}{valid}") from None
    return found


def _reason(name: str, error: Exception) -> str:
    """What ansible-core says, which may quote what it was given: of a secret, only what is undefined."""
    text = str(error).strip().partition("\n")[0]
    if name.removeprefix("flashduty_") not in _SECRETS:
        return f": {text}"
    undefined = re.search(r"'(\w+)' is undefined", text)
    return f": {undefined[0]}" if undefined else f" ({type(error).__name__})"


def _plain(value: Any) -> Any:
    # What a vault held is no str on older cores.
    return value if isinstance(value, (str, bool, int, float, list, tuple, Mapping, type(None))) else str(value)


def _level(origin: str) -> str:
    found = origin.split(":", 1)[0]
    return found if found in _LEVELS else "ini"


def _keep_nearest(options: dict[str, Any], levels: Mapping[str, str]) -> None:
    for names in ALTERNATIVES:
        nearest = min((_LEVELS.index(levels[name]) for name in names if options.get(name)), default=None)
        for name in names:
            if nearest is not None and _LEVELS.index(levels[name]) != nearest:
                options[name] = None


def connection_of(options: Mapping[str, Any]) -> Connection:
    """The connection that the options describe; one without a key where there is none and a preview needs none.

    :raises InvalidConnection: naming the option and what is wrong with it.
    """
    try:
        connection = Connection.from_options(options)
    except MissingKey:
        if not options["preview"]:
            raise
        return Connection(DEFAULT_API_URL, "")
    return registered(connection)


def registered(connection: Connection) -> Connection:
    """The same; ansible-core masks its secrets from now on in all output, where it can."""
    if register_secrets is not None:
        register_secrets(connection.secrets())
    return connection
