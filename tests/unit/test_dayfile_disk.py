"""Nothing counts as written that is not durable: full disks, I/O errors and kill -9 lose no row and double none."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pytest

from pvsim.dayfile import DayFiles
from pvsim.reading import Reading
from pvsim.row import HEADER, format_row
from tests.allowed import namespace, require
from tests.unit.dayfiles import NAME, SECOND, START, timed_rows

ROW_BYTES = len("Meter_0,1763769600,5.0,0.001,6.0\n")
BATCH = 300


def readings(seconds: Sequence[int]) -> list[Reading]:
    return [Reading("Meter_0", START + each * SECOND, Decimal(5)) for each in seconds]


def write(files: DayFiles, seconds: Sequence[int]) -> str:
    """Write and commit; return what went wrong."""
    files.write("Meter_0", *timed_rows(readings(seconds), [1000] * len(seconds)))
    return str(files.commit().get("Meter_0", ""))


def content(seconds: Sequence[int]) -> str:
    """What a file with these rows holds."""
    return "".join(f"{line}\n" for line in [HEADER, *(format_row(each, 1000) for each in readings(seconds))])


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DayFiles]:
    made = DayFiles(tmp_path, UTC)
    yield made
    made.close()


# A disk that is full.


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size`: a full disk that needs no disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_is_cut_short(files: DayFiles, tmp_path: Path) -> None:
    """The kernel takes half of a row: it is cut off again, and all goes on when there is room."""
    path = tmp_path / NAME
    assert not write(files, range(10))
    with file_size_limit(len(content(range(10))) + 10 * ROW_BYTES + 7):
        for _ in range(3):
            error = write(files, range(10, 30))
            assert error == f"Cannot write {path}: File too large; raise the limit on file sizes."
            assert path.read_text() == content(range(10))
    assert not write(files, range(10, 30))
    assert path.read_text() == content(range(30))


def test_write_after_a_torn_line_is_cut_short(files: DayFiles, tmp_path: Path) -> None:
    """What was cut off on opening does not count as a part of the file."""
    path = tmp_path / NAME
    path.write_text(content(range(10)) + "Meter_0,1763769")
    with file_size_limit(len(content(range(12)))):
        assert "File too large" in write(files, range(30))
    assert path.read_text() == content(range(10))


@pytest.mark.parametrize("size", [0, 10, len(HEADER)])
def test_header_is_cut_short(files: DayFiles, tmp_path: Path, size: int) -> None:
    """No room for the header of a new file."""
    path = tmp_path / NAME
    with file_size_limit(size):
        for _ in range(2):
            assert "File too large" in write(files, range(5))
            assert path.read_text() == ""
    assert not write(files, range(5))
    assert path.read_text() == content(range(5))


def test_other_meters_go_on(files: DayFiles, tmp_path: Path) -> None:
    """What fails for one meter fails as a whole, all its messages of that commit, and for that meter alone."""
    others = [Reading("Meter_1", each.time_ns, each.power_w) for each in readings(range(3))]
    with file_size_limit(len(content(range(20)))):
        assert files.write("Meter_0", *timed_rows(readings(range(10)), [0] * 10)) == 10
        assert files.write("Meter_0", *timed_rows(readings(range(10, 30)), [0] * 20)) == 0
        assert files.write("Meter_0", *timed_rows(readings(range(30, 31)), [0])) == 0
        assert files.write("Meter_1", *timed_rows(others, [0] * 3)) == 3
        assert list(files.commit()) == ["Meter_0"]
        assert (tmp_path / NAME).read_text() == ""
    assert (tmp_path / "Meter_1-2025-11-22.csv").read_text().count("\n") == 4
    assert files.commit() == {}


def test_full_disk(tmp_path: Path) -> None:
    """A file system with no room left, and then read-only; see `fill_disk`, which runs on one of 64 kB."""
    require("namespace")
    mount = 'mount -t tmpfs -o size=64k pvsim "$0" && exec "$@"'
    done = subprocess.run(
        [*namespace(), "sh", "-c", mount, str(tmp_path), sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


def fill_disk(directory: Path) -> None:
    """Write until the disk is full; make room; go on; then the same with a disk that is read-only for a while."""
    path, ballast = directory / NAME, directory / "ballast"
    ballast.write_bytes(bytes(32_000))
    files = DayFiles(directory, UTC)
    safe, error = 0, ""
    while not error:
        error = write(files, range(safe, safe + 70))
        safe += 0 if error else 70
    assert error == f"Cannot write {path}: No space left on device; make room on that disk."
    for _ in range(3):
        assert path.read_text() == content(range(safe))
        assert "No space left" in write(files, range(safe, safe + 500))
    ballast.unlink()
    assert not write(files, range(safe - 10, safe + 100))
    assert path.read_text() == content(range(safe + 100))
    files.close()
    subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
    assert write(files, range(5)) == f"Cannot open {path}: Read-only file system; mount that disk writable."
    subprocess.run(["mount", "-o", "remount,bind,rw", directory], check=True)
    assert not write(files, range(safe + 101))
    assert path.read_text() == content(range(safe + 101))
    files.close()
    print("done")


# A disk that fails.


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def test_fsync_fails(files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync nobody knows what is on the disk: what it was to make durable is written again."""
    path = tmp_path / NAME
    assert not write(files, range(3))
    for seconds in (range(3, 5), range(3, 6)):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(errno.EIO))
            error = write(files, seconds)
        assert f"{path}: Input/output error; see what the kernel's log says of it." in error
        assert path.read_text() == content(range(3))
    assert not write(files, range(7))
    assert path.read_text() == content(range(7))


def test_fsync_of_a_shortened_file_fails(files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting back never makes a file longer."""
    path = tmp_path / NAME
    assert not write(files, range(3))
    files.write("Meter_0", *timed_rows(readings(range(3, 5)), [1000] * 2))
    path.write_text(content(range(1)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EIO))
        assert list(files.commit()) == ["Meter_0"]
    assert path.read_text() == content(range(1))


def test_cutting_back_fails(files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be cut back is cut back before the next row; until then there is none."""
    path = tmp_path / NAME
    assert not write(files, range(3))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EIO))
        patch.setattr(os, "ftruncate", failing(errno.EIO))
        assert "Cannot write" in write(files, range(5))
        assert "Cannot cut back" in write(files, range(5))
    assert path.read_text() == content(range(5))  # not durable, and nobody may think so
    synced: list[str] = []
    fsync = os.fsync

    def spy(fd: int) -> None:
        if not Path(f"/proc/self/fd/{fd}").is_dir():
            synced.append(os.pread(fd, 10_000, 0).decode())
        fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", spy)
        assert not write(files, range(1))
    assert synced == [content(range(3))]
    assert not write(files, range(5))
    assert path.read_text() == content(range(5))


def test_moved_away_when_cutting_back_failed(files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another disk in the place of the broken one is used."""
    path = tmp_path / NAME
    assert not write(files, range(3))
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", failing(errno.EIO))
        with file_size_limit(path.stat().st_size + 5):
            assert "Cannot write" in write(files, range(5))
        path.rename(tmp_path / "broken")
        assert not write(files, range(5))
    assert path.read_text() == content(range(5))


def test_directory_fails(files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file is not durable before its directory is."""
    fsync = os.fsync

    def fail(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").is_dir():
            failing(errno.EIO)()
        fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        for _ in range(2):
            assert f"Cannot write {tmp_path}: Input/output error" in write(files, range(3))
        assert files.commit() == {}  # nothing was written, so nothing failed
    assert not write(files, range(3))
    assert (tmp_path / NAME).read_text() == content(range(3))


def test_short_writes(files: DayFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) may take less than it is given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    assert not write(files, range(20))
    assert (tmp_path / NAME).read_text() == content(range(20))


def test_directory_replaced(tmp_path: Path) -> None:
    """Files follow the name of the directory: it may be mounted anew, or moved and made again."""
    directory = tmp_path / "output"
    directory.mkdir()
    files = DayFiles(directory, UTC)
    assert not write(files, range(3))
    directory.rename(tmp_path / "old")
    assert "create the directory" in write(files, range(3, 5))
    directory.mkdir()
    assert not write(files, range(3, 5))
    assert (directory / NAME).read_text() == content(range(3, 5))
    files.close()


# Memory and kill -9.


def test_memory_is_flat(tmp_path: Path) -> None:
    """A file of any length is opened, read and looked through in blocks."""
    tenth = SECOND // 10
    (tmp_path / NAME).write_text(
        f"{HEADER}\n" + "".join(f"Meter_0,{(START // tenth + each) / 10},5.0,0.001,6.0\n" for each in range(30_000))
    )
    files = DayFiles(tmp_path, UTC)
    tracemalloc.start()
    assert not write(files, [2500, 2999])
    files.write("Meter_0", *timed_rows([Reading("Meter_0", START + tenth // 2, Decimal(5))], [0]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert files.commit() == {}
    assert peak < 1_000_000
    files.close()


def test_kill(tmp_path: Path) -> None:
    """kill -9 at any moment: what was committed stays, and what comes again is written once."""
    chance = random.Random(7)
    path = tmp_path / NAME
    safe = 0
    torn = 0
    while safe <= 10 * BATCH or torn <= 2:  # a busy machine takes more tries
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            write_until_killed(tmp_path, safe, write_end)
        os.close(write_end)
        os.read(read_end, 1)
        time.sleep(chance.uniform(0, 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while commits := os.read(read_end, 65536):
            safe += BATCH * len(commits)
        os.close(read_end)
        text = path.read_text() if path.exists() else ""  # it may be killed before anything
        torn += not text.endswith("\n")
        assert not safe or text.startswith(content(range(safe)))
    files = DayFiles(tmp_path, UTC)
    assert not write(files, range(safe + 2 * BATCH))
    files.close()
    assert Counter(path.read_text().split("\n")) == Counter(content(range(safe + 2 * BATCH)).split("\n"))


def write_until_killed(directory: Path, first: int, signal_fd: int) -> NoReturn:
    """Begin some rows before `first`; one byte tells that the next batch is committed."""
    real = os.write

    def write_slowly(fd: int, data: memoryview) -> int:
        """So that most kills come in the middle of a write."""
        time.sleep(0.0002)
        return real(fd, data[:999])

    vars(os)["write"] = write_slowly
    try:
        files = DayFiles(directory, UTC)
        real(signal_fd, b"s")
        write(files, range(max(0, first - 100), first))
        while True:
            assert not write(files, range(first, first + BATCH))
            real(signal_fd, b"c")
            first += BATCH
    finally:
        os._exit(1)


if __name__ == "__main__":
    fill_disk(Path(sys.argv[1]))
