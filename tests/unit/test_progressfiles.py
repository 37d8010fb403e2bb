"""A meter's progress is found wherever it is, stands in one file at a time, and each file is always whole."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pvsim.errors import ProgressError
from pvsim.meter.progress import Track, dump, parse
from pvsim.meter.progressfiles import ProgressFile, file_name

START = 1_700_000_000 * 10**9
HISTORY = "1767225600..1767425600"


def run(directory: Path, *meter_ids: str, name: str = "", history: str = "") -> dict[str, int]:
    """A process starts with these ids, and stops a ns further on; returns how far those were that it has found."""
    file = ProgressFile(directory / (name or file_name(meter_ids)), meter_ids, history)
    found = {meter_id: track.confirmed_ns - START for meter_id, track in file.tracks.items()}
    tracks = {meter_id: file.tracks.get(meter_id) or Track(START) for meter_id in meter_ids}
    for track in tracks.values():
        track.confirm(track.confirmed_ns + 1)
    file.save(tracks)
    file.close()
    return found


def places(directory: Path) -> dict[str, list[str]]:
    """The files of a directory, and whose progress is in them."""
    return {path.name: sorted(parse(path.read_text())) for path in sorted(directory.glob("*.json"))}


def old(*meter_ids: str, confirmed_ns: int = START + 5) -> str:
    """A progress file of version 1."""
    records = ", ".join(
        f'"{each}": {{"confirmed_ns": {confirmed_ns}, "settled_ns": {START}, "declared_ns": {START}}}'
        for each in meter_ids
    )
    return f'{{"version": 1, "meters": {{{records}}}}}'


def test_saving_and_loading(tmp_path: Path) -> None:
    """A new file is empty; a saved one has the tracks; nothing else is left in the directory but locks."""
    file = ProgressFile(tmp_path / "progress.json", ["M"])
    assert file.tracks == {}
    file.save({"M": Track(START)})
    file.close()
    assert ProgressFile(tmp_path / "progress.json", ["M"]).tracks["M"].confirmed_ns == START
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["progress.json", "progress.lock", "progress.starting"]


def test_one_more_id(tmp_path: Path) -> None:
    """In whatever list an id is given, it goes on where it was."""
    run(tmp_path, "A", "B")
    assert run(tmp_path, "A", "B", "C") == {"A": 1, "B": 1}
    assert run(tmp_path, "C", "A") == {"C": 1, "A": 2}
    assert run(tmp_path, "B") == {"B": 2}
    assert places(tmp_path) == {"progress-C+A.json": ["A", "C"], "progress-B.json": ["B"]}


def test_a_fleet_that_shrinks_and_grows(tmp_path: Path) -> None:
    """What it does not run rests, and is found by whoever runs it next."""
    fleet = "progress.json"
    run(tmp_path, "A", "B", "C", name=fleet)
    run(tmp_path, "A", name=fleet)
    assert places(tmp_path) == {fleet: ["A"], "progress.resting.json": ["B", "C"]}
    assert run(tmp_path, "C") == {"C": 1}
    assert places(tmp_path) == {fleet: ["A"], "progress-C.json": ["C"], "progress.resting.json": ["B"]}
    assert run(tmp_path, "A", "B", "C", name=fleet) == {"A": 2, "B": 1, "C": 2}
    assert places(tmp_path) == {fleet: ["A", "B", "C"]}
    run(tmp_path, "B", name=fleet)
    run(tmp_path, "C", name=fleet)
    assert places(tmp_path) == {fleet: ["C"], "progress.resting.json": ["A", "B"]}


def test_never_in_two_processes(tmp_path: Path) -> None:
    """An id that a running process has is refused with both named; the rest of a directory is free."""
    fleet = ProgressFile(tmp_path / "progress.json", ["A", "B", "C"])
    fleet.save({each: Track(START) for each in "ABC"})
    both = r"^A and 1 more of progress-A\+B\+D\.json: another .*/progress\.json; stop"
    with pytest.raises(ProgressError, match=both):
        ProgressFile(tmp_path / "progress-A+B+D.json", ["A", "B", "D"])
    with pytest.raises(ProgressError, match="Another process publishes these meters"):
        ProgressFile(tmp_path / "progress.json", ["A"])
    assert places(tmp_path) == {"progress.json": ["A", "B", "C"]}
    run(tmp_path, "D")
    fleet.close()
    assert run(tmp_path, "A", "D") == {"A": 0, "D": 1}


def test_what_a_fleet_does_not_run_is_free(tmp_path: Path) -> None:
    """A running fleet keeps nothing from others that it does not run."""
    run(tmp_path, "A", "B", name="progress.json")
    fleet = ProgressFile(tmp_path / "progress.json", ["A"])
    assert run(tmp_path, "B") == {"B": 1}
    fleet.close()


def test_histories_have_progress_of_their_own(tmp_path: Path) -> None:
    """The present knows nothing of a history, nor one history of another; but more ids may be given to each."""
    run(tmp_path, "A", name=f"progress-A+{HISTORY}.json", history=HISTORY)
    assert run(tmp_path, "A") == {}
    assert run(tmp_path, "A", name="progress-A+5..6.json", history="5..6") == {}
    more = run(tmp_path, "A", "B", name=f"progress-A+B+{HISTORY}.json", history=HISTORY)
    assert more == {"A": 1}


@pytest.mark.parametrize("killed", ["before its own", "after its own", "after all but the last"])
def test_killed_while_tracks_move(tmp_path: Path, killed: str) -> None:
    """At every step each track stands somewhere, and the next start puts it right."""
    run(tmp_path, "A", "B", "X", name="progress.json")
    run(tmp_path, "C", "D")
    writes = {"before its own": 1, "after its own": 2, "after all but the last": 3}[killed]
    process = multiprocessing.get_context("fork").Process(target=_start_and_die, args=(tmp_path, writes))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert run(tmp_path, "A", "C", name="progress.json") == {"A": 1, "C": 1}
    assert run(tmp_path, "B", "D", "X") == {"B": 1, "D": 1, "X": 1}
    assert sorted(each for ids in places(tmp_path).values() for each in ids) == ["A", "B", "C", "D", "X"]


def _start_and_die(directory: Path, writes: int) -> None:
    """A start that is killed after so many files are replaced."""
    replace: Callable[[Path, Path], Path] = Path.replace
    count = 0

    def replace_and_die(path: Path, target: Path) -> Path:
        nonlocal count
        done = replace(path, target)
        count += 1
        if count == writes:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Path.replace = replace_and_die  # type: ignore[method-assign, assignment]
    ProgressFile(directory / "progress.json", ["A", "C"])


def test_files_of_an_older_version(tmp_path: Path) -> None:
    """Their names have the ids that they are of; those of histories are left to their history."""
    (tmp_path / "progress.json").write_text(old("Meter_0", "Meter_1", "Meter_2"))
    (tmp_path / "progress-House_0..2.json").write_text(old("House_0", "House_1", "House_2"))
    (tmp_path / f"progress-House_1+{HISTORY}.json").write_text(old("House_1", confirmed_ns=START + 9))
    found = run(tmp_path, "Meter_1", "House_1")
    assert found == {"Meter_1": 5, "House_1": 5}
    assert places(tmp_path) == {
        "progress.json": ["Meter_0", "Meter_2"],
        "progress-House_0..2.json": ["House_0", "House_2"],
        f"progress-House_1+{HISTORY}.json": ["House_1"],
        "progress-Meter_1+House_1.json": ["House_1", "Meter_1"],
    }


def test_an_older_version_kept_a_meter_twice(tmp_path: Path) -> None:
    """The track that has come further counts."""
    (tmp_path / "progress.json").write_text(old("A", "B", confirmed_ns=START + 3))
    (tmp_path / "progress-A.json").write_text(old("A", confirmed_ns=START + 8))
    assert run(tmp_path, "A", "B", name="progress.json") == {"A": 8, "B": 3}
    assert places(tmp_path) == {"progress.json": ["A", "B"]}


def test_copies_are_left_alone(tmp_path: Path) -> None:
    """Somebody has kept a copy beside it: it is not ours, whatever its name."""
    (tmp_path / "progress.json").write_text(old("Meter_0", "Meter_1"))
    shutil.copy(tmp_path / "progress.json", tmp_path / "progress-backup.json")
    run(tmp_path, "Meter_0", name="progress.json")
    shutil.copy(tmp_path / "progress.json", tmp_path / "progress-Meter_0.json")
    copies = [(tmp_path / name).read_text() for name in ("progress-backup.json", "progress-Meter_0.json")]
    assert run(tmp_path, "Meter_0", "Meter_1") == {"Meter_0": 6, "Meter_1": 5}
    assert [(tmp_path / name).read_text() for name in ("progress-backup.json", "progress-Meter_0.json")] == copies


def test_a_damaged_file_of_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told, left as it is, and stops nobody else."""
    (tmp_path / "progress-A.json").write_text("{")
    assert run(tmp_path, "B") == {}
    assert "progress-A.json is damaged" in caplog.text
    assert (tmp_path / "progress-A.json").read_text() == "{"


def test_sentences(tmp_path: Path) -> None:
    """A directory that is missing and a file that is damaged: said with the place and the mend."""
    with pytest.raises(ProgressError, match="--state-dir"):
        ProgressFile(tmp_path / "missing" / "progress.json", ["M"])
    (tmp_path / "progress.json").write_text('{"version": 1, "meters": {"M": {"confirmed_ns": "x"}}}')
    with pytest.raises(ProgressError, match="move it away"):
        ProgressFile(tmp_path / "progress.json", ["M"])
    (tmp_path / "progress.json").write_text(dump({}))
    ProgressFile(tmp_path / "progress.json", ["M"]).close()  # and nobody holds it
    (tmp_path / "progress.json").unlink()
    (tmp_path / "progress.json").mkdir()
    with pytest.raises(
        ProgressError, match=r"^Cannot read .*/progress\.json: Is a directory; move that directory away\.$"
    ):
        ProgressFile(tmp_path / "progress.json", ["M"])


def _start_forever(directory: Path, which: int) -> None:
    while True:
        try:
            run(directory, "A", f"own_{which}")
        except ProgressError:
            time.sleep(0.001)


def test_many_start_at_once(tmp_path: Path) -> None:
    """Processes fight for an id: it is never in two files of those that hold them, and never begins anew."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_start_forever, args=(tmp_path, which)) for which in range(3)]
    for process in processes:
        process.start()
    time.sleep(2)
    for process in processes:
        process.kill()
        process.join()
    total = run(tmp_path, "A", "own_0", "own_1", "own_2")
    assert total["A"] >= total["own_0"] + total["own_1"] + total["own_2"] - 3  # killed with one saved, one not
    assert total["A"] > 10


def _save_forever(path: Path) -> None:
    meter_ids = [f"M_{meter}" for meter in range(500)]
    file = ProgressFile(path, meter_ids)
    number = 0
    while True:
        number += 1
        file.save({meter_id: Track(number) for meter_id in meter_ids})


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
