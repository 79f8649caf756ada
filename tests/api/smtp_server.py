"""A small SMTP server for tests: takes what is sent to it, and asks for a password if wanted."""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage
from types import TracebackType
from typing import Self, cast


class Mailbox:
    """Listens on loopback. `mails` are those that came; `password` is asked for where it is set (RFC 4954);
    `refuses` is said to every recipient in the place of 250.
    """

    def __init__(self, user: str = "", password: str = "") -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.refuses = ""
        self._expected = base64.b64encode(f"\0{user}\0{password}".encode()).decode() if password else ""
        mailbox = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                mailbox.serve(self)

        class Listening(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Listening(("127.0.0.1", 0), Session)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def serve(self, session: socketserver.StreamRequestHandler) -> None:
        """One connection, by RFC 5321 as far as clients use it."""

        def say(line: str) -> None:
            session.wfile.write(f"{line}\r\n".encode())

        say("220 test")
        while raw := session.rfile.readline(4096):
            line = raw.decode("latin-1").strip()
            match line.upper().split(" ")[0]:
                case "EHLO":
                    say("250-test")
                    say("250-AUTH PLAIN" if self._expected else "250-SIZE 1000000")
                    say("250 8BITMIME")
                case "AUTH":
                    say("235 welcome" if line.split(" ")[-1] == self._expected else "535 wrong password")
                case "RCPT" if self.refuses:
                    say(self.refuses)
                case "RCPT":
                    self.recipients.append(line)
                    say("250 fine")
                case "DATA":
                    say("354 go on")
                    self._take(session)
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 fine")

    def _take(self, session: socketserver.StreamRequestHandler) -> None:
        lines = []
        while (line := session.rfile.readline()) and line != b".\r\n":
            lines.append(line)
        found = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        self.mails.append(cast(EmailMessage, found))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def text_of(mail: EmailMessage) -> str:
    """What a mail says, as plain text."""
    part = mail.get_body(preferencelist=("plain", "html"))
    assert part is not None
    found: str = part.get_content()
    return found
