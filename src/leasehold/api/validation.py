"""From what does not fit a schema to `field` and `expected`, never the value (OPS-2).

msgspec's sentences are taken apart; what is not known to be free of the caller's data is replaced.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import Any, Literal, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from leasehold.model.errors import Invalid

_SENTENCE = re.compile(r"^(?P<what>.*?)(?: - at (?P<in_key>`key` in )?`(?P<path>[^`]{0,256})`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>\w+)`$")
_EXPECTED = re.compile(r"^Expected (?P<what>.+?)(?:, got `[\w ]+`)?$", re.DOTALL)
_HARMLESS = {"Number out of range": "a number in range"}
_PLAIN_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")
_WHOLE = re.compile(r"^-?[0-9]{1,20}$")
"""A whole number as a query has it: `1.0` and `1e3` are none."""

_STEP = re.compile(r"\.(\w+)|\[([^\]]*)\]")


def invalid(error: msgspec.ValidationError, schema: type[msgspec.Struct], where: str) -> Invalid:
    """The domain error for a part of a request (`where`: body, query, path) that does not fit its struct."""
    sentence = _SENTENCE.match(str(error))
    assert sentence is not None, "the pattern matches every text"
    what, path = sentence["what"], sentence["path"] or "$"
    if unknown := _UNKNOWN.match(what):
        field, expected = _unknown(unknown["name"], path, schema)
    elif missing := _MISSING.match(what):
        field, expected = f"{path}.{missing['name']}", "this field, it is required"
    elif what.startswith("Invalid enum value"):
        field, expected = path, _allowed(schema, path)
    elif fits := _EXPECTED.match(what):
        field, expected = path, fits["what"].replace("`", "")
    else:
        field, expected = path, _HARMLESS.get(what, "a value that fits the schema")
    if sentence["in_key"]:
        field, expected = f"{path} (a key)", expected
    return Invalid(f"{where} {field}: expected {expected}", field=field, expected=expected)


def _unknown(name: str, path: str, schema: type[msgspec.Struct]) -> tuple[str, str]:
    struct = _type_at(schema, path)
    known = [field.encode_name for field in msgspec.structs.fields(struct)] if _is_struct(struct) else []
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    shown = f"{path}.{name}" if _PLAIN_NAME.match(name) else path
    return shown, f"no other fields than {', '.join(known) or 'none'}{hint}"


def _allowed(schema: type[msgspec.Struct], path: str) -> str:
    found = _type_at(schema, path)
    if get_origin(found) is Literal:
        return f"one of {', '.join(str(value) for value in get_args(found))}"
    return "one of the values that the schema lists"


def _type_at(schema: Any, path: str) -> Any:
    """The type that stands at a path like `$.slots[...].name`; None where it can't be told."""
    current: Any = schema
    for name, _ in _STEP.findall(path):
        current = _field_type(current, name) if name else _item_type(current)
    return _without_none(current)


def _field_type(struct: Any, name: str) -> Any:
    struct = _without_none(struct)
    if not _is_struct(struct):
        return None
    return next((field.type for field in msgspec.structs.fields(struct) if field.encode_name == name), None)


def _item_type(container: Any) -> Any:
    arguments = get_args(_without_none(container))
    return arguments[-1] if arguments else None


def _without_none(annotated: Any) -> Any:
    """Strip `| None` and Annotated."""
    while True:
        if hasattr(annotated, "__metadata__"):
            annotated = annotated.__origin__
            continue
        choices = [one for one in get_args(annotated) if one is not type(None)]
        if type(None) in get_args(annotated) and len(choices) == 1:
            annotated = choices[0]
            continue
        return annotated


def _is_struct(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, msgspec.Struct)


def query(raw: bytes, schema: type[msgspec.Struct]) -> Any:
    """Decode a query string into its struct. Raises Invalid."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=64, errors="strict")
    except ValueError:
        raise Invalid("query: expected at most 64 parameters in UTF-8, percent-encoded") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise Invalid("query: expected each parameter once")
    return converted(given, schema, "query")


@cache
def _whole_numbers(schema: type[msgspec.Struct]) -> tuple[str, ...]:
    """The names that hold whole numbers, looked up once: that takes longer than decoding a call does."""
    return tuple(
        field.encode_name for field in msgspec.structs.fields(schema) if _without_none(field.type) is int
    )


def converted(given: dict[str, str], schema: type[msgspec.Struct], where: str) -> Any:
    """Texts of a query or a path as their struct. Raises Invalid."""
    for name in _whole_numbers(schema):
        text = given.get(name)
        if text is not None and not _WHOLE.match(text):
            shown = f"$.{name}"
            raise Invalid(f"{where} {shown}: expected int", field=shown, expected="int")
    try:
        return msgspec.convert(given, schema, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, schema, where) from None
