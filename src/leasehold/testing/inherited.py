"""What a test run inherits from whoever started it, and its programs must not."""

from __future__ import annotations

import signal

FROM_STARTERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
"""What `nohup` and a shell's `&` leave ignored in all that they start."""


def heed_signals() -> None:
    """Let programs started from here get the signals that this process was told to ignore.

    This process goes on ignoring them: a handler of ours is no ignoring, so `exec` does not pass it on.
    """
    for number in FROM_STARTERS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
