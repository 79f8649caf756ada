"""Structured logs: JSON in a rotated file, pretty on a terminal, levels per logger (OPS-11, OPS-8).

Lines are handed to a thread: a slow or full disk delays no decision. What it can't take is dropped, counted,
and said.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import Full, Queue
from typing import Any, Literal, cast

import structlog

from leasehold.runtime import context
from leasehold.runtime.redaction import Redactor

FILE_BYTES_MAX = 10 << 20
FILES_KEPT = 5
"""So logs take at most 60 MiB."""

QUEUED_MAX = 10_000
"""Lines waiting for the disk."""

CLOSE_S = 2.0
"""How long a stop waits for a disk that does not keep up."""

Format = Literal["auto", "json", "pretty"]

QUIET_LOGGERS = {"uvicorn": "warning", "asyncio": "warning"}
"""Loggers of libraries, with the least that we want to hear of them."""


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; its events are names, its figures are fields."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(name))


class _Hand(QueueHandler):
    """Hands a record over as it is; drops it when the queue is full."""

    def __init__(self, queue: Queue[Any]) -> None:
        super().__init__(queue)
        self.dropped = 0
        self.errors = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.errors += 1
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1


class _Listener(QueueListener):
    """Ends although the queue is full: what is in it is written first."""

    def enqueue_sentinel(self) -> None:
        with contextlib.suppress(Full):
            cast("Queue[Any]", self.queue).put(None, timeout=CLOSE_S)


class Logs:
    """The process's logs, from `start` to `close`. `folder` None: no file."""

    def __init__(
        self,
        redactor: Redactor,
        *,
        folder: Path | None,
        form: Format = "auto",
        to_stderr: bool = True,
        file_bytes_max: int = FILE_BYTES_MAX,
        files_kept: int = FILES_KEPT,
    ) -> None:
        logging.raiseExceptions = False
        self._redactor = redactor
        handlers: list[logging.Handler] = []
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / "leasehold.log"
            handlers.append(
                RotatingFileHandler(path, maxBytes=file_bytes_max, backupCount=files_kept, delay=True)
            )
            handlers[0].setFormatter(self._formatter("json"))
        if to_stderr:
            pretty = form == "pretty" or (form == "auto" and sys.stderr.isatty())
            handlers.append(logging.StreamHandler(sys.stderr))
            handlers[-1].setFormatter(self._formatter("pretty" if pretty else "json"))
        self._hand = _Hand(Queue(QUEUED_MAX))
        self._listener = _Listener(self._hand.queue, *handlers)
        self._handlers = handlers
        self._set: dict[str, str] = {}

    @property
    def dropped(self) -> int:
        """Lines that were lost because the disk did not keep up."""
        return self._hand.dropped

    @property
    def errors(self) -> int:
        """Lines of the level error and above, since start."""
        return self._hand.errors

    def start(self, level: str, levels: Mapping[str, str]) -> None:
        """Take over all logging of the process."""
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, *_COMMON, _format_exception, _to_formatter],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            cache_logger_on_first_use=True,
        )
        root = logging.getLogger()
        root.handlers[:] = [self._hand]
        root.setLevel(logging.WARNING)
        for name, own in {**QUIET_LOGGERS, "leasehold": level, **levels}.items():
            self.set_level(name, own)
        self._listener.start()

    def close(self) -> None:
        """Write what is queued, and stop. A disk that hangs keeps what it has not taken."""
        logging.getLogger().handlers[:] = []
        closer = threading.Thread(target=self._listener.stop, daemon=True)
        closer.start()
        closer.join(CLOSE_S)
        if closer.is_alive():
            return
        for handler in self._handlers:
            handler.close()

    def levels(self) -> dict[str, str]:
        """The level of each logger that was given one."""
        return dict(sorted(self._set.items()))

    def set_level(self, logger: str, level: str) -> None:
        """Set the level of a logger and those below it, until restart."""
        logging.getLogger(logger).setLevel(level.upper())
        self._set[logger] = level

    def _formatter(self, form: Literal["json", "pretty"]) -> logging.Formatter:
        renderer: Any = _to_json if form == "json" else structlog.dev.ConsoleRenderer()
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_COMMON,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _format_exception,
                self._redact,
                renderer,
            ],
        )

    def _redact(self, logger: Any, method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return self._redactor.record(record)


def _add_context(logger: Any, method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in context.bound().items():
        record.setdefault(key, value)
    return record


_COMMON: list[Any] = [
    _add_context,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    structlog.processors.CallsiteParameterAdder(
        {
            structlog.processors.CallsiteParameter.MODULE,
            structlog.processors.CallsiteParameter.FUNC_NAME,
            structlog.processors.CallsiteParameter.LINENO,
        }
    ),
]

_format_exception = structlog.processors.format_exc_info
"""In the thread that logs: the exception at hand is not known elsewhere."""

_to_formatter = structlog.stdlib.ProcessorFormatter.wrap_for_formatter


def _to_json(logger: Any, method: str, record: MutableMapping[str, Any]) -> str:
    import orjson

    return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
