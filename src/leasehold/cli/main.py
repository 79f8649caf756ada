"""The entry point.

`run` is told apart before anything heavy is imported: it may cost a command hardly any time.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line of this process. Returns its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:
        from leasehold.cli.run.program import main as run

        code = run(arguments[1:], os.environ)
        # Nothing is left to tidy up, and taking the interpreter down takes longer than all of the asking did.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    from leasehold.cli.app import main as app

    return app(arguments)
