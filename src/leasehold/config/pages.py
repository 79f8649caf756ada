"""The settings for people and programs: with their origin, as an example file, as a schema (OPS-10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from leasehold.config.load import Loaded
from leasehold.config.settings import FIXED, Settings
from leasehold.model.priority import Priority

ID = "https://json-schema.org/draft/2020-12/schema"


class Row(msgspec.Struct, frozen=True):
    """One setting: its dotted key, value and origin, and whether it takes a restart."""

    key: str
    value: Any
    origin: str
    restart: bool


def rows(loaded: Loaded) -> list[Row]:
    """Every setting, in the order of the reference."""
    return [Row(key, value, loaded.origin(key), key in FIXED) for key, value in flat(loaded.settings)]


def flat(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values as they stand in a file."""
    yield from _flat(msgspec.to_builtins(settings), "")


def _flat(table: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if f"{above}{key}" == "quiet.preset":
            continue
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file. Whatever is left out keeps its default."""
    found = msgspec.json.schema(Settings)
    for definition in found["$defs"].values():
        definition.pop("required", None)
    names = {"enum": [priority.name for priority in Priority]}
    found["$defs"]["Priority"] = {"anyOf": [names, found["$defs"]["Priority"]]}
    return {"$schema": ID, "title": "Leasehold's configuration", **found}


def example() -> str:
    """A file that sets nothing: every setting with its default, commented out."""
    lines = [
        "# Leasehold's configuration. Every line shows a default; take the # away to change it.",
        "# A flag goes before a variable (LEASEHOLD_CAPACITY__HEADROOM_PCT), a variable before this file.",
        "",
    ]
    sections: dict[str, list[str]] = {"": []}
    for key, value in flat(Settings()):
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(f"# {name} = {toml(value)}")
    for section, settings in sections.items():
        lines += ["", f"[{section}]"] if section else []
        lines += settings
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return str(value)
