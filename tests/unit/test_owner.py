"""The owner's word: obeyed at once, ended by itself, kept over restarts (SENSE-13, SENSE-20)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from leasehold.adapters.stores.memory import Disk, MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.control import codec
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import Ledger
from leasehold.control.scheduler import SchedulerService
from leasehold.control.supervisor import Supervisor
from leasehold.core import owner as words
from leasehold.core.state import State
from leasehold.model.errors import Invalid, NotFound, Overloaded
from leasehold.model.node import NodeView
from leasehold.model.owner import InForce, Mood
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.runtime.ids import RandomIds
from leasehold.testing.fakes import FakeProcesses, PlacesOnly, offload
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.testing.waiting import TOTALS, quiet
from leasehold.wire.lease import HeavyLeaseRequest, HeavyLeaseResponse, Resources
from leasehold.wire.owner import AdmissionIn, PretendIn, WindowIn

MONDAY_NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
MINUTE_MS = 60_000
OWNER = Principal("user:1000", "admin", frozenset({"lease:request", "lease:now"}), local=True)


class Server:
    """The services over one disk, on a clock that moves when told."""

    def __init__(self, disk: Disk, clock: ManualClock) -> None:
        self.clock = clock
        self.ledger = Ledger(MemoryStore(disk), clock, RandomIds(), lambda: State("node-1"))
        processes = FakeProcesses()
        self.archive = MemoryArchive(disk)
        self.leases = LeaseService(
            self.ledger,
            lambda: PolicySettings(),
            Bindings(processes, PlacesOnly(processes), offload, lambda lease_id: None),
            self.archive,
            Counters(),
            totals=TOTALS,
            disk_of=lambda path: "vda",
        )
        self.supervisor = Supervisor(self.leases)
        self.owner = self.supervisor.owner
        self.scheduler = SchedulerService(self.leases, lambda: "server")

    def observe(self, score: int | None = 100) -> None:
        """A measurement of this instant."""
        view = quiet(score)
        self.supervisor.observed(NodeView("node-1", self.clock.now_ms(), view.state, score, 0, TOTALS))

    async def ask(self, **wanted: object) -> HeavyLeaseResponse:
        return await self.leases.request(OWNER, HeavyLeaseRequest(**{"cost_units": 10, **wanted}))  # type: ignore[arg-type]

    async def events(self) -> list[str]:
        """The kinds of all events, in order."""
        await self.ledger.read(lambda state: None)
        records = await self.archive.events(after=0, limit=1000)
        return [event.kind for record in records for event in codec.decode_events(record)]

    async def pass_by(self, span_ms: int) -> None:
        """Time passes, and the machine is measured at its end."""
        await self.clock.advance(span_ms)
        self.observe()
        await settled()


@asynccontextmanager
async def server(disk: Disk | None = None, clock: ManualClock | None = None) -> AsyncIterator[Server]:
    clock = clock or ManualClock(wall_start_ms=MONDAY_NOON_MS)
    here = Server(disk or Disk(clock.wall_ms), clock)
    await here.supervisor.start()
    here.observe()
    try:
        yield here
    finally:
        await here.supervisor.stop()


@pytest.mark.requirement("SENSE-20")
@pytest.mark.requirement("LEASE-4")
async def test_a_block_is_obeyed_at_once_and_says_why() -> None:
    """Nothing new starts, whatever its priority; what runs goes on; locks are kept out too."""
    async with server() as here:
        before = await here.ask()
        said = await here.owner.set_admission(
            OWNER, "node-1", AdmissionIn(effect="block", for_sec=7_200, note="a call")
        )
        assert said.admission == "block"
        for wanted in ({}, {"start": "now"}, {"priority": "URGENT"}, {"cost_units": None, "locks": ["db"]}):
            answer = await here.ask(**wanted)
            assert not answer.approved
            assert answer.reasons[0].code == "BLOCKED"
            assert answer.reason == "This node is blocked until 14:00 UTC by user:1000: a call"
            assert 1 <= (answer.retry_after_sec or 0) <= 300
        assert before.lease_id in here.ledger.state.leases
        assert (await here.scheduler.status(OWNER)).headline.startswith(
            "No: this node is blocked until 14:00"
        )


@pytest.mark.requirement("SENSE-20")
async def test_a_block_ends_by_itself_and_whoever_waits_is_granted() -> None:
    """With an event at its beginning and at its end."""
    async with server() as here:
        await here.owner.set_admission(OWNER, "self", AdmissionIn(effect="block", for_sec=600))
        denied = await here.ask()
        await here.pass_by(599_000)
        assert not (await here.ask(ticket=denied.ticket)).approved
        await here.pass_by(2_000)
        assert (await here.ask(ticket=denied.ticket)).approved
        assert {"NodeBlocked", "BlockEnded"} <= set(await here.events())
        assert not here.ledger.state.words


@pytest.mark.requirement("SENSE-20")
async def test_allow_takes_a_block_back() -> None:
    """At once, and saying it twice is no error."""
    async with server() as here:
        await here.owner.set_admission(OWNER, "self", AdmissionIn(effect="block"))
        for _ in range(2):
            said = await here.owner.set_admission(OWNER, "self", AdmissionIn(effect="allow"))
            assert said.admission == "allow"
        assert (await here.ask()).approved
        assert (await here.events()).count("NodeAllowed") == 1


@pytest.mark.requirement("SENSE-20")
async def test_a_device_can_be_blocked_alone() -> None:
    """Work that names it is kept out, other work is not; an unknown device is refused with the known ones."""
    async with server() as here:
        await here.owner.set_admission(OWNER, "self", AdmissionIn(effect="block", device="gpu:0"))
        gpu = await here.ask(resources=Resources(devices={"gpu:0": 1}))
        assert gpu.reasons[0].code == "BLOCKED"
        assert gpu.reason.startswith("gpu:0 is blocked until")
        assert (await here.ask(resources=Resources(devices={"gpu:1": 1}))).approved
        assert (await here.ask()).approved
        with pytest.raises(Invalid, match="one of gpu:0, gpu:1"):
            await here.owner.set_admission(OWNER, "self", AdmissionIn(effect="block", device="gpu:7"))


@pytest.mark.requirement("SENSE-20")
async def test_a_block_is_kept_over_a_restart() -> None:
    """It holds before the first measurement, and before anything is granted."""
    clock = ManualClock(wall_start_ms=MONDAY_NOON_MS)
    disk = Disk(clock.wall_ms)
    async with server(disk, clock) as here:
        await here.owner.set_admission(OWNER, "self", AdmissionIn(effect="block", for_sec=7_200))
        await here.owner.add_window(OWNER, "self", WindowIn(effect="block", start="18:00", end="19:00"))
    again = Server(disk, clock)
    await again.supervisor.start()
    answer = await again.ask(cost_units=None, locks=["db"])
    assert answer.reasons[0].code == "BLOCKED"
    assert len((await again.owner.windows("self")).windows) == 1
    await again.supervisor.stop()


@pytest.mark.requirement("SENSE-20")
async def test_a_window_blocks_while_it_is_open() -> None:
    """It opens and closes by itself; an allow with an end lifts it meanwhile."""
    async with server() as here:
        window = await here.owner.add_window(
            OWNER, "self", WindowIn(effect="block", start="12:02", end="12:06", days=["mon"], note="meeting")
        )
        assert not window.open
        assert window.changes_at == "2026-11-23T12:02:00.000Z"
        assert (await here.ask()).approved
        await here.pass_by(2 * MINUTE_MS)
        blocked = await here.ask()
        assert blocked.reason == f"This node is blocked until 12:06 UTC by the window {window.wid}: meeting"
        await here.owner.set_admission(OWNER, "self", AdmissionIn(effect="allow", for_sec=60))
        assert (await here.ask()).approved
        await here.pass_by(MINUTE_MS)
        assert not (await here.ask()).approved
        await here.pass_by(4 * MINUTE_MS)
        assert (await here.ask()).approved


@pytest.mark.requirement("SENSE-20")
async def test_an_allow_window_lets_normal_work_start_in_normal() -> None:
    """NORMAL and above, in state NORMAL; LOW still waits for QUIET, and nothing starts in BUSY by it."""
    async with server() as here:
        await here.owner.add_window(OWNER, "self", WindowIn(effect="allow", start="11:00", end="12:02"))
        here.observe(60)
        assert (await here.ask()).approved
        assert (await here.ask(priority="LOW")).reasons[0].code == "NOT_QUIET"
        await here.clock.advance(2 * MINUTE_MS)
        here.observe(60)
        assert (await here.ask()).reasons[0].code == "NOT_QUIET"


@pytest.mark.requirement("SENSE-20")
async def test_with_only_it_starts_nowhere_else() -> None:
    """Outside, work that waits for quiet is told when the window opens; what starts now is not concerned."""
    async with server() as here:
        await here.owner.add_window(
            OWNER, "self", WindowIn(effect="allow", start="12:03", end="06:00", only=True)
        )
        waiting = await here.ask()
        assert waiting.reasons[0].code == "BLOCKED"
        assert "next at 12:03 UTC" in waiting.reason
        assert (await here.ask(start="now")).approved
        await here.pass_by(3 * MINUTE_MS)
        assert (await here.ask()).approved


@pytest.mark.requirement("SENSE-13")
async def test_a_person_can_pretend_busy_or_quiet() -> None:
    """It holds at once, over whatever is measured, and ends by itself."""
    async with server() as here:
        await here.owner.pretend(OWNER, "self", PretendIn(state="busy", for_sec=600, note="recording"))
        assert (await here.ask()).reason == "System is BUSY; waiting for QUIET"
        here.observe(100)
        status = await here.scheduler.status(OWNER)
        assert (status.quiet_state, status.quiet_score) == ("BUSY", 40)
        assert "user:1000 says that it is busy until 12:10 UTC: recording" in status.notices
        await here.owner.pretend(OWNER, "self", PretendIn(state="quiet", for_sec=600))
        here.observe(55)
        assert (await here.ask()).approved
        await here.owner.stop_pretending(OWNER, "self")
        here.observe(55)
        assert (await here.ask()).reasons[0].code == "NOT_QUIET"
        await here.owner.pretend(OWNER, "self", PretendIn(state="busy", for_sec=60))
        await here.pass_by(61_000)
        assert (await here.ask()).approved
        assert (await here.events()).count("PretendEnded") == 2


@pytest.mark.requirement("SENSE-13")
def test_nobody_can_pretend_what_would_harm() -> None:
    """Quiet hides neither missing measurements nor a PANIC of memory or disk; busy makes no PANIC milder."""
    calm = InForce(mood=Mood.QUIET, mood_sentence="ann says so")
    busy = InForce(mood=Mood.BUSY, mood_sentence="ann says so")
    unknown = quiet(None)
    assert words.seen(unknown, calm) == unknown
    panic = NodeView("n", 0, "PANIC", 10, 0, TOTALS, short_of_memory_or_disk=True)
    assert words.seen(panic, calm) == panic
    assert words.seen(panic, busy).state == "PANIC"
    by_load = NodeView("n", 0, "PANIC", 10, 0, TOTALS, cooldown_until_ms=99)
    assert (words.seen(by_load, calm).state, words.seen(by_load, calm).cooldown_until_ms) == ("QUIET", 0)
    assert words.seen(quiet(100, always=True), busy).always is False


@pytest.mark.requirement("SENSE-20")
async def test_what_makes_no_sense_is_refused_with_what_was_expected() -> None:
    """And nothing is changed by it."""
    past = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
    async with server() as here:
        say, add = here.owner.set_admission, here.owner.add_window
        with pytest.raises(Invalid, match="a time to come"):
            await say(OWNER, "self", AdmissionIn(effect="block", until=past))
        with pytest.raises(Invalid, match="not both"):
            await say(OWNER, "self", AdmissionIn(effect="block", until=past, for_sec=9))
        with pytest.raises(NotFound, match="this server's is node-1"):
            await say(OWNER, "elsewhere", AdmissionIn(effect="block"))
        with pytest.raises(Invalid, match="IANA"):
            await add(OWNER, "self", WindowIn(effect="block", start="08:00", end="09:00", zone="Mars/Base"))
        with pytest.raises(Invalid, match="whole node"):
            await add(OWNER, "self", WindowIn(effect="allow", start="08:00", end="09:00", device="gpu:0"))
        with pytest.raises(Invalid, match="effect allow"):
            await add(OWNER, "self", WindowIn(effect="block", start="08:00", end="09:00", only=True))
        with pytest.raises(NotFound, match="window list"):
            await here.owner.remove_window(OWNER, "self", "win-none")
        assert await here.events() == []


@pytest.mark.requirement("SENSE-20")
async def test_windows_can_be_replaced_and_removed_and_are_bounded() -> None:
    """Each change is an event; there are at most 64."""
    async with server() as here:
        body = WindowIn(effect="block", start="11:00", end="13:00")
        window = await here.owner.add_window(OWNER, "self", body)
        assert not (await here.ask()).approved
        moved = await here.owner.replace_window(
            OWNER, "self", window.wid, WindowIn(effect="block", start="14:00", end="15:00")
        )
        assert (moved.wid, moved.open) == (window.wid, False)
        assert (await here.ask()).approved
        await here.owner.remove_window(OWNER, "self", window.wid)
        assert (await here.owner.windows("self")).windows == []
        assert [kind for kind in await here.events() if kind.startswith("Window")] == [
            "WindowSet",
            "WindowSet",
            "WindowRemoved",
        ]
        for _ in range(64):
            await here.owner.add_window(OWNER, "self", body)
        with pytest.raises(Overloaded, match="64 windows"):
            await here.owner.add_window(OWNER, "self", body)
