"""A TCP proxy on loopback that loses or delays what passes, and is silent about it: a network that fails.

A connection that has lost bytes can't go on; `heal` cuts it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

CHUNK = 1 << 16


class LossyProxy:
    """Passes everything to `target` (`host:port`) until told otherwise. A context manager."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._loses_requests = False
        self._loses_answers = False
        self._flows = threading.Event()
        self._flows.set()
        self._closed = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def lose(self, *, requests: bool = False, answers: bool = False) -> None:
        """From now on nothing passes to the target, or nothing comes back from it."""
        self._loses_requests, self._loses_answers = requests, answers

    def hold(self, is_held: bool) -> None:
        """Keep everything that goes to the target, or let go what was kept: it comes late, and whole."""
        if is_held:
            self._flows.clear()
        else:
            self._flows.set()

    def heal(self) -> None:
        """Pass everything again, on new connections."""
        self.lose()
        self.cut()

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((near, far))
            threading.Thread(target=self._serve, args=(near, far), daemon=True).start()

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        """Both ways of one connection; closes its ends when both are over."""
        back = threading.Thread(target=self._pump, args=(far, near, False), daemon=True)
        back.start()
        self._pump(near, far, True)
        back.join()
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        try:
            while data := source.recv(CHUNK):
                if is_request:
                    self._flows.wait()
                if not (self._loses_requests if is_request else self._loses_answers):
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
