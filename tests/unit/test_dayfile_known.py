"""What is known of a day file saves reading it, and is believed only where nothing has touched the file since."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim import disk
from pvsim.dayfile import DayFiles, contents, known
from pvsim.reading import Reading
from pvsim.row import HEADER, format_row, is_row, reading_key
from tests.examples import examples
from tests.unit.dayfiles import NAME, SECOND, START, spied_reads, timed_rows

COUNT = 3000


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run, their file system counts as one that is known."""
    monkeypatch.setattr(disk, "is_local", lambda _device: True)


def readings(seconds: Sequence[float]) -> list[Reading]:
    return [Reading("Meter_0", START + int(each * SECOND), Decimal(5)) for each in seconds]


def row(second: float) -> str:
    return format_row(readings([second])[0], 1000)


def put(files: DayFiles, seconds: Sequence[float]) -> int:
    """Write and commit, which must work; return how many rows were new."""
    some = readings(seconds)
    count = files.write("Meter_0", *timed_rows(some, [1000] * len(some)))
    assert files.commit() == {}
    return count


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A full file that was closed."""
    files = DayFiles(tmp_path, UTC)
    put(files, range(COUNT))
    files.close()
    return tmp_path / NAME


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DayFiles]:
    made = DayFiles(tmp_path, UTC)
    yield made
    made.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes asked for by each read of a day file."""
    return spied_reads(monkeypatch)


def test_a_full_file_is_opened_by_its_ends(path: Path, files: DayFiles, reads: list[int]) -> None:
    """Opened again, it costs some small reads, and what stands far back is still found."""
    assert put(files, [COUNT]) == 1
    assert sum(reads) < 5_000
    assert put(files, [0, 17, COUNT - 1, COUNT]) == 0
    assert len(path.read_text().splitlines()) == COUNT + 2


def test_each_commit_tells(path: Path, reads: list[int], tmp_path: Path) -> None:
    """A process that is killed leaves what is known, too: nothing is told only at the end."""
    for number in range(3):
        files = DayFiles(tmp_path, UTC)
        assert put(files, [COUNT + number]) == 1
        for file in files._files.values():
            os.close(file._fd)  # as the kernel does for one that is killed
        del files
    assert sum(reads) < 15_000
    files = DayFiles(tmp_path, UTC)
    files.write("Meter_0", *timed_rows(readings([COUNT + 3]), [1000]))
    (file,) = files._files.values()
    os.close(file._fd)  # before the commit
    reads.clear()
    files = DayFiles(tmp_path, UTC)
    assert put(files, [COUNT + 3]) == 0
    assert sum(reads) > path.stat().st_size


def edited(path: Path) -> None:
    """Two rows have changed places, so the file is not sorted any more."""
    first, second = row(10).encode(), row(COUNT - 10).encode()
    content = path.read_bytes()
    content = content.replace(first, b"?").replace(second, first).replace(b"?", second)
    with path.open("r+b") as file:
        file.write(content)


def edited_at_the_end(path: Path) -> None:
    """The last row is of another time, far ahead."""
    with path.open("r+b") as file:
        file.seek(-len(row(COUNT - 1)) - 1, os.SEEK_END)
        file.write(row(COUNT + 50).encode())


def edited_secretly(path: Path) -> None:
    """The same, and the time of the last write set back."""
    status = path.stat()
    time.sleep(2 * known._SLACK_NS / 1e9)
    edited(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_and_filled(path: Path) -> None:
    """Of the same size again, by another program."""
    size = path.stat().st_size
    os.truncate(path, size // 2)
    os.truncate(path, size)


def grown(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{row(COUNT + 5)}\n{row(COUNT + 1)}\n")


def copied_without(path: Path) -> None:
    """A copy of the content alone takes its place."""
    shutil.copyfile(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def copied_with_it(path: Path) -> None:
    """A copy with attributes and times, in which somebody has put something right before."""
    time.sleep(2 * known._SLACK_NS / 1e9)
    status = path.stat()
    shutil.copy2(path, path.with_suffix(".new"))
    edited(path.with_suffix(".new"))
    os.utime(path.with_suffix(".new"), ns=(status.st_atime_ns, status.st_mtime_ns))
    path.with_suffix(".new").replace(path)


def forged(text: str) -> Callable[[Path], None]:
    def forge(path: Path) -> None:
        edited(path)
        status = path.stat()
        values = {"size": status.st_size, "written": status.st_mtime_ns, "now": time.time_ns()}
        os.setxattr(path, known.ATTRIBUTE, text.format(**values).encode())

    return forge


LIES = [
    edited,
    edited_at_the_end,
    edited_secretly,
    cut,
    cut_and_filled,
    grown,
    copied_without,
    copied_with_it,
    *map(forged, ["", "1", "x", "1 2 3 4", "1 {size} {written} 0 69", "2 {size} {written} {now} 69", "9" * 3000]),
    # These were set by somebody who had the right to, and it shows in the file itself.
    *map(forged, ["1 {size} {written} {now} 70", "1 {size} {written} {now}", "1 {size} {written} {now} 69 {size}"]),
    *map(forged, ["1 {size} {written} {now} 69 80 9999999", "1 {size} {written} {now} 69 -5", "1 {size} 0 {now} 69"]),
]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
def test_lies(path: Path, files: DayFiles, reads: list[int], lie: Callable[[Path], None], is_open: bool) -> None:
    """Whatever is done to a file behind our back, it is read as a whole, and each reading has one row in the end."""
    if is_open:
        put(files, [COUNT])
    lie(path)
    before = Counter(path.read_text().splitlines()[1:])
    size = path.stat().st_size
    reads.clear()
    put(files, [COUNT + 1])
    assert sum(reads) >= size - 1000
    put(files, range(COUNT + 2))
    put(files, [0, 10, COUNT - 10, COUNT - 1])
    after = Counter(line for line in path.read_text().splitlines()[1:] if is_row(line))
    assert set(after) >= {row(each) for each in range(COUNT + 2)}
    assert all(count == max(1, before[line]) for line, count in after.items())


def test_no_attributes(path: Path, files: DayFiles, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none, or no room for one: all works, and the whole file is read."""

    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", fail)
    os.removexattr(path, known.ATTRIBUTE)
    assert put(files, [COUNT - 1, COUNT]) == 1
    files.close()
    reads.clear()
    assert put(files, [COUNT, COUNT + 1]) == 1
    assert sum(reads) > path.stat().st_size - 1000


def test_other_file_systems(path: Path, files: DayFiles, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where times may be those of a server, they prove nothing, and disprove nothing."""
    monkeypatch.setattr(disk, "is_local", lambda _device: False)
    put(files, [COUNT])
    assert sum(reads) > path.stat().st_size - 1000
    reads.clear()
    os.utime(path, (1, 1))
    put(files, [COUNT + 1])
    assert reads == []


def test_a_row_of_the_future(tmp_path: Path, files: DayFiles, reads: list[int]) -> None:
    """One row far ahead, then all the others: each costs a look-up in what stands before it, and no more."""
    put(files, range(COUNT))
    put(files, [80_000])
    for is_reopened in (False, True):
        if is_reopened:
            files.close()
        for second in range(COUNT, COUNT + 200):
            reads.clear()
            assert put(files, [second]) == (not is_reopened)
            assert sum(reads) < 100_000
    lines = (tmp_path / NAME).read_text().splitlines()
    assert Counter(lines) == Counter([HEADER, *map(row, [*range(COUNT + 200), 80_000])])


def test_many_late_rows(tmp_path: Path, files: DayFiles) -> None:
    """What comes late all the time leaves no more than some stretches in memory."""
    order = [each for second in range(0, 2000, 20) for each in (*range(second + 1, second + 20), second)]
    for each in order:
        assert put(files, [each]) == 1
    (file,) = files._files.values()
    assert len(file._contents._stretches) <= contents._MOST
    assert put(files, order) == 0
    files.close()
    assert put(files, order) == 0
    assert len((tmp_path / NAME).read_text().splitlines()) == len(order) + 1


@examples(150)
@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=9), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.integers(1, 6),
)
def test_any_order(batches: list[list[int]], reopened: list[bool], most: int) -> None:
    """In whatever order readings come and however often it is opened anew: each gets one row, and all are known."""
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        for constant, value in (("_BLOCK", 256), ("_FIRST_BLOCK", 64), ("_NO_ROW", 128), ("_MOST", most)):
            patch.setattr(contents, constant, value)
        patch.setattr(disk, "is_local", lambda _device: True)
        files = DayFiles(Path(name), UTC)
        written: set[int] = set()
        for batch, is_reopened in zip(batches, reopened, strict=False):
            assert put(files, batch) == len(set(batch) - written)
            written |= set(batch)
            if is_reopened:
                files.close()
            else:
                (file,) = files._files.values()
                keys = {reading_key(row(each)) for each in range(61)}
                assert file._contents.standing(keys) == {reading_key(row(each)) for each in written}
        assert put(files, range(61)) == 61 - len(written)
        files.close()
        assert Counter(Path(name, NAME).read_text().splitlines()) == Counter([HEADER, *map(row, range(61))])
