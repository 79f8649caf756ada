"""Sixty real jobs: what each of them is, and how it has to end."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

MIB = 1 << 20
COST = {"cost_units": 2, "start": "now"}
"""So little that a dozen of them run side by side on a machine that others use too."""

MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "wb") if sys.argv[1] else None)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
told = {"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss << 10}
print(json.dumps(told), file=sys.stderr)
sys.exit(done.returncode if done.returncode >= 0 else 1)
"""
"""Runs a command, its output to a file where one is named, and tells what the kernel counted for it."""

BURN_S = 0.5
TAKES_MIB = 96
BURNS = (
    f"import os, time\nheld = bytearray(b'x') * ({TAKES_MIB} << 20)\n"
    f"while time.process_time() < {BURN_S}: pass\nprint('burnt')"
)
EATS_MIB = 64
EATS = "print('eats', flush=True)\nheld = bytearray(b'x') * (512 << 20)\nimport time; time.sleep(60)"
HEEDS_NOTHING = "trap '' TERM INT HUP; echo ready; while :; do sleep 0.1; done"
FORKS_AWAY = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(1, b'%d\\n' % os.getpid())
        time.sleep(600)
    os._exit(0)
time.sleep(0.5)
"""
LINES = 5_000_000
PRINTS = f"seq -f '%019.0f' {LINES}; echo end >&2"
PRINTED_BYTES = LINES * 20
TERMINAL = "test -t 0 && test -t 1 && test -t 2 && tty | cut -c1-8; stty size; printf typed > /dev/tty"
SPAN = "date +%s.%N; {}; date +%s.%N"
THIRD_TIME = 'echo "attempt $LEASEHOLD_ATTEMPT"; test "$LEASEHOLD_ATTEMPT" = 3'
SOURCES = 4
ARRAY, ARRAY_AT_ONCE, ALONE = 10, 3, 4
GANG = 3
LATER_S = 6.0


@dataclass
class Task:
    """One job: as it is submitted, and as it has to end."""

    name: str
    body: dict[str, Any]
    state: str = "DONE"
    exit_code: int | None = 0
    signal: str = ""
    started: bool = True


class Work:
    """The tasks, in a folder of their own."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.python = folder, python
        self.tasks: list[Task] = []
        os.chmod(folder, 0o755)
        (folder / "array").mkdir()
        (folder / "gang").mkdir()
        self.corpus = folder / "corpus.tar"
        self.is_root = os.geteuid() == 0
        self.later = datetime.now(UTC) + timedelta(seconds=LATER_S)
        self._files()
        self._compressions()
        self._build()
        self._failing()
        self._odd()
        self._arrays()
        self._dependencies()
        self._others()

    def task(self, name: str, argv: Sequence[str], **more: Any) -> Task:
        """Add a command. Fields of `Task` are taken as such, those of `exec` from `run`, others are the job's."""
        of_task = {key: more.pop(key) for key in ("state", "exit_code", "signal", "started") if key in more}
        run = {"argv": list(argv), "cwd": str(self.folder), "grace_sec": 1, **more.pop("run", {})}
        body = {**COST, "key": name, "title": name, "group": "sixty", "exec": run, **more}
        made = Task(name, body, **of_task)
        self.tasks.append(made)
        return made

    def sh(self, name: str, script: str, **more: Any) -> Task:
        return self.task(name, ["bash", "-c", script], **more)

    def measured(self, name: str, argv: Sequence[str], out: str = "", **more: Any) -> Task:
        """A command that is measured by the kernel beside us; it tells on stderr."""
        return self.task(name, ["/usr/bin/python3", "-I", "-S", "-c", MEASURED, out, *argv], **more)

    def _files(self) -> None:
        """Real files to compress: Python's own library, 12 MB of it. And a secret that others can't read."""
        library = Path(os.__file__).parent
        size = 0
        with tarfile.open(self.corpus, "w") as tar:
            for path in sorted(library.glob("*.py")) + sorted(library.glob("[a-z]*/*.py")):
                size += path.stat().st_size
                if size > 12 * MIB:
                    break
                tar.add(path, path.name)
        secret = self.folder / "secret"
        secret.write_text("of root\n")
        secret.chmod(0o600)

    # -- the kinds

    def _compressions(self) -> None:
        for name, *argv in (
            ("gzip -9", "gzip", "-9", "-c"),
            ("gzip -1", "gzip", "-1", "-c"),
            ("bzip2 -9", "bzip2", "-9", "-c"),
            ("bzip2 -1", "bzip2", "-1", "-c"),
            ("xz -6", "xz", "-6", "-T1", "-c"),
            ("xz -1", "xz", "-1", "-T1", "-c"),
        ):
            out = str(self.folder / f"packed {name}")
            self.measured(name, [*argv, str(self.corpus)], out)

    def _build(self) -> None:
        """A program of four sources, each compiled, then linked, then run: six jobs that come after each other."""
        units = []
        for number in range(SOURCES):
            body = "".join(
                f"unsigned f{number}_{each}(unsigned x) {{ for (unsigned i = 0; i < {each + 2}u; i++) "
                f"x = x * 1664525u + {each}u + (x >> {each % 13 + 1}); return x; }}\n"
                for each in range(150)
            )
            calls = "".join(f"  x = f{number}_{each}(x);\n" for each in range(150))
            text = f"{body}unsigned unit{number}(unsigned x) {{\n{calls}  return x;\n}}\n"
            (self.folder / f"unit{number}.c").write_text(text)
            units.append(f"unit{number}.o")
            self.measured(f"compile {number}", ["gcc", "-O2", "-c", f"unit{number}.c", "-o", units[-1]])
        declared = "".join(f"unsigned unit{number}(unsigned);\n" for number in range(SOURCES))
        chained = "".join(f"  x = unit{number}(x);\n" for number in range(SOURCES))
        main = f'#include <stdio.h>\n{declared}int main(void) {{ unsigned x = 1;\n{chained}  printf("%u\\n", x); return 0; }}\n'
        (self.folder / "main.c").write_text(main)
        after = [f"@compile {number}" for number in range(SOURCES)]
        self.measured("link", ["gcc", "-O2", "main.c", *units, "-o", "program"], after=after)
        self.task("run what was built", ["./program"], after=["@link"])

    def computed(self) -> int:
        """What the program prints, worked out here."""
        x = 1
        for _ in range(SOURCES):
            for each in range(150):
                for _ in range(each + 2):
                    x = (x * 1664525 + each + (x >> (each % 13 + 1))) & 0xFFFFFFFF
        return x

    def _failing(self) -> None:
        (self.folder / "broken.c").write_text("int main(void) { return undeclared; }\n")
        (self.folder / "plain").write_text("no program\n")
        for code in (1, 3, 255):
            self.sh(
                f"exit {code}", f"echo fails with {code} >&2; exit {code}", state="FAILED", exit_code=code
            )
        for name in ("SEGV", "KILL"):
            self.sh(
                f"dies of {name}", f"kill -{name} $$", state="FAILED", exit_code=None, signal=f"SIG{name}"
            )
        self.task("compile error", ["gcc", "-c", "broken.c"], state="FAILED", exit_code=1)
        never = {"state": "FAILED", "max_attempts": 5}
        self.task("not found", ["no-such-program"], exit_code=127, **never)
        self.task("not executable", ["./plain"], exit_code=126, **never)
        self.task("no folder", ["true"], exit_code=126, run={"cwd": "/no/such/folder"}, **never)

    def _odd(self) -> None:
        self.sh("heeds no SIGTERM", HEEDS_NOTHING, state="CANCELED", exit_code=None, signal="SIGKILL")
        self.task("forks away", [self.python, "-c", FORKS_AWAY])
        limits = {"limits": {"memory_bytes": EATS_MIB * MIB}}
        self.task("eats memory", [self.python, "-c", EATS], state="FAILED", exit_code=None, run=limits)
        self.sh("prints 100 MB", PRINTS)
        self.sh("needs a terminal", TERMINAL, run={"terminal": True})
        user = {"user": "nobody", "cwd": "/"} if self.is_root else {}
        self.sh("another user", f"id -un; cat '{self.folder}/secret'; true", run=user)
        self.sh("runs too long", "echo begun; sleep 600", max_runtime_sec=2, state="EXPIRED", exit_code=None)
        retry = {"max_attempts": 5, "retry": {"base_sec": 0.2, "cap_sec": 1}}
        self.sh("third time", THIRD_TIME, **retry)

    def _arrays(self) -> None:
        squeeze = f"gzip -9 -c '{self.corpus}' | sha256sum; echo $LEASEHOLD_ARRAY_INDEX"
        for index in range(1, ARRAY + 1):
            slots = [{"name": "sixty-array", "size": ARRAY_AT_ONCE}]
            self.sh(f"array {index}", SPAN.format(squeeze), slots=slots, index=index, cost_units=None)
        for index in range(1, ALONE + 1):
            self.sh(f"alone {index}", SPAN.format("sleep 0.2; sync"), locks=["sixty-lock"])

    def _dependencies(self) -> None:
        """A diamond; one that fails, and what comes after it, and after that; one that comes after it anyway."""
        self.sh("diamond top", SPAN.format("sleep 0.1"))
        for side in ("left", "right"):
            self.sh(f"diamond {side}", SPAN.format("sleep 0.1"), after=["@diamond top"])
        self.sh("diamond bottom", SPAN.format("true"), after=["@diamond left", "@diamond right"])
        self.sh("fails", SPAN.format("sleep 0.3") + "; exit 9", state="FAILED", exit_code=9)
        gone = {"state": "CANCELED", "exit_code": None, "started": False}
        self.sh("after the failed", "echo never", after=["@fails"], **gone)
        self.sh("after that", "echo never", after=["@after the failed"], **gone)
        self.sh("after any end", SPAN.format("true"), after=["@fails"], after_any=True)

    def _others(self) -> None:
        member = (
            "(date +%s.%N; sleep 0.5; date +%s.%N) > gang/$LEASEHOLD_GANG_RANK; echo $LEASEHOLD_GANG_SIZE"
        )
        self.sh("gang", member, gang=GANG, max_runtime_sec=120)
        gone = {"state": "CANCELED", "exit_code": None, "started": False}
        self.sh("held, then cancelled", "echo never", hold=True, **gone)
        self.sh("held, then resumed", "echo resumed", hold=True)
        self.sh("later", "date +%s.%N", earliest_start_at=self.later.isoformat())
        env = {"WORD": "a\nb 'c' $d", "EMPTY": ""}
        self.sh(
            "environment", 'printf "%s|" "$WORD" "${EMPTY-unset}" "$PWD"; cat; echo over', run={"env": env}
        )
        self.sh("bytes", "printf 'a\\xff\\x00b\\r\\n'; printf 'e\\xfe' >&2")
        self.task("burns", [self.python, "-c", BURNS])
        self.sh(
            "burns in children",
            f"for i in 1 2; do '{self.python}' -c \"$0\" & done; wait".replace("$0", BURNS),
        )
        self.task(
            "checksums",
            ["bash", "-c", f"sha256sum '{self.corpus}' && tar -tf '{self.corpus}' | sort | head -5"],
        )
