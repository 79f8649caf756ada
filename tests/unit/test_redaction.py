"""Secrets are found by name, by shape and by value, in every encoding, and little else is (OPS-8)."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.runtime.ids import new_token
from leasehold.runtime.redaction import KNOWN_MAX, REDACTED, TEXT_MAX, Redactor


def encodings(secret: str) -> list[str]:
    """How a secret may be written down."""
    raw = secret.encode()
    return [
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        *(encode(b"x" * n + raw).decode() for n in range(3) for encode in (b64encode, urlsafe_b64encode)),
    ]


@pytest.mark.requirement("OPS-8")
def test_tokens_are_found_by_their_shape() -> None:
    """A token that nobody registered is taken out, as it is and in base64 at every alignment."""
    for _ in range(50):
        token = new_token()
        for text in encodings(token):
            shown = Redactor().text(f"before {text} after")
            assert REDACTED in shown
            assert token not in shown
            assert text[8:-4] not in shown
            assert shown.startswith("before ")
            assert shown.endswith(" after")


@pytest.mark.requirement("OPS-8")
@settings(max_examples=50)
@given(st.text(min_size=8, max_size=40).filter(lambda text: len(text.encode("utf-8", "ignore")) >= 8))
def test_known_values_are_found_in_every_encoding(secret: str) -> None:
    """Whatever a known secret looks like, none of its usual spellings comes through."""
    if any(0xD800 <= ord(letter) < 0xE000 for letter in secret):
        return
    redactor = Redactor([secret])
    for text in encodings(secret):
        assert text[4:-4] not in redactor.text(f"<{text}>") or len(text) < 12
        assert REDACTED in redactor.text(f"<{text}>")


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdefghijkl", "Authorization: [redacted]"),
        ("https://user:pass@host/path", "https://[redacted]@host/path"),
        ("mysql --password hunter2 db", "mysql --password [redacted] db"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=[redacted] psql"),
        ("api_key: k-12345, x", "api_key: [redacted], x"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----", "[redacted]"),
    ],
)
def test_secrets_are_found_by_their_surroundings(text: str, left: str) -> None:
    """Headers, addresses, flags, variables and keys; what stands around them is kept."""
    assert Redactor().text(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "fencing_token 8589934593",
        "the password test suite",
        "tokenise the corpus",
        "https://host:8080/path@version",
        "secretary",
        "lease-7f3k2m9q4x0vb",
        "make -j8 basic tests",
    ],
)
def test_innocent_texts_stay(text: str) -> None:
    """Words that only look alike are left alone."""
    assert Redactor().text(text) == text
    assert Redactor().record({"event": text, "fencing_token": 12})["fencing_token"] == 12


@pytest.mark.requirement("OPS-8")
def test_records_are_cleaned_by_the_names_of_their_fields() -> None:
    """A text under a telling name goes, at any depth; numbers, and names that only contain it, stay."""
    record: dict[str, Any] = {
        "password": "x",
        "Authorization": "y",
        "inner": {"api-key": "z", "list": [{"refresh_token": "w", "port": 1}]},
        "tokens_left": "3",
        "fencing_token": 7,
        "ok": True,
        "none": None,
    }
    assert Redactor().record(record) == {
        "password": REDACTED,
        "Authorization": REDACTED,
        "inner": {"api-key": REDACTED, "list": [{"refresh_token": REDACTED, "port": 1}]},
        "tokens_left": "3",
        "fencing_token": 7,
        "ok": True,
        "none": None,
    }


@pytest.mark.requirement("INV-8")
def test_records_are_bounded() -> None:
    """A long text is cut, a deep one stops, and the number of known secrets has a limit."""
    deep: dict[str, Any] = {}
    deep["deep"] = deep
    record = Redactor().record({"text": "x" * (2 * TEXT_MAX), "deep": deep})
    assert len(record["text"]) == TEXT_MAX
    redactor = Redactor([f"secret-{n:04}" for n in range(KNOWN_MAX)])
    with pytest.raises(ValueError, match="more than"):
        redactor.add("one secret too many")


@pytest.mark.requirement("OPS-8")
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=5), st.booleans())
def test_a_cleaned_body_is_still_json(fields: dict[str, str], plant: bool) -> None:
    """Taking secrets out of a body keeps it well-formed, and leaves the other fields as they were."""
    if plant:
        fields = {**fields, "planted": f"a {new_token()} b"}
    cleaned = json.loads(Redactor().body(json.dumps(fields).encode()))
    assert set(cleaned) == set(fields)
    assert cleaned.get("planted", REDACTED).count(REDACTED) == 1
