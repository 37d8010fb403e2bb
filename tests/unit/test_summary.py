"""The end of a run of tests: nothing that failed, and nothing that was left out, is missing in its last line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """\
import pytest

def test_good(): pass
def test_bad(): assert False
def test_missing(): pytest.skip("needs a miracle")
def test_missing_too(): pytest.skip("needs a miracle")

@pytest.fixture
def broken():
    yield
    raise OSError

def test_bad_in_the_end(broken): pass
"""


@pytest.fixture(scope="module")
def junit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run in which everything happens."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "test_all.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=all.xml"]
    subprocess.run([*command, "-c", "/dev/null", "--rootdir=."], cwd=directory, capture_output=True, check=False)
    return (directory / "all.xml").read_text("utf-8")


def summary(directory: Path, *parts: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    """What is said of these parts."""
    command = [sys.executable, str(ROOT / "tests/summary.py"), str(directory), *parts]
    return subprocess.run(command, env={"CI": ci}, capture_output=True, text=True, check=False)


def test_everything_is_counted(tmp_path: Path, junit: str) -> None:
    (tmp_path / "all.xml").write_text(junit)
    (tmp_path / "all.status").write_text("1 61")
    (tmp_path / "all.skipped").write_text("style: needs pip\n")
    done = summary(tmp_path, "all")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "== FAILED: 1 passed, 2 failed, 3 skipped (all 1:01). NOT CHECKED: 2 × needs a miracle; 1 × style: needs pip."
    )
    assert "test_all.py::test_good" in done.stdout


GOOD = '<testsuites><testsuite><testcase classname="tests.a" name="test" time="1.5"/>{}</testsuite></testsuites>'
SKIPPED = '<testcase classname="tests.a" name="other" time="0"><skipped message="needs root"/></testcase>'


@pytest.mark.parametrize(
    "status, report, ci, is_good, said",
    [
        ("0 9", GOOD.format(""), "true", True, "Passed: 1 passed, 0 failed, 0 skipped (a 0:09)."),
        ("0 9", GOOD.format(SKIPPED), "", True, "NOT CHECKED: 1 × needs root."),
        ("0 9", GOOD.format(SKIPPED), "true", False, "CI is set, so that what is not checked fails."),
        ("1 9", GOOD.format(""), "", False, "a ended with status 1"),
        ("4 9", "", "", False, "a ended with status 4"),
        ("", "", "", False, "a ended with status none"),
        ("0 9", "<testsuites>", "", False, "a has left no report"),
    ],
)
def test_what_fails_a_run(tmp_path: Path, status: str, report: str, ci: str, is_good: bool, said: str) -> None:
    """A test, a part that did not come to its end, and where CI is set, whatever was left out."""
    (tmp_path / "a.status").write_text(status)
    (tmp_path / "a.xml").write_text(report)
    done = summary(tmp_path, "a", ci=ci)
    assert (done.returncode == 0) == is_good
    assert said in done.stdout.splitlines()[-1]


def test_a_part_that_was_left_out(tmp_path: Path) -> None:
    """Nothing is wrong with a part of which nothing was to be run."""
    (tmp_path / "a.status").write_text("0 0")
    (tmp_path / "a.skipped").write_text("a: needs root\n")
    done = summary(tmp_path, "a")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("== Passed: 0 passed, 0 failed, 1 skipped")


def test_what_is_known_to_fail_is_named_and_fails_nothing(tmp_path: Path) -> None:
    """It is neither passed nor left out, where CI is set, too."""
    case = '<testcase classname="a" name="{}">{}</testcase>'
    known = '<skipped type="pytest.xfail" message="a reason"/>'
    (tmp_path / "unit.xml").write_text(f"<testsuite>{case.format('b', known)}{case.format('c', '')}</testsuite>")
    (tmp_path / "unit.status").write_text("0 1\n")
    done = summary(tmp_path, "unit", ci="true")
    assert done.returncode == 0
    assert "Passed: 1 passed, 0 failed, 0 skipped" in done.stdout
    assert "KNOWN TO FAIL: 1 × a reason" in done.stdout
