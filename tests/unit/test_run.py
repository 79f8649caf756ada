"""Names of runs, what their shim writes, and logs that stay within their bound."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.adapters.hosts.run_log import part_of_log
from leasehold.model.run import RunKey, Stream
from leasehold.shim import layout
from leasehold.shim.log import CHUNK_MAX, ERR, HEADER, OUT, PART_MIN, Log, header, parse

NUMBERS = st.integers(0, (1 << 53) - 1)


@pytest.mark.requirement("QUEUE-15")
@given(NUMBERS, st.integers(0, 1 << 40), st.integers(0, 31))
def test_a_run_is_found_by_its_name(number: int, generation: int, member: int) -> None:
    """Each name means one run, and is safe as that of a folder."""
    key = RunKey(number, generation, member)
    assert RunKey.of(key.name) == key
    assert "/" not in key.name
    assert not key.name.startswith(".")


@pytest.mark.requirement("QUEUE-15")
@pytest.mark.parametrize(
    "name", ["", "kept", "job-1", "job-erqhhtqsz97", ".new-job-erqhhtqsz97.1", "job-erqhhtqsz97.01"]
)
def test_what_is_no_run_is_none(name: str) -> None:
    """Other things that lie there are left alone: also another way to write the name of a run."""
    assert RunKey.of("job-erqhhtqsz97.1") is not None
    assert RunKey.of(name) is None


@pytest.mark.requirement("QUEUE-13")
@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=30)), st.integers(0, 80))
def test_what_was_not_written_to_its_end_is_nothing(fields: dict[str, str], cut: int) -> None:
    """Text comes back as it was, without what would break a line; any part of it is nothing."""
    data = layout.text_of(dict(fields))
    whole = layout.fields_of(data + bytes(100))
    assert whole == {key: value.replace("\n", " ").replace("\0", " ") for key, value in fields.items()}
    assert layout.fields_of(data[:-1][:cut]) is None


@pytest.mark.requirement("QUEUE-15")
@given(st.integers(OUT, ERR), st.integers(0, CHUNK_MAX), NUMBERS, st.integers(0, 15), st.integers(0, 7))
def test_a_damaged_header_is_none(stream: int, length: int, wall_ms: int, at: int, bit: int) -> None:
    """A header is told from anything that differs from it in one bit."""
    good = header(stream, length, wall_ms)
    assert parse(good) == (stream, length, wall_ms)
    assert parse(good[:at]) is None
    bad = bytearray(good)
    bad[at] ^= 1 << bit
    assert parse(bytes(bad)) is None


@pytest.mark.requirement("QUEUE-15")
@given(st.lists(st.tuples(st.sampled_from((OUT, ERR)), st.integers(1, CHUNK_MAX)), max_size=400))
def test_a_log_keeps_its_bound_and_its_ends(chunks: list[tuple[int, int]]) -> None:
    """Never more than its size; the beginning and the end are there, and what is missing is counted."""
    with tempfile.TemporaryDirectory() as folder:
        log = Log(folder, 10 * PART_MIN)
        for number, (stream, size) in enumerate(chunks):
            log.add(stream, bytes([number & 0xFF]) * size)
        log.close()
        kept = sum(each.stat().st_size for each in Path(folder).iterdir())
        assert kept <= 10 * PART_MIN
        read, offset, dropped = [], 0, 0
        while not (part := part_of_log(Path(folder), offset, 1 << 20, is_over=True)).is_over:
            read += part.chunks
            dropped += part.dropped_bytes
            offset = part.next_offset
        names = {OUT: Stream.OUT, ERR: Stream.ERR}
        told = [(each.stream, each.data[:1], len(each.data)) for each in read]
        wanted = [(names[stream], bytes([n & 0xFF]), size) for n, (stream, size) in enumerate(chunks)]
        missing = len(wanted) - len(told)
        first = next(
            (n for n, (has, want) in enumerate(zip(told, wanted, strict=False)) if has != want), len(told)
        )
        assert told == wanted[:first] + wanted[first + missing :]
        assert dropped == log.dropped + missing * HEADER.size
        assert log.printed == sum(size for _, size in chunks)
