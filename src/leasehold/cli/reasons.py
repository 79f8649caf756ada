"""Reasons, as people read them: the code, the sentence, when to ask again, and what it would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasehold.cli.session import Session

if TYPE_CHECKING:
    from leasehold.wire.lease import ReasonOut


def show_reasons(session: Session, reasons: list[ReasonOut]) -> None:
    from leasehold.cli.amounts import roughly

    for reason in reasons:
        when = f"; ask again in {roughly(reason.retry_after_sec)}" if reason.retry_after_sec else ""
        session.out.text(f"  {reason.code}: {reason.sentence}{when}")
        if reason.cure:
            session.out.text(f"    it would take: {reason.cure}")
