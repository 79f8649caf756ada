"""Texts of a query as numbers: what a schema calls an integer, and nothing that only looks like one."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.api import validation
from leasehold.model.errors import Invalid


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: int = 0
    share: float | None = None


@pytest.mark.requirement("OPS-2")
@pytest.mark.parametrize("text", ["0.0", "1e3", "", "0x10", "1" * 30, " 1"])
def test_only_whole_numbers_are_integers_of_a_query(text: str) -> None:
    """`after=1.0` is refused like `after=x`, with the field and never the value."""
    with pytest.raises(Invalid, match=r"query \$\.after: expected int"):
        validation.query(f"after={text}".replace(" ", "%20").encode(), Page)


def test_numbers_of_a_query_are_taken_as_their_kind() -> None:
    """Signs and fractions where they belong."""
    assert validation.query(b"after=-5&share=0.5", Page) == Page(-5, 0.5)
