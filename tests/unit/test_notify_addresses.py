"""What is shown of a target's address, and what of it is kept out of everything else (OPS-8, OPS-14)."""

from __future__ import annotations

import pytest

from leasehold.control.notifications.addresses import secrets, shown
from leasehold.model.notification import Target, TargetKind
from leasehold.runtime.redaction import OWNERS_MAX, Redactor


def target(kind: TargetKind, url: str, secret: str = "") -> Target:
    return Target("target-1", kind, "ops", url, 0, "ann", secret=secret)


@pytest.mark.requirement("OPS-8", "OPS-14")
@pytest.mark.parametrize(
    ("kind", "url", "seen", "hidden"),
    [
        (
            "webhook",
            "https://hooks.example/services/T0123456789ABCDEF",
            "https://hooks.example/…",
            "T0123456789ABCDEF",
        ),
        ("webhook", "https://ops.example:8443", "https://ops.example:8443/", ""),
        ("webhook", "https://ops.example/?key=0123456789abcdef", "https://ops.example/…", "0123456789abcdef"),
        ("chat", "mailto://leasehold:pa%20ssw0rd@mail.example", "mailto://mail.example…", "pa ssw0rd"),
        ("chat", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops", "slack://…", "T1JJ3T3L2"),
        ("chat", "tgram://123456789:abc9efg_hijklmnop/12315544/", "tgram://…", "abc9efg_hijklmnop"),
        ("chat", "mailto://ann:pa/ss:w0rd[@mail", "mailto://…", ""),
        ("push", "https://push.example/send/abcdef0123456789", "https://push.example/…", ""),
    ],
)
def test_an_address_is_told_apart_and_not_given_away(kind: str, url: str, seen: str, hidden: str) -> None:
    """Its host is enough; what looks drawn by chance in it is a secret."""
    one = target(TargetKind(kind), url)
    assert shown(one) == seen
    assert (hidden in secrets(one)) == bool(hidden)


@pytest.mark.requirement("OPS-8")
def test_words_of_an_address_do_not_become_secrets() -> None:
    """Else they would be taken out of everything that anybody writes."""
    one = target(
        TargetKind.CHAT, "mailto://leasehold:hunter2-and-more@smtp.example.com?to=everybody@example.com"
    )
    found = secrets(one)
    for word in ("leasehold", "smtp.example.com", "everybody@example.com", "example.com"):
        assert word not in found
    assert "hunter2-and-more" in found


@pytest.mark.requirement("OPS-8")
def test_secrets_come_and_go_with_their_owner() -> None:
    """Known in every writing while they are somebody's, and not an hour longer; within a bound."""
    redactor = Redactor(["of-the-environment"])
    redactor.keep("ops", ("first-secret", "short"))
    assert redactor.text("a first-secret, short") == "a [redacted], short"
    assert "first%2Dsecret" not in redactor.text("Zmlyc3Qtc2VjcmV0")
    assert redactor.text("Zmlyc3Qtc2VjcmV0") == "[redacted]"
    redactor.keep("ops", ("second-secret",))
    assert redactor.text("first-secret second-secret") == "first-secret [redacted]"
    redactor.keep("ops", ())
    redactor.keep("nobody", ())
    assert redactor.text("second-secret of-the-environment") == "second-secret [redacted]"
    for number in range(OWNERS_MAX):
        redactor.keep(f"owner-{number}", ("something-secret",))
    with pytest.raises(ValueError, match="known already"):
        redactor.keep("one-more", ("something-secret",))
