"""The service of notifications: targets, what was told, and trying again (OPS-14)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import structlog

from leasehold.control.ledger import Ledger
from leasehold.control.notifications import addresses, views
from leasehold.core import calendar, notify_target
from leasehold.core import notification as decisions
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import Invalid, LeaseholdError, NotFound, NotPermitted, Unavailable
from leasehold.model.notification import DeliveryState, Draft, Severity, Target, TargetKind
from leasehold.model.owner import Rule
from leasehold.model.principal import Principal
from leasehold.ports.notifier import Notifier, NotifyFailed
from leasehold.wire import notification as wire

log = structlog.get_logger(__name__)

TEST_S = 14.0
"""How long a test is waited for: a little more than a call may take, less than a page waits for an answer."""

LOOK_MS = 100


class Redacts(Protocol):
    """Takes known secrets out of what is written (OPS-8)."""

    def text(self, text: str) -> str:
        """The text with every secret in it replaced."""
        ...

    def keep(self, owner: str, values: Sequence[str]) -> None:
        """Know these as the secrets of somebody, instead of what was said before; none: nothing any more."""
        ...


class NotificationService:
    """One per server. `zone` is the server's own; `new_key` draws 32 random bytes."""

    def __init__(
        self,
        ledger: Ledger,
        notifier: Notifier,
        redactor: Redacts,
        zone: str,
        new_key: Callable[[], bytes],
    ) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._notifier = notifier
        self._redactor = redactor
        self._zone = zone
        self._new_key = new_key
        self._kept: dict[str, Target] = {}

    # -- secrets

    def learn(self) -> None:
        """Know the secrets of all targets, and no others: called when targets may have changed."""
        targets = self._ledger.state.notify_targets
        for target_id in [one for one in self._kept if one not in targets]:
            del self._kept[target_id]
            self._redactor.keep(target_id, ())
        for target_id, target in targets.items():
            if self._kept.get(target_id) is not target:
                self._kept[target_id] = target
                self._redactor.keep(target_id, addresses.secrets(target))

    # -- targets

    async def targets(self) -> wire.Targets:
        """All of them, the oldest first; their addresses are not shown whole to anybody."""
        wall_ms = self._clock.wall_ms()

        def build(state: State) -> wire.Targets:
            ordered = sorted(
                state.notify_targets.values(), key=lambda one: (one.created_wall_ms, one.target_id)
            )
            return wire.Targets([views.target(state, one, wall_ms) for one in ordered])

        return await self._ledger.read(build)

    async def target(self, target_id: str) -> wire.TargetOut:
        """One of them. Raises NotFound."""
        wall_ms = self._clock.wall_ms()
        return await self._ledger.read(
            lambda state: views.target(state, notify_target.find(state, target_id), wall_ms)
        )

    async def add(self, principal: Principal, body: wire.TargetIn) -> wire.TargetMade:
        """A webhook, or a chat. Raises Invalid, Conflict, Overloaded, Unavailable."""
        kind = TargetKind(body.kind)
        _check_url(kind, body.url)
        secret = _secret(kind, body.secret, self._new_key)
        target = Target(
            target_id=self._ledger.ids.new("target"),
            kind=kind,
            name=body.name or _name(kind, body.url),
            url=body.url,
            created_wall_ms=self._clock.wall_ms(),
            by=principal.name,
            secret=secret,
            severity=Severity(body.severity),
            kinds=tuple(dict.fromkeys(body.kinds)),
            quiet=_rules(body.quiet_hours),
            zone=_zone(body.zone or self._zone),
            enabled=body.enabled,
        )
        made = await self._added(target)
        return wire.TargetMade(await self.target(made.target_id), secret if body.secret is None else "")

    async def subscribe(self, principal: Principal, body: wire.SubscriptionIn) -> wire.TargetOut:
        """A browser. Raises Invalid, Conflict, Overloaded, Unavailable."""
        _check_url(TargetKind.PUSH, body.endpoint)
        target = Target(
            target_id=self._ledger.ids.new("target"),
            kind=TargetKind.PUSH,
            name=body.name,
            url=body.endpoint,
            created_wall_ms=self._clock.wall_ms(),
            by=principal.name,
            severity=Severity(body.severity),
            zone=self._zone,
            p256dh=body.keys.p256dh,
            auth=body.keys.auth,
        )
        made = await self._added(target)
        return await self.target(made.target_id)

    async def _added(self, target: Target) -> Target:
        """Check it where it will be told, and keep it. Its secrets are known before anything is written."""
        self._redactor.keep(target.target_id, addresses.secrets(target))
        try:
            await self._notifier.check(target)
            made: Target = await self._ledger.execute(partial(_add, target))
            self.learn()
        except NotifyFailed as failure:
            raise _refused(failure, target, self._redactor.text(failure.sentence)) from None
        finally:
            if target.target_id not in self._ledger.state.notify_targets:
                self._redactor.keep(target.target_id, ())
        return made

    async def change(self, principal: Principal, target_id: str, body: wire.TargetChange) -> wire.TargetOut:
        """Change what is named. Raises NotFound, NotPermitted, Invalid."""
        self._own(principal, target_id)
        said: dict[str, object] = {
            name: value
            for name in body.__struct_fields__
            if (value := getattr(body, name)) is not msgspec.UNSET
        }
        if "severity" in said:
            said["severity"] = Severity(str(said["severity"]))
        if isinstance(body.kinds, list):
            said["kinds"] = tuple(dict.fromkeys(body.kinds))
        if isinstance(body.quiet_hours, list):
            said.pop("quiet_hours")
            said["quiet"] = _rules(body.quiet_hours)
        if isinstance(body.zone, str):
            said["zone"] = _zone(body.zone)
        await self._ledger.execute(
            lambda state, stamp: notify_target.change(state, target_id, said, stamp, principal.name)
        )
        self.learn()
        return await self.target(target_id)

    async def remove(self, principal: Principal, target_id: str) -> None:
        """Forget a target, and what waits for it. Raises NotFound, NotPermitted."""
        self._own(principal, target_id)
        await self._ledger.execute(
            lambda state, stamp: notify_target.remove(state, target_id, stamp, principal.name)
        )
        self.learn()

    def _own(self, principal: Principal, target_id: str) -> None:
        """Everybody's browsers are their own; the rest takes `notification:manage`."""
        target = notify_target.find(self._ledger.state, target_id)
        is_own = target.kind is TargetKind.PUSH and target.by == principal.name
        if not is_own and not principal.may("notification:manage"):
            raise NotPermitted(f"{target.name} is {target.by}'s (notification:manage)", target_id=target_id)

    async def test(self, principal: Principal, target_id: str) -> wire.DeliveryOut:
        """Tell it that this is a test, and wait for what comes of it. Raises NotFound, Conflict."""
        self._own(principal, target_id)
        draft = Draft(
            "test",
            Severity.INFO,
            "This is a test",
            f"{principal.name} asked whether this arrives.",
            "/settings",
        )
        delivery_id = await self._ledger.execute(
            lambda state, stamp: notify_target.test(state, target_id, draft, stamp)
        )
        for _ in range(round(TEST_S * 1000 / LOOK_MS)):
            found = self._ledger.state.notify_deliveries.get(delivery_id)
            if found is None or found.state is not DeliveryState.PENDING:
                break
            await self._clock.sleep(LOOK_MS)
        return await self._delivery(delivery_id)

    # -- messages

    async def notifications(self, *, limit: int, state: str | None = None) -> wire.Notifications:
        """The newest messages, with what came of them; of a state: those with a delivery in it."""
        return await self._ledger.read(lambda found: views.notifications(found, limit, state))

    async def _delivery(self, delivery_id: str) -> wire.DeliveryOut:
        def build(state: State) -> wire.DeliveryOut:
            found = state.notify_deliveries.get(delivery_id)
            if found is None:
                raise NotFound("its target has unsubscribed, and is forgotten")
            return views.delivery(state, found)

        return await self._ledger.read(build)

    async def retry(self, principal: Principal, delivery_id: str) -> wire.DeliveryOut:
        """Send a dead one again, or one that waits at once. Raises NotFound, Conflict."""
        await self._ledger.execute(
            lambda state, stamp: decisions.again(state, delivery_id, stamp, principal.name)
        )
        return await self._delivery(delivery_id)

    async def retry_all(self, principal: Principal) -> wire.Retried:
        """Send everything again that was given up, but for tests."""
        dead = [
            one.delivery_id
            for one in self._ledger.state.notify_deliveries.values()
            if one.state is DeliveryState.DEAD and not one.once
        ]
        done = []
        for delivery_id in dead:
            try:
                await self._ledger.execute(partial(_again, delivery_id, principal.name))
                done.append(delivery_id)
            except LeaseholdError as error:
                log.info("not_retried", delivery_id=delivery_id, why=error.message)
        return wire.Retried(done)

    async def push_key(self) -> wire.PushKey:
        """What browsers subscribe with. Raises Unavailable."""
        try:
            return wire.PushKey(await self._notifier.push_key())
        except OSError as error:
            raise Unavailable(
                f"the key for web push is not there: {error.strerror}", retry_after_s=10
            ) from error


def _add(target: Target, state: State, stamp: Stamp) -> Outcome:
    return notify_target.add(state, target, stamp)


def _again(delivery_id: str, by: str, state: State, stamp: Stamp) -> Outcome:
    return decisions.again(state, delivery_id, stamp, by)


def _check_url(kind: TargetKind, url: str) -> None:
    expected = {
        TargetKind.WEBHOOK: "https://HOST/PATH, or http:// for a host of notifications.allowed_hosts",
        TargetKind.PUSH: "the https address of a push service",
        TargetKind.CHAT: "an address of apprise, like mailto://USER:PASSWORD@HOST or ntfy://HOST/TOPIC",
    }[kind]
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or kind is TargetKind.CHAT or 0 < parts.port < 65536
        has_host = bool(parts.hostname)
    except ValueError:
        port_is_good = kind is TargetKind.CHAT  # Its own forms: `mailto://user:pa/ss@host`.
        has_host = False
        parts = urlsplit("")
    if kind is TargetKind.CHAT:
        if "://" not in url or url.startswith("://"):
            raise _invalid("url", expected)
        return
    if parts.scheme not in ("http", "https") or not has_host or not port_is_good or parts.username:
        raise _invalid("endpoint" if kind is TargetKind.PUSH else "url", expected)


def _secret(kind: TargetKind, given: str | None, new_key: Callable[[], bytes]) -> str:
    if kind is not TargetKind.WEBHOOK:
        if given is not None:
            raise _invalid("secret", "nothing: only webhooks are signed")
        return ""
    if given is None:
        return f"whsec_{base64.b64encode(new_key()).decode()}"
    if given.startswith("whsec_"):
        try:
            base64.b64decode(given.removeprefix("whsec_"), validate=True)
        except ValueError:
            raise _invalid(
                "secret", "base64 behind whsec_, or any other text of 24 letters and more"
            ) from None
    return given


def _name(kind: TargetKind, url: str) -> str:
    parts = urlsplit(url)
    return (parts.hostname or "webhook") if kind is TargetKind.WEBHOOK else url.partition("://")[0][:64]


def _rules(spans: Iterable[wire.QuietHours]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            tuple(sorted({calendar.DAYS.index(day) for day in span.days})),
            _minutes(span.start),
            _minutes(span.end),
        )
        for span in spans
    )


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _zone(name: str) -> str:
    try:
        calendar.zone_of(name)
    except ValueError as error:
        raise _invalid("zone", str(error)) from error
    return name


def _refused(failure: NotifyFailed, target: Target, sentence: str) -> LeaseholdError:
    if failure.code in ("INTERRUPTED", "TIMEOUT", "INTERNAL"):
        return Unavailable(f"it could not be checked: {sentence}; try again", retry_after_s=5)
    field = "endpoint" if target.kind is TargetKind.PUSH else "url"
    return Invalid(f"{field}: {sentence}", field=f"$.{field}", expected=sentence)


def _invalid(field: str, expected: str) -> Invalid:
    return Invalid(f"{field}: expected {expected}", field=f"$.{field}", expected=expected)
