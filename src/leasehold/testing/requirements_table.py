"""The table of requirements against the tests that really ran (PROVE-10).

As a pytest plugin it checks that every id in `@pytest.mark.requirement("LEASE-4")` stands in the
specification, and, given `--requirements-into FILE`, writes which ids were proven by a test that ran and
passed, which were skipped, and why. As a program it merges such files of one test run into one table:

    python -m leasehold.testing.requirements_table tell reports/*.json  # what was skipped, what is proven
    python -m leasehold.testing.requirements_table write reports/*.json  # rewrites the committed table
    python -m leasehold.testing.requirements_table check reports/*.json  # fails where it would change
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import pytest

SPECIFICATION = Path("docs/spec")
TABLE = Path("docs/reference/requirements.md")

_DEFINITION = re.compile(r"^- \*\*([A-Z]+-[0-9]+)\b", re.MULTILINE)
_ROW = re.compile(r"^\| ([A-Z]+-[0-9]+) \| (proven|open) \|", re.MULTILINE)
_PROPERTY = "requirement"


class Proofs(msgspec.Struct):
    """What one or several test runs showed. Tests are named without their parameters."""

    passed: dict[str, set[str]] = msgspec.field(default_factory=dict)  # test -> requirement ids
    failed: set[str] = msgspec.field(default_factory=set)
    skipped: dict[str, str] = msgspec.field(default_factory=dict)  # test -> reason
    skipped_ids: dict[str, set[str]] = msgspec.field(default_factory=dict)  # test -> requirement ids

    def merge(self, other: Proofs) -> None:
        self.passed.update(other.passed)
        self.failed |= other.failed
        self.skipped.update(other.skipped)
        self.skipped_ids.update(other.skipped_ids)

    def tests_by_id(self) -> dict[str, list[str]]:
        """Each proven id with the tests that prove it, sorted; one failing parameter disproves a test."""
        found: dict[str, set[str]] = {}
        for test, ids in self.passed.items():
            if test not in self.failed:
                for requirement in ids:
                    found.setdefault(requirement, set()).add(test)
        return {requirement: sorted(tests) for requirement, tests in found.items()}

    def unproven_by_skip(self) -> dict[str, str]:
        """Ids whose only tests were skipped here, with a reason."""
        proven = self.tests_by_id()
        return {
            requirement: self.skipped[test]
            for test, ids in sorted(self.skipped_ids.items())
            for requirement in ids
            if requirement not in proven
        }


def specified_ids(specification: Path) -> list[str]:
    """All requirement ids, by part and number. Raises ValueError on a doubled one."""
    ids: list[str] = []
    for page in sorted(specification.glob("*.md")):
        ids += _DEFINITION.findall(page.read_text(encoding="utf-8"))
    doubled = sorted({each for each in ids if ids.count(each) > 1})
    if doubled:
        raise ValueError(f"{specification}: each id is given once; given again: {', '.join(doubled)}")
    return sorted(ids, key=_by_part_and_number)


def _by_part_and_number(requirement: str) -> tuple[str, int]:
    part, number = requirement.split("-")
    return part, int(number)


def render(ids: Iterable[str], tests_by_id: Mapping[str, list[str]]) -> str:
    """The page of the reference: one row per requirement, the same text for the same run anywhere."""
    rows = []
    proven = 0
    for requirement in ids:
        tests = tests_by_id.get(requirement, [])
        proven += bool(tests)
        names = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)
        rows.append(f"| {requirement} | {'proven' if tests else 'open'} | {names} |")
    head = (
        "# Requirements and the tests that prove them\n\n"
        "Written by `make requirements` from tests that really ran and passed; see\n"
        "[how it is made](../README.md#generated-pages). A requirement without such a test is open.\n\n"
        f"{proven} of {len(rows)} have at least one proof.\n\n"
        "| id | status | tests |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


# ---- The plugin ------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file for this run's proofs."""
    parser.addoption("--requirements-into", metavar="FILE", help="write which requirements this run proved")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and collect proofs in the process that sees all reports."""
    config.addinivalue_line("markers", "requirement(*ids): the test proves these requirements of docs/spec")
    into = config.getoption("--requirements-into")
    if into and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(Path(into)), "requirements-collector")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse ids that the specification does not have, and let each report carry the ids of its test."""
    known: set[str] | None = None
    for item in items:
        for marker in item.iter_markers("requirement"):
            known = set(specified_ids(config.rootpath / SPECIFICATION)) if known is None else known
            unknown = [each for each in marker.args if each not in known]
            if unknown or not marker.args or marker.kwargs:
                raise pytest.UsageError(
                    f"{item.nodeid}: @pytest.mark.requirement takes ids that stand in {SPECIFICATION}/*.md; "
                    f"not found there: {unknown or 'none given'}"
                )
            item.user_properties.extend((_PROPERTY, each) for each in marker.args)


class _Collector:
    """Listens to the reports of a run (of all workers, if several) and writes them at its end."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._proofs = Proofs()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.partition("[")[0]
        ids = {str(value) for name, value in report.user_properties if name == _PROPERTY}
        if report.failed:
            self._proofs.failed.add(test)
        elif report.skipped and not hasattr(report, "wasxfail"):
            self._proofs.skipped[test] = _reason(report)
            self._proofs.skipped_ids[test] = ids
        elif report.passed and report.when == "call":
            self._proofs.passed[test] = ids

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._into.parent.mkdir(parents=True, exist_ok=True)
        self._into.write_bytes(
            msgspec.json.format(msgspec.json.encode(self._proofs, order="sorted"), indent=1)
        )


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


# ---- The program -----------------------------------------------------------------------------------------


def read_proofs(files: Iterable[Path]) -> Proofs:
    """The merged proofs of several runs. Raises SystemExit where a file is missing or isn't one."""
    merged = Proofs()
    for file in files:
        try:
            merged.merge(msgspec.json.decode(file.read_bytes(), type=Proofs))
        except (OSError, msgspec.MsgspecError) as exc:
            raise SystemExit(
                f"requirements: {file}: expected what --requirements-into writes: {exc}"
            ) from exc
    return merged


def differences(committed: str, proofs: Proofs) -> list[str]:
    """What a rewrite would change in the set of proven ids, leaving out ids whose tests can't run here."""
    before = {requirement for requirement, status in _ROW.findall(committed) if status == "proven"}
    now = set(proofs.tests_by_id())
    excused = proofs.unproven_by_skip()
    changes = {
        "the table says proven, but no test proved it in this run": before - now - set(excused),
        "proven in this run, but the table says open": now - before,
    }
    return [
        f"{what}: {', '.join(sorted(ids, key=_by_part_and_number))}" for what, ids in changes.items() if ids
    ]


def main(arguments: list[str]) -> int:
    """Tell, write or check the committed table from proof files; 0 done, 1 it differs, 64 wrong usage."""
    if len(arguments) < 2 or arguments[0] not in ("tell", "write", "check"):
        print(__doc__, file=sys.stderr)
        return 64
    proofs = read_proofs(Path(each) for each in arguments[1:])
    ids = specified_ids(SPECIFICATION)
    for test, reason in sorted(proofs.skipped.items()):
        print(f"skipped: {test}: {reason}")
    proven = proofs.tests_by_id()
    print(f"requirements: {len(proven)} of {len(ids)} proven by tests that ran")
    if arguments[0] == "tell":
        return 0
    if arguments[0] == "write":
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(render(ids, proven), encoding="utf-8")
        return 0
    differing = differences(TABLE.read_text(encoding="utf-8") if TABLE.exists() else "", proofs)
    for line in differing:
        print(f"requirements: {line}")
    if differing:
        print(f"requirements: {TABLE} differs; `make requirements` rewrites it from the last full run")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
