"""Flag > environment > file > default, with the origin of each value (OPS-10)."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from leasehold.config.check import check
from leasehold.config.settings import Settings
from leasehold.model.priority import Priority
from leasehold.model.quiet import INPUTS, PRESETS, Endpoints, QuietSettings

PREFIX = "LEASEHOLD_"

RESERVED = frozenset(
    {
        "LEASEHOLD_CONFIG",
        "LEASEHOLD_URL",
        "LEASEHOLD_CA",
        "LEASEHOLD_TOKEN",
        "LEASEHOLD_TOKEN_FILE",
        "LEASEHOLD_LEASE",
        "LEASEHOLD_RUN",
        "LEASEHOLD_TICKET",
        "LEASEHOLD_TRACES",
    }
)
"""Variables that are no settings: where the file is, and those of clients and of work under a lease."""

RESERVED_PREFIX = "LEASEHOLD_TEST_"
"""Left to test suites."""

FILE_BYTES_MAX = 1 << 20

Key = tuple[str, ...]
"""`("log", "levels", "leasehold.api")`: a name may have dots of its own."""


class ConfigError(Exception):
    """What is set can't be used. The sentence names the key, where it was set, and what was expected."""


class Loaded(msgspec.Struct, frozen=True):
    """One version of the settings.

    `origins` maps dotted keys to where they come from; the rest are defaults. `preset_reason` says why `auto`
    took the preset that `settings.quiet.preset` names.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None
    preset_reason: str = ""
    flags: Mapping[str, Any] = MappingProxyType({})

    def origin(self, key: str) -> str:
        """Where the value of a dotted key comes from: `default`, a file, a variable, or `flag`."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = key.rpartition(".")[0]
        return "default"


def load(
    flags: Mapping[str, Any],
    env: Mapping[str, str],
    detect: Callable[[], tuple[str, str]] = lambda: ("server", ""),
) -> Loaded:
    """Read all sources. `flags` are dotted keys; `detect` finds the preset for `auto`, and says why.

    Raises ConfigError.
    """
    path = config_file(env)
    found: list[tuple[str, Key, Any]] = []
    if path is not None:
        found += [(str(path), key, value) for key, value in _leaves(_read(path), Settings, str(path))]
    found += _variables(env)
    found += [("flag", _known(key.split("."), "flag")[0], value) for key, value in flags.items()]
    preset = next((value for _, key, value in reversed(found) if key == ("preset",)), "auto")
    chosen, reason = detect() if preset == "auto" else (preset, "")
    merged: dict[str, Any] = msgspec.to_builtins(
        Settings(data=str(default_data(env)), quiet=PRESETS.get(str(chosen), QuietSettings()))
    )
    origins: dict[str, str] = {}
    for source, key, value in found:
        if key == ("quiet", "preset"):
            raise ConfigError(f"{source}: set `preset`, not quiet.preset")
        _put(merged, key, value)
        origins[".".join(key)] = source
    settings = _converted(merged, origins)
    try:
        check(settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Loaded(settings, origins, path, reason, dict(flags))


def config_file(env: Mapping[str, str]) -> Path | None:
    """The configuration file, None where there is none. One named by LEASEHOLD_CONFIG must be there."""
    named = env.get("LEASEHOLD_CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"LEASEHOLD_CONFIG: there is no file {named}")
        return Path(named)
    path = default_config_file(env)
    return path if path.is_file() else None


def default_config_file(env: Mapping[str, str]) -> Path:
    """Where the configuration file is looked for: the XDG configuration folder."""
    return _base(env, "XDG_CONFIG_HOME", ".config") / "leasehold" / "config.toml"


def default_data(env: Mapping[str, str]) -> Path:
    """The data folder where none is set: in the XDG data folder."""
    return _base(env, "XDG_DATA_HOME", ".local/share") / "leasehold"


def _base(env: Mapping[str, str], variable: str, below_home: str) -> Path:
    named = env.get(variable, "")
    if named.startswith("/"):
        return Path(named)
    return Path(env.get("HOME") or Path.home()) / below_home


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, Key, Any]]:
    """Variables that are settings: name, key, value. Raises ConfigError for unknown ones."""
    for name in sorted(env):
        if not name.startswith(PREFIX) or name in RESERVED or name.startswith(RESERVED_PREFIX):
            continue
        key, kind = _known(name.removeprefix(PREFIX).lower().split("__"), name)
        yield name, key, _parsed(env[name], kind, name)


def _parsed(text: str, kind: Any, name: str) -> Any:
    """A text as is, or JSON where the setting is a table or a list."""
    if _is_struct(kind) or get_origin(kind) in (dict, tuple, list):
        try:
            return json.loads(text)
        except ValueError:
            raise ConfigError(f"{name}: expected JSON, like a table or a list") from None
    return text


def _leaves(table: dict[str, Any], kind: Any, source: str, above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Keys of everything that a file sets. Raises ConfigError for unknown ones."""
    for name, value in table.items():
        key = (*above, name)
        inner = _below(kind, key, source)
        if isinstance(value, dict) and (_is_struct(inner) or get_origin(inner) is dict):
            yield from _leaves(value, inner, source, key)
        else:
            yield key, value


def _known(parts: list[str], source: str) -> tuple[Key, Any]:
    """The key of a setting, and its type. In a table of plain values the rest is one name, dots and all."""
    kind: Any = Settings
    key: Key = ()
    while parts:
        plain = get_origin(kind) is dict and not _is_struct(get_args(kind)[1])
        name, parts = (".".join(parts), []) if plain else (parts[0], parts[1:])
        key = (*key, name)
        kind = _below(kind, key, source)
    return key, kind


def _below(kind: Any, key: Key, source: str) -> Any:
    """The type of what the last name of `key` stands for. Raises ConfigError with the nearest there is."""
    if get_origin(kind) is dict and key[:-1] != ("quiet", "inputs"):
        return get_args(kind)[1]
    fields = dict.fromkeys(INPUTS, Endpoints) if get_origin(kind) is dict else _fields(kind)
    if key[-1] in fields:
        return fields[key[-1]]
    nearest = difflib.get_close_matches(key[-1], fields, n=1)
    hint = f"; did you mean {'.'.join([*key[:-1], nearest[0]])}?" if nearest else ""
    raise ConfigError(f"{source}: unknown setting {'.'.join(key)}{hint}")


def _fields(kind: Any) -> dict[str, Any]:
    if not _is_struct(kind):
        return {}
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in msgspec.structs.fields(kind)}


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _put(merged: dict[str, Any], key: Key, value: Any) -> None:
    *above, last = key
    for part in above:
        merged = merged.setdefault(part, {})
    if isinstance(value, dict) and isinstance(merged.get(last), dict):
        merged[last] = {**merged[last], **value}
    else:
        merged[last] = value


def _converted(merged: dict[str, Any], origins: Mapping[str, str]) -> Settings:
    try:
        merged["line"]["strict"] = [_priority(one) for one in merged["line"]["strict"]]
        return msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`")
        source = next((origins[one] for one in origins if key.startswith(one)), "settings")
        raise ConfigError(f"{source}: {key}: {_expected(what, key)}") from None


def _expected(what: str, key: str) -> str:
    """What msgspec expected, without the value that it found."""
    kind = _known(key.split("."), "settings")[1] if "[" not in key else None
    if get_origin(kind) is Literal:
        return f"expected one of {', '.join(get_args(kind))}"
    if not what.startswith("Expected"):
        return "expected one of the values in the reference"
    return f"expected{what.removeprefix('Expected').partition(', got ')[0].replace('`', '')}"


def _priority(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return int(Priority.parse(value))
        except ValueError as error:
            raise ConfigError(f"line.strict: {error}") from None
    return value
