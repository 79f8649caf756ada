"""The table of requirements says what really ran, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasehold.testing import requirements_table
from leasehold.testing.requirements_table import Proofs, differences, read_proofs, render, specified_ids

pytest_plugins = ["pytester"]

SPECIFICATION = """# A part
- **TRIAL-1** first
- **TRIAL-2 Named.** second
- **TRIAL-10** tenth
  **TRIAL-3** in a sentence defines nothing
"""

TESTS = """
import pytest

@pytest.mark.requirement("TRIAL-1")
@pytest.mark.parametrize("n", [1, 2])
def test_passes(n): pass

@pytest.mark.requirement("TRIAL-2")
@pytest.mark.parametrize("n", [1, 2])
def test_fails_once(n): assert n == 1

@pytest.mark.requirement("TRIAL-10")
def test_skipped(): pytest.skip("no such machine")

@pytest.mark.requirement("TRIAL-10")
@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): assert False

def test_unmarked(): pass
"""


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """A pytest run of its own, with the plugin, over these tests."""
    specification = pytester.path / requirements_table.SPECIFICATION
    specification.mkdir(parents=True, exist_ok=True)
    (specification / "part.md").write_text(SPECIFICATION)
    pytester.makeini("[pytest]")
    pytester.makepyfile(test_trial=tests)
    return pytester.runpytest_subprocess("-p", "leasehold.testing.requirements_table", *options)


@pytest.mark.requirement("PROVE-10")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_only_tests_that_ran_and_passed_prove(pytester: pytest.Pytester, workers: str) -> None:
    """A passed test proves its ids; a failed parameter, a skip and an expected failure prove nothing."""
    run(pytester, TESTS, "-n", workers, "--requirements-into", "reports/one.json")
    proofs = read_proofs([pytester.path / "reports" / "one.json"])
    assert proofs.tests_by_id() == {"TRIAL-1": ["test_trial.py::test_passes"]}
    assert proofs.skipped == {"test_trial.py::test_skipped": "no such machine"}
    assert proofs.unproven_by_skip() == {"TRIAL-10": "no such machine"}


@pytest.mark.requirement("PROVE-10")
def test_an_unknown_id_stops_the_run(pytester: pytest.Pytester) -> None:
    """An id that the specification does not have is a mistake, so no test runs."""
    tests = 'import pytest\n@pytest.mark.requirement("TRIAL-3")\ndef test_it(): pass\n'
    result = run(pytester, tests)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "TRIAL-3" in result.stderr.str()


def test_an_id_is_given_once(tmp_path: Path) -> None:
    """Ids are never reused: the same one twice in the specification is an error that names it."""
    (tmp_path / "a.md").write_text("- **TRIAL-1** a\n")
    assert specified_ids(tmp_path) == ["TRIAL-1"]
    (tmp_path / "b.md").write_text("- **TRIAL-1** b\n")
    with pytest.raises(ValueError, match="TRIAL-1"):
        specified_ids(tmp_path)


@pytest.mark.requirement("PROVE-20")
def test_the_page_is_the_same_for_the_same_run() -> None:
    """Rows go by part and number, tests by name, whatever the order in which they came."""
    one = Proofs(passed={"tests/b.py::test_b": {"TRIAL-1"}, "tests/a.py::test_a": {"TRIAL-1", "TRIAL-2"}})
    other = Proofs(passed={"tests/a.py::test_a": {"TRIAL-2", "TRIAL-1"}, "tests/b.py::test_b": {"TRIAL-1"}})
    ids = ["TRIAL-1", "TRIAL-2", "TRIAL-10"]
    page = render(ids, one.tests_by_id())
    assert page == render(ids, other.tests_by_id())
    assert "| TRIAL-1 | proven | `a.py::test_a`<br>`b.py::test_b` |" in page
    assert "| TRIAL-10 | open |  |" in page
    assert "2 of 3 have" in page


@pytest.mark.requirement("PROVE-20")
def test_a_changed_set_of_proven_ids_is_told() -> None:
    """A lost or a new proof is a difference; a proof that this machine has to skip is none."""
    committed = render(
        ["TRIAL-1", "TRIAL-2", "TRIAL-10"],
        {"TRIAL-1": ["tests/a.py::test_a"], "TRIAL-10": ["tests/c.py::test_c"]},
    )
    same = Proofs(
        passed={"tests/a.py::test_a": {"TRIAL-1"}},
        skipped={"tests/c.py::test_c": "no etcd"},
        skipped_ids={"tests/c.py::test_c": {"TRIAL-10"}},
    )
    assert differences(committed, same) == []
    other = Proofs(passed={"tests/b.py::test_b": {"TRIAL-2"}, "tests/c.py::test_c": {"TRIAL-10"}})
    lost, won = differences(committed, other)
    assert lost.startswith("the table says proven")
    assert lost.endswith(": TRIAL-1")
    assert won.startswith("proven in this run")
    assert won.endswith(": TRIAL-2")


def test_runs_of_one_suite_merge() -> None:
    """Proofs of several runs come together, and a failure in one of them stays a failure."""
    merged = Proofs(passed={"a": {"TRIAL-1"}, "b": {"TRIAL-2"}})
    merged.merge(Proofs(passed={"c": {"TRIAL-1"}}, failed={"b"}))
    assert merged.tests_by_id() == {"TRIAL-1": ["a", "c"]}
