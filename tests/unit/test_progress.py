"""Whatever is lost, the next readings are those that nobody is sure of; and the file is always whole."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.errors import ProgressError
from pvsim.meter.progress import MAX_GAPS, ProgressFile, Track, dump, file_name, parse

SECOND = 10**9
START = 1_700_000_000 * SECOND


def at(seconds: float) -> int:
    """An instant this many seconds after the start."""
    return START + int(seconds * SECOND)


def upcoming(track: Track, until_s: float, interval_s: float = 1, most: int = 1000) -> list[float]:
    """The next instants as seconds after the start."""
    return [(instant - START) / SECOND for instant in track.upcoming(at(until_s), int(interval_s * SECOND), most)]


def settled(second: float) -> Track:
    """A track that began at the start, with everything settled up to this second."""
    track = Track(at(0))
    track.confirm(at(second))
    track.settle()
    track.settle()
    return track


def test_grid() -> None:
    """Readings lie on multiples of the interval, whenever the meter began."""
    track = Track(at(0.3))
    assert upcoming(track, 3.9) == [1, 2, 3]
    assert upcoming(track, 3.9, most=2) == [1, 2]
    assert upcoming(track, 0.9) == []
    assert upcoming(track, 1.1, interval_s=0.25) == [0.5, 0.75, 1.0]
    track.confirm(at(2))
    assert upcoming(track, 3.9) == [3]


def test_a_clock_set_back_makes_nothing_due() -> None:
    """Instants that have their reading are not made again."""
    track = Track(at(0))
    track.confirm(at(100))
    assert upcoming(track, -3600) == []
    assert upcoming(track, 101) == [101]


def test_a_lost_connection_goes_back_to_what_is_settled() -> None:
    """What was confirmed in the last 30 s is sent again, and not much more."""
    track = Track(at(0))
    for second in range(1, 101):
        track.confirm(at(second))
        if second % 30 == 0:
            track.settle()
    track.go_back()
    assert upcoming(track, 100)[0] == 61  # confirmed at 60 s, so 40 s ago; at 90 s it was only 10 s ago


def test_a_lost_queue_goes_back_to_its_declaration() -> None:
    """A queue that is gone may have held everything since it was declared."""
    track = Track(at(0))
    track.confirm(at(1000))
    track.settle()
    track.settle()
    track.queue_lost()
    assert upcoming(track, 1000)[0] == 1


def test_a_stop_makes_a_gap() -> None:
    """Told to stop at 10.5, started at 200: up to 10 is still delivered, nothing between, and again from 201."""
    track = settled(7)
    track.stop(at(10.5))
    track.start(at(200))
    assert upcoming(track, 202) == [8, 9, 10]
    track.confirm(at(10))
    assert upcoming(track, 202) == [201, 202]
    track.queue_lost()
    assert upcoming(track, 202) == list(range(1, 11))


def test_a_quick_restart_makes_none() -> None:
    """Started again within 90 s, a meter counts as never stopped."""
    track = settled(10)
    track.stop(at(10.5))
    track.start(at(100.5))
    assert upcoming(track, 101) == list(range(11, 102))


@pytest.mark.parametrize("pause_s, first", [(1, 11), (5, 1), (-5, 1)])
def test_an_instant_restart_sends_nothing_twice(pause_s: float, first: int) -> None:
    """In an instant no broker can be killed and be back; after any longer stop it may have forgotten something."""
    track = Track(at(0))
    track.confirm(at(10))
    track.stop(at(10.5))
    track.start(at(10.5 + pause_s))
    assert upcoming(track, 20)[0] == first


def test_a_crash_is_caught_up() -> None:
    """A meter that was not told to stop goes on from what is settled."""
    track = Track(at(0))
    track.confirm(at(50))
    track = parse(dump({"M": track}))["M"]
    track.start(at(5000))
    assert upcoming(track, 5000, most=10_000) == list(range(1, 5001))


def test_gaps_are_bounded() -> None:
    """Of many stops the newest are kept; what lies before them is never sent again."""
    track = Track(at(0))
    for day in range(MAX_GAPS + 5):
        track.confirm(at(1000 * day + 100))
        track.stop(at(1000 * day + 100))
        track.start(at(1000 * day + 1000))
    assert len(track.gaps) == MAX_GAPS
    track.queue_lost()
    assert upcoming(track, 10**6)[0] == 5001


instants = st.integers(0, 10**20)
tracks = st.builds(
    lambda now, gaps, stopped: _track(now, gaps, stopped),
    instants,
    st.lists(st.tuples(instants, instants), max_size=3),
    st.none() | instants,
)


def _track(now: int, gaps: list[tuple[int, int]], stopped: int | None) -> Track:
    track = Track(now)
    track.gaps, track.stopped_ns = gaps, stopped
    return track


@given(st.dictionaries(st.sampled_from(["M", "Meter_0", "a.b-c"]), tracks))
def test_file_keeps_everything(given_tracks: dict[str, Track]) -> None:
    """What is saved is what is loaded."""
    assert dump(parse(dump(given_tracks))) == dump(given_tracks)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode(errors="ignore")))
def test_any_text(text: str) -> None:
    """A damaged file is a ValueError or TypeError, which `load` makes a sentence; never anything else."""
    with contextlib.suppress(ValueError, TypeError):
        parse(text)


@given(st.integers(0, 10**6), st.binary(max_size=3))
def test_a_damaged_file(where: int, damage: bytes) -> None:
    """Wherever a file is damaged: it is refused, or what it says are tracks."""
    track = _track(START, [(1, 2)], 5)
    data = dump({"M": track, "N": Track(START)}).encode()
    where %= len(data)
    try:
        parse((data[:where] + damage).decode(errors="replace"))
        parse((data[:where] + damage + data[where + len(damage) :]).decode(errors="replace"))
    except (ValueError, TypeError):
        pass


def test_saving_and_loading(tmp_path: Path) -> None:
    """A new file is empty; a saved one has the tracks; nothing else is left in the directory but the lock."""
    file = ProgressFile(tmp_path / "progress.json")
    assert file.load() == {}
    file.save({"M": Track(START)})
    assert file.load()["M"].confirmed_ns == START
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress.json", "progress.lock"]


def test_only_one_process(tmp_path: Path) -> None:
    """A second process with the same progress is refused with a sentence."""
    first = ProgressFile(tmp_path / "progress.json")
    with pytest.raises(ProgressError, match="Another process"):
        ProgressFile(tmp_path / "progress.json")
    first.close()
    ProgressFile(tmp_path / "progress.json").close()


def test_sentences(tmp_path: Path) -> None:
    """A directory that is missing and a file that is damaged: said with the place and the mend."""
    with pytest.raises(ProgressError, match="--state-dir"):
        ProgressFile(tmp_path / "missing" / "progress.json")
    (tmp_path / "progress.json").write_text('{"version": 1, "meters": {"M": {"confirmed_ns": "x"}}}')
    with pytest.raises(ProgressError, match="move it away"):
        ProgressFile(tmp_path / "progress.json").load()


def _save_forever(path: Path) -> None:
    file = ProgressFile(path)
    number = 0
    while True:
        number += 1
        file.save({f"M_{meter}": Track(number) for meter in range(500)})


def test_kill_while_saving(tmp_path: Path) -> None:
    """Killed at any moment, the file is whole: all of one save, nothing of another."""
    path = tmp_path / "progress.json"
    for pause_s in (0.05, 0.083, 0.117, 0.151):
        process = multiprocessing.get_context("fork").Process(target=_save_forever, args=(path,))
        process.start()
        while not path.exists():
            time.sleep(0.01)
        time.sleep(pause_s)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        loaded = parse(path.read_text())
        assert len(loaded) == 500
        assert len({track.confirmed_ns for track in loaded.values()}) == 1


def test_file_names() -> None:
    """The fleet and each instance have their own file, whatever the length of the list."""
    assert file_name([]) == "progress.json"
    assert file_name(["Meter_0..499"]) == "progress-Meter_0..499.json"
    many = [file_name([f"Meter_{number}" for number in range(count)]) for count in (100, 101)]
    assert many[0] != many[1]
    assert max(map(len, many)) < 255
