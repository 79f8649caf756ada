"""From a job on the wire to a draft: defaults filled in, rights applied, terms interned (QUEUE-1, 19, 21)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from leasehold.control import asks, codec
from leasehold.core import admission, learn
from leasehold.core.job import ANYWAY_MS, ANYWAY_SLACK_MS, Draft
from leasehold.core.jobs import together
from leasehold.core.state import COLD_JOBS, State
from leasehold.model.charge import Totals
from leasehold.model.errors import Invalid, LeaseholdError, NeverFits, NotFound, NotPermitted
from leasehold.model.ids import from_number, to_number
from leasehold.model.job import RUNNER, JobSpec, Retry, Start, Terms
from leasehold.model.lease import UNBOUND
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.runtime.ids import digest
from leasehold.wire.depth import is_deeper
from leasehold.wire.job import PAYLOAD_BYTES, PAYLOAD_DEPTH, JobIn

KNOWN_MAX = 10_000
"""Kinds of jobs whose terms are kept at hand, so that like jobs are judged once."""

KNOWN_MS = 2_000
"""After this long they are judged anew: what was learned, and what the machine has, may have changed."""

_encode = msgspec.json.encode
_pack = msgspec.msgpack.encode


class Users:
    """Who a command may run as here. `uid_of` finds a user's number, `own` is the server's own."""

    def __init__(self, own: int, uid_of: Callable[[str], int | None]) -> None:
        self.own = own
        self.uid_of = uid_of

    def of(self, principal: Principal, wanted: str | None) -> int:
        """The uid of a command that this caller submits. Raises NotPermitted, NotFound (QUEUE-21)."""
        uid = principal.uid
        if uid is None and principal.may("job:run-as"):
            uid = self.own
        if wanted is not None:
            asked = self.uid_of(wanted)
            if asked is None:
                raise NotFound(f"exec.user: this machine has no user {wanted}")
            if asked != uid and not principal.may("job:run-as"):
                raise NotPermitted(
                    f"exec.user: {principal.name} may not run commands as {wanted} (job:run-as)"
                )
            uid = asked
        if uid is None:
            raise NotPermitted(
                f"{principal.name} is no user of this machine, so it can't submit commands; use the Unix "
                "socket, "
                "or a token with the verb job:run-as"
            )
        if self.own not in (0, uid):
            raise NotPermitted(
                f"this server runs as uid {self.own} and can't switch users: it takes commands from that "
                "user only"
            )
        return uid


class _Kind(msgspec.Struct, frozen=True):
    """Jobs alike: their terms, how long nine of ten of them take, and why no node could ever hold them."""

    terms: Terms
    p90_ms: int
    never: str


class Drafts:
    """Makes drafts. Like jobs of one caller share the work of judging them."""

    def __init__(
        self,
        settings: Callable[[], PolicySettings],
        totals: Callable[[], Totals],
        disk_of: Callable[[str], str],
        users: Users,
    ) -> None:
        self._settings = settings
        self._totals = totals
        self._disk_of = disk_of
        self._users = users
        self._kinds: dict[tuple[str, bytes], _Kind] = {}
        self._kinds_ms = 0

    def make(
        self, principal: Principal, body: JobIn, state: State, now_ms: int, wall_ms: int, *, allow_unfit: bool
    ) -> Draft:
        """A draft, without what it comes after. Raises Invalid, NotPermitted, NotFound, NeverFits."""
        payload = bytes(body.payload)
        if len(payload) > PAYLOAD_BYTES:
            raise Invalid(
                f"payload: {len(payload):,} bytes; at most {PAYLOAD_BYTES:,} are taken. Keep the data "
                "elsewhere and send where it is",
                field="$.payload",
                expected=f"at most {PAYLOAD_BYTES} bytes",
            )
        if is_deeper(payload, PAYLOAD_DEPTH):
            raise Invalid(
                f"payload: is nested deeper than {PAYLOAD_DEPTH} levels",
                field="$.payload",
                expected=f"at most {PAYLOAD_DEPTH} levels",
            )
        kind = self._kind(principal, body, state, now_ms)
        if kind.never and not allow_unfit:
            raise NeverFits(f"{kind.never}; allow_unfit keeps it until a node can", field="$")
        earliest_ms = self._time("earliest_start_at", body.earliest_start_at)
        deadline_ms = self._time("deadline_at", body.deadline_at)
        if deadline_ms and deadline_ms <= wall_ms:
            raise Invalid("deadline_at: lies in the past", field="$.deadline_at", expected="a time to come")
        if deadline_ms and earliest_ms >= deadline_ms:
            raise Invalid(
                "earliest_start_at: lies behind deadline_at",
                field="$.earliest_start_at",
                expected="a time before deadline_at",
            )
        return Draft(
            kind.terms,
            codec.encode(COLD_JOBS, self._spec(principal, body, payload)),
            len(payload),
            earliest_ms if earliest_ms > wall_ms else 0,
            deadline_ms,
            self._anyway(body, wall_ms, max(wall_ms, earliest_ms), deadline_ms, kind.p90_ms),
            unique=body.unique_key,
            index=body.index,
            held=body.hold,
        )

    def _kind(self, principal: Principal, body: JobIn, state: State, now_ms: int) -> _Kind:
        if now_ms - self._kinds_ms > KNOWN_MS or len(self._kinds) > KNOWN_MAX:
            self._kinds.clear()
            self._kinds_ms = now_ms
        key = (principal.name, _encode(_alike(body)))
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._judge(principal, body, state)
        return kind

    def _judge(self, principal: Principal, body: JobIn, state: State) -> _Kind:
        settings, totals = self._settings(), self._totals()
        if body.exec is not None and RUNNER in body.needs:
            body = msgspec.structs.replace(body, needs=[need for need in body.needs if need != RUNNER])
        if body.exec is None and RUNNER in body.needs:
            raise Invalid(
                "needs: `runner` is what commands need; send the command as `exec`",
                field="$.needs",
                expected="capabilities of workers",
            )
        if body.exec is not None and body.job_type == "generic":
            body = msgspec.structs.replace(
                body, job_type=body.exec.argv[0].rpartition("/")[2][:128] or "exec"
            )
        if not (body.cost_units or body.cost_class or body.resources or body.locks or body.slots):
            body = msgspec.structs.replace(body, cost_class="AUTO")
        ask = asks.build(
            principal, body, state, settings, totals=totals, disk_of=self._disk_of, binding=UNBOUND
        )
        runtime_ms = (body.max_runtime_sec or 0) * 1000
        ask = msgspec.structs.replace(
            ask,
            is_job=True,
            needs=tuple(sorted({*body.needs, RUNNER} if body.exec is not None else {*body.needs})),
            bound_ms=runtime_ms or ask.bound_ms,
            notice="",
            window=body.start == "window",
        )
        terms = Terms(
            "",
            ask,
            Start(body.start),
            runtime_ms,
            body.max_attempts,
            Retry(int(body.retry.base_sec * 1000), int(body.retry.cap_sec * 1000)),
            body.time_sensitive,
            body.gang,
            tuple(sorted(body.labels.items())),
            body.group,
        )
        terms = named(terms)
        never = admission.never(state, ask if body.gang == 1 else together(ask, body.gang), settings)
        return _Kind(terms, self._p90_ms(state, ask.holder, ask.job_type), never[0].sentence if never else "")

    @staticmethod
    def _p90_ms(state: State, holder: str, job_type: str) -> int:
        known = state.learned.get(f"{holder}/{job_type}")
        return learn.quantile(known.duration_ms, 90) if known is not None else 0

    def _spec(self, principal: Principal, body: JobIn, payload: bytes) -> JobSpec:
        if body.exec is None:
            return JobSpec(body.job_type, payload, body.title, principal.name, repo_url=body.repo_url)
        command, env = msgspec.structs.replace(body.exec, env={}, user=None), dict(body.exec.env)
        return JobSpec(
            body.job_type,
            _encode(command),
            body.title,
            principal.name,
            self._users.of(principal, body.exec.user),
            env,
            body.repo_url,
        )

    @staticmethod
    def _time(field: str, text: str | None) -> int:
        """Wall ms of a time on the wire; 0 for none."""
        if text is None:
            return 0
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise Invalid(
                f"{field}: no such time ({error})", field=f"$.{field}", expected="RFC 3339 with its zone"
            ) from error
        if at.tzinfo is None:
            raise Invalid(f"{field}: needs its zone, like Z or +02:00", field=f"$.{field}", expected="a zone")
        return max(1, int(at.timestamp() * 1000))

    def _anyway(self, body: JobIn, wall_ms: int, from_ms: int, deadline_ms: int, p90_ms: int) -> int:
        """From when on it starts although the machine is not quiet (QUEUE-19); 0: never."""
        if body.start_anyway_by is not None:
            return (
                0 if body.start_anyway_by == "never" else self._time("start_anyway_by", body.start_anyway_by)
            )
        by_ms = from_ms + ANYWAY_MS
        if deadline_ms:
            by_ms = min(by_ms, deadline_ms - max(2 * p90_ms, ANYWAY_SLACK_MS))
        return max(wall_ms, by_ms)


def named(terms: Terms) -> Terms:
    """The terms with their key, which is made of all the rest."""
    key = digest(_pack(msgspec.structs.replace(terms, key="")))
    return msgspec.structs.replace(terms, key=key)


def _alike(body: JobIn) -> Sequence[object]:
    """All that terms are made of: jobs that agree in it have the same."""
    return (
        body.job_type,
        body.exec.argv[0] if body.exec is not None else None,
        body.addon_id,
        body.tenant,
        body.cost_units,
        body.cost_class,
        body.resources,
        body.locks,
        body.slots,
        body.priority,
        body.constraints,
        body.path,
        body.node,
        body.needs,
        body.expected_duration_sec,
        body.max_runtime_sec,
        body.time_sensitive,
        body.start,
        body.on_busy,
        body.on_lost,
        body.enforce,
        body.max_attempts,
        body.retry,
        body.labels,
        body.gang,
        body.group,
    )


def numbers_of(after: Sequence[str]) -> list[int]:
    """The numbers of job ids. Raises Invalid."""
    found = []
    for job_id in after:
        number = to_number("job", job_id)
        if number is None:
            raise Invalid(
                f"after: {job_id[:64]} is no job id",
                field="$.after",
                expected=f"like {from_number('job', 1)}",
            )
        found.append(number)
    return found


def refused(error: LeaseholdError) -> tuple[str, str, str]:
    """Code, sentence and field of an error about one job of many."""
    return error.code, error.message, str(error.details.get("field", ""))
