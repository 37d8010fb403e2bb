"""Files that are written in somebody else's directory: no link is followed, and a reader's lock holds up nobody."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from pvsim import disk


def open_files() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("is_dangling", [False, True])
def test_no_link_is_followed_where_a_file_is_replaced(tmp_path: Path, is_dangling: bool) -> None:
    """Whoever puts a link where the new text is to be written first gets nothing written, and is told of."""
    path, target = tmp_path / "progress", tmp_path / "precious"
    path.write_text("old")
    if not is_dangling:
        target.write_text("precious")
    (tmp_path / "progress.part").symlink_to(target)
    with pytest.raises(OSError, match=r"progress\.part is in the way: it is a link"):
        disk.replace(path, "new")
    assert path.read_text() == "old"
    assert is_dangling != target.exists()
    assert is_dangling or target.read_text() == "precious"


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    """A file that was being written then is made anew."""
    path = tmp_path / "progress"
    (tmp_path / "progress.part").write_text("half of")
    disk.replace(path, "new")
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["progress"]


@pytest.mark.parametrize("is_dangling", [False, True])
def test_no_link_is_followed_where_a_file_is_opened(tmp_path: Path, is_dangling: bool) -> None:
    """What it names is neither created nor held."""
    path, target = tmp_path / "file", tmp_path / "precious"
    if not is_dangling:
        target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        disk.open_alone(path, 0o640)
    assert is_dangling != target.exists()


def test_a_file_that_is_replaced_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody whose directory it is can do that at every moment, and is told of instead of waited for."""
    monkeypatch.setattr(disk, "status_of", lambda _: tmp_path.stat())
    before = open_files()
    with pytest.raises(OSError, match="it is replaced again and again"):
        disk.open_alone(tmp_path / "file", 0o640)
    assert open_files() == before


@pytest.mark.parametrize("lock", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_a_lock_of_a_reader_counts_for_nothing(tmp_path: Path, lock: int) -> None:
    """Who may only read can take any lock of flock(2); a writer is another matter."""
    path = tmp_path / "file"
    path.write_text("")
    reader = os.open(path, os.O_RDONLY)
    fcntl.flock(reader, lock)
    writer = disk.open_alone(path, 0o640)
    with pytest.raises(disk.Held):
        disk.open_alone(path, 0o640)
    os.close(writer)
    os.close(reader)
