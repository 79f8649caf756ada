"""Add-ons: the registry's decisions, where they may answer, and what their figures are worth."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from leasehold.config.check import check
from leasehold.config.settings import Settings
from leasehold.core import addon as addons
from leasehold.core.admission import reasons
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.addon import Addon, RequestFigures
from leasehold.model.charge import Charge
from leasehold.model.errors import NotFound, Overloaded
from leasehold.model.lease import Ask
from leasehold.model.owner import Block, InForce
from leasehold.model.refusal import Code
from leasehold.model.settings import AddonSettings, PolicySettings
from leasehold.testing.waiting import quiet

NOW_MS = 1_000_000
STAMP = Stamp(NOW_MS, 1_800_000_000_000, 1, 0)
LOOPBACK = addons.networks(("127.0.0.0/8", "::1"))


def record(addon_id: str = "shop", **more: Any) -> Addon:
    """A registration as somebody sends it."""
    return Addon(addon_id, more.pop("name", "Shop"), more.pop("version", "1"), 0, "token:admin", **more)


def done(state: State, outcome: Outcome) -> Outcome:
    """The same, applied."""
    for change in outcome.changes:
        state.apply(change)
    return outcome


def kinds(outcome: Outcome) -> list[str]:
    return [event.kind for event in outcome.events]


@pytest.mark.requirement("SENSE-21")
def test_registering_again_changes_what_is_known_and_never_whether_it_is_allowed() -> None:
    """The same again is no event; a disabled one that starts anew stays disabled."""
    state = State("node-1")
    assert kinds(done(state, addons.register(state, record(), STAMP, "a"))) == ["AddonRegistered"]
    assert kinds(addons.register(state, record(), STAMP, "b")) == []
    assert kinds(done(state, addons.set_enabled(state, "shop", False, STAMP, "a"))) == ["AddonDisabled"]
    assert kinds(addons.set_enabled(state, "shop", False, STAMP, "a")) == []
    assert kinds(done(state, addons.register(state, record(version="2"), STAMP, "a"))) == ["AddonChanged"]
    assert (state.addons["shop"].enabled, state.addons["shop"].version) == (False, "2")
    assert kinds(done(state, addons.set_enabled(state, "shop", True, STAMP, "a"))) == ["AddonEnabled"]
    assert kinds(done(state, addons.remove(state, "shop", STAMP, "a"))) == ["AddonRemoved"]
    assert state.addons == {}
    with pytest.raises(NotFound, match="addon list"):
        addons.remove(state, "shop", STAMP, "a")


@pytest.mark.requirement("SENSE-21", "INV-8")
def test_the_registry_is_bounded() -> None:
    """One more than it holds is refused with what to do; a known one is still taken up."""
    state = State("node-1")
    for number in range(addons.ADDONS_MAX):
        done(state, addons.register(state, record(f"a{number}"), STAMP, "a"))
    with pytest.raises(Overloaded, match="remove"):
        addons.register(state, record("one-more"), STAMP, "a")
    assert kinds(addons.register(state, record("a0", version="9"), STAMP, "a")) == ["AddonChanged"]


@pytest.mark.requirement("SENSE-21", "LEASE-4")
@pytest.mark.parametrize(
    "charge",
    [Charge(units=10), Charge(units=10, cpu_millicores=10**9), Charge(named=(("lock:db", 1),))],
    ids=["work", "what never fits", "a lock"],
)
def test_a_disabled_addon_is_told_so_before_everything_else(charge: Charge) -> None:
    """Above a block, a busy machine and what could never fit; for locks too; nobody else is touched."""
    state = State("node-1")
    state.view = quiet(10)
    state.owner = InForce(0, 1 << 60, {"": Block("blocked", "wait", 1 << 60)})
    done(state, addons.register(state, record(), STAMP, "a"))
    done(state, addons.set_enabled(state, "shop", False, STAMP, "a"))
    settings = PolicySettings()
    found = reasons(state, Ask("shop", "job", charge, "node-1"), NOW_MS, settings)
    assert found[0].code is Code.ADDON_DISABLED
    assert "shop is disabled" in found[0].sentence
    assert "leasehold addon enable shop" in found[0].cure
    assert len(found) > 1
    others = reasons(state, Ask("other", "job", charge, "node-1"), NOW_MS, settings)
    assert Code.ADDON_DISABLED not in {reason.code for reason in others}
    done(state, addons.set_enabled(state, "shop", True, STAMP, "a"))
    again = reasons(state, Ask("shop", "job", charge, "node-1"), NOW_MS, settings)
    assert [reason.code for reason in again] == [reason.code for reason in others]


# -- where it answers


@pytest.mark.requirement("SENSE-21")
@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://[::1]/app/v1/", "https://[::1]:443/app/v1"),
        ("http://LocalHost:80", "http://localhost:80"),
    ],
)
def test_a_base_address_has_one_form(text: str, canonical: str) -> None:
    """However it was typed."""
    assert str(addons.base_url(text)) == canonical


@pytest.mark.requirement("SENSE-21")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8000",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70",
        "unix:/run/docker.sock",
        "http://user:secret@127.0.0.1",
        "http://127.0.0.1:8000?x=1",
        "http://127.0.0.1:8000#x",
        "http://127.0.0.1:0",
        "http://127.0.0.1:70000",
        "http://127.0.0.1/a/../b",
        "http://127.0.0.1/%2e%2e",
        "http://127.0.0.1\\@evil.example",
        "http://127.0.0.1 /",
        "http://127.0.0.1\r\nx: y",
        "http://127.0.0.1:8000\n",
        "http://",
        "http://ｅvil.example",
    ],
)
def test_what_is_no_plain_http_address_is_refused(text: str) -> None:
    """Other schemes, credentials, questions, tricks with paths and line ends."""
    with pytest.raises(ValueError, match="expected"):
        addons.base_url(text)


@pytest.mark.requirement("SENSE-21")
@pytest.mark.parametrize(
    "addresses",
    [
        ("10.0.0.1",),
        ("169.254.169.254",),
        ("0.0.0.0",),
        ("::",),
        ("fe80::1%eth0",),
        ("::ffff:10.0.0.1",),
        ("127.0.0.1", "10.0.0.1"),
        (),
    ],
)
def test_one_address_outside_forbids_a_host(addresses: tuple[str, ...]) -> None:
    """Also where others of it are allowed: the name could lead to either."""
    if not addresses:
        assert addons.admitted("x", addresses, LOOPBACK) == ()
        return
    with pytest.raises(ValueError, match="allowed_hosts"):
        addons.admitted("rebound.example", addresses, LOOPBACK)


@pytest.mark.requirement("SENSE-21")
def test_loopback_is_allowed_in_all_its_forms() -> None:
    """IPv4 within IPv6 counts as IPv4, and `localhost` needs one of its two addresses."""
    assert addons.admitted("h", ("::ffff:127.0.0.1", "127.9.9.9"), LOOPBACK)
    only_v4 = addons.networks(("127.0.0.1",))
    assert addons.admitted("localhost", addons.literal_addresses("localhost"), only_v4) == ("127.0.0.1",)
    with pytest.raises(ValueError, match="localhost"):
        addons.admitted("localhost", addons.literal_addresses("localhost"), addons.networks(("10.0.0.0/8",)))
    assert addons.networks(("localhost",)) == addons.networks(("127.0.0.0/8", "::1/128"))
    with pytest.raises(ValueError, match="evil"):
        addons.networks(("evil.example",))


@pytest.mark.requirement("SENSE-21", "OPS-10")
def test_where_addons_may_be_is_checked_when_it_is_configured() -> None:
    """A name there would be no bound at all: it could lead anywhere."""
    check(Settings(addons=AddonSettings(("127.0.0.1", "10.0.0.0/8", "localhost"))))
    with pytest.raises(ValueError, match=r"addons.allowed_hosts: shop.example: expected an address"):
        check(Settings(addons=AddonSettings(("shop.example",))))


# -- what it tells of itself


@pytest.mark.requirement("SENSE-22")
@pytest.mark.parametrize(
    ("raw", "taken", "refused"),
    [
        ({"rps": 2, "p95_ms": 40.5}, RequestFigures(rps=2.0, p95_ms=40.5), ""),
        ({"rps": 1e300, "error_pct": 5_000}, RequestFigures(rps=1e6, error_pct=100.0), ""),
        ({"rps": 10**400, "in_flight": math.inf}, RequestFigures(rps=1e6, in_flight=1e6), ""),
        ({"rps": -1, "p95_ms": 40}, RequestFigures(p95_ms=40.0), "rps"),
        ({"rps": math.nan}, RequestFigures(), "rps"),
        ({"rps": "many", "in_flight": True, "p95_ms": [1]}, RequestFigures(), "rps, in_flight, p95_ms"),
        ({"other": 1, "rps": None}, RequestFigures(), ""),
        (["rps"], RequestFigures(), "expected an object"),
    ],
)
def test_figures_are_cut_to_size_or_refused(raw: Any, taken: RequestFigures, refused: str) -> None:
    """Absurd ones are cut; what is no number from 0 is left out and named, and harms no other."""
    figures, why = addons.judged(raw)
    assert figures == taken
    assert refused in why
    assert bool(why) == bool(refused)


@pytest.mark.requirement("SENSE-22")
def test_the_worst_application_counts_and_is_named() -> None:
    """For each figure the greatest, whoever told it."""
    worst = addons.worst(
        {
            "calm": RequestFigures(rps=20.0, in_flight=1, error_pct=0.0, p95_ms=12.0),
            "slow": RequestFigures(rps=1.5, in_flight=7, error_pct=2.5, p95_ms=700.0),
        }
    )
    assert (worst.p95_ms, worst.in_flight, worst.requests_per_1000_s, worst.errors_bp) == (
        700,
        7,
        20_000,
        250,
    )
    assert worst.notes == {"p95_ms": "slow", "in_flight": "slow", "rps": "calm", "error_pct": "slow"}
    assert addons.worst({}).p95_ms is None


@pytest.mark.requirement("SENSE-22")
def test_one_slow_page_a_minute_is_no_load() -> None:
    """p95 and errors of hardly any requests don't count; where nobody tells the rate they do."""
    rare = RequestFigures(rps=0.05, in_flight=0, error_pct=100.0, p95_ms=5_000.0)
    assert (addons.worst({"a": rare}).p95_ms, addons.worst({"a": rare}).errors_bp) == (None, None)
    assert addons.worst({"a": RequestFigures(p95_ms=5_000.0)}).p95_ms == 5_000


def test_numbers_for_history_are_named_and_bounded() -> None:
    """Dotted names; no texts, no absurd figures, no odd names; never more than the bound."""
    custom = {"queue": {"length": 3, "ok": True}, "note": "x", "huge": 1e300, 'a"b': 1, "list": [1, 2]}
    assert addons.numbers(custom) == {"custom.queue.length": 3, "custom.queue.ok": 1}
    many = addons.numbers({f"n{number}": number for number in range(1_000)})
    assert list(many)[:2] == ["custom.n0", "custom.n1"]
    assert len(many) == addons.NUMBERS_MAX
    assert addons.numbers("no object") == {}


json_values = some.recursive(
    some.none() | some.booleans() | some.floats() | some.integers() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@pytest.mark.requirement("SENSE-22")
@given(json_values)
def test_nothing_that_is_told_breaks_the_judging(value: Any) -> None:
    """Whatever comes, every figure is from 0 to its bound, and every number for history is finite."""
    figures, _ = addons.judged(value)
    for name in RequestFigures.__struct_fields__:
        told = getattr(figures, name)
        assert told is None or 0 <= told <= getattr(addons.MOST, name)
    found = addons.numbers(value)
    assert len(found) <= addons.NUMBERS_MAX
    assert all(math.isfinite(number) for number in found.values())
    addons.worst({"a": figures})


@pytest.mark.parametrize(("levels", "deep"), [(7, False), (8, False), (9, True), (200, True)])
def test_depth_is_told(levels: int, deep: bool) -> None:
    """Counted in objects and lists."""
    value: Any = 1
    for number in range(levels):
        value = {"a": value} if number % 2 else [value]
    assert addons.deeper_than(value, addons.DEPTH_MAX) is deep
