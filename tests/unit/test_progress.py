"""Whatever is lost, the next readings are those that nobody is sure of, and none that was made with something else."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.config import MeterSettings, load_simulation
from pvsim.meter.progress import MAX_GAPS, SETTLED_S, Track, dump, made_with, parse
from pvsim.meter.tracks import power_of

ROOT = Path(__file__).parents[2]
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
    let_settle(track)
    return track


def let_settle(track: Track) -> None:
    """What is confirmed now is settled then."""
    for _ in range(SETTLED_S + 1):
        track.settle()


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
    """What was confirmed in the last 5 s is sent again, and nothing else; a second loss changes nothing."""
    track = Track(at(0))
    for second in range(1, 101):
        track.confirm(at(second))
        track.settle()
    track.go_back()
    assert upcoming(track, 100)[0] == 96
    track.settle()
    track.go_back()
    assert upcoming(track, 100)[0] == 96


def test_a_lost_queue_goes_back_to_its_declaration() -> None:
    """A queue that is gone may have held everything since it was declared."""
    track = Track(at(0))
    track.confirm(at(1000))
    let_settle(track)
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
    track.floor_ns, track.made_with = now // 2, 'a "model"' if gaps else None
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


# What readings were made with.


def test_after_a_change_nothing_before_it_is_sent_again() -> None:
    """Whatever is lost then: all that was sent, confirmed or not, came from something else."""
    track = Track(at(0), "seed 0")
    track.sending(at(12))
    track.confirm(at(10))
    track.stop(at(20.5))
    assert track.remake("seed 1", at(30))
    track.start(at(30))
    assert upcoming(track, 30)[0] == 13
    for lose in (track.go_back, track.queue_lost, lambda: track.start(at(40))):
        track.confirm(at(25))
        lose()
        assert upcoming(track, 30)[0] == 13
    assert not track.remake("seed 1", at(50))


def test_a_change_after_a_crash_begins_now() -> None:
    """What was sent since progress was last saved is not known, so it may be all up to now."""
    track = Track(at(0), "seed 0")
    track.confirm(at(10))
    assert track.remake("seed 1", at(60))
    track.start(at(60))
    assert upcoming(track, 62) == [61, 62]


def test_progress_of_an_older_version() -> None:
    """It does not say what it was made with: no gap, and nothing that is confirmed is sent again."""
    text = '{"version": 1, "meters": {"M": {"confirmed_ns": %d, "settled_ns": %d, "declared_ns": %d}}}'
    track = parse(text % (at(10), at(7), at(0)))["M"]
    assert not track.remake("seed 0", at(12))  # nothing to tell anybody
    track.start(at(12))
    assert upcoming(track, 12) == [11, 12]
    track.queue_lost()
    assert upcoming(track, 12) == [11, 12]


@given(st.lists(st.integers(0, 8), max_size=60), st.randoms())
def test_no_instant_has_two_values(steps: list[int], random: random.Random) -> None:
    """Whatever is lost, and whenever settings change: what an instant was sent with, it is sent with again."""
    values: dict[int, str] = {}
    now, track, saved = 1000, Track(at(1000), "0"), ""
    for step in steps:
        now += random.choice([0, 1, 5, 100])
        if step < 4:
            instants = track.upcoming(at(now), SECOND, random.choice([1, 10]))
            if instants:
                track.sending(instants[-1])
            for instant in instants:
                assert values.setdefault(instant, track.made_with or "") == track.made_with
            if instants and step < 3:
                track.confirm(instants[-1])
        elif step == 4:
            track.settle()
            saved = dump({"M": track})
        elif step == 5:
            track.go_back()
        elif step == 6:
            track.queue_lost()
        else:
            if step == 7 or not saved:  # told to stop, or killed
                track.stop(at(now))
                saved = dump({"M": track})
            track = parse(saved)["M"]
            now += random.choice([0, 1, 50, 500])
            track.remake(random.choice("01"), at(now))
            track.start(at(now))
            saved = dump({"M": track})


INI = """
[meter]
seed = 5
fault_spike_w = 5000 in 0.1% of 1
fault_dropout = 2026-06-21T12:00Z..2026-06-21T13:00Z
[meter household]
model = household
[meter replay]
model = replay
file = profile.csv
"""


def fingerprint(directory: Path, meter_id: str) -> str:
    """Of a meter of INI."""
    settings = load_simulation(directory / "simulation.ini", None).meter(meter_id)
    return made_with(settings, power_of("Meter_0", settings))


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """A directory with INI, and what it names."""
    (tmp_path / "simulation.ini").write_text(INI)
    (tmp_path / "profile.csv").write_text("time,W\n0,1\n60,2\n120,5\n")
    return tmp_path


def test_what_readings_come_from_is_the_same_in_every_process(simulated: Path) -> None:
    """And differs between settings that give other readings."""
    ids = ["random", "household", "replay"]
    here = [fingerprint(simulated, each) for each in ids]
    code = (
        "import sys; from pathlib import Path; from tests.unit.test_progress import fingerprint\n"
        f"for each in {ids}: print(fingerprint(Path(sys.argv[1]), each))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, str(simulated)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert there.stdout.splitlines() == here
    assert len(set(here)) == 3
    assert here[0].startswith("model random, seed 5, interval 1, ")


@pytest.mark.parametrize(
    "old, new",
    [
        ("seed = 5", "seed = 6"),
        ("5000", "5001"),
        ("13:00Z", "13:01Z"),
        ("model = household", "model = household\nannual_kwh = 4000"),
        ("model = household", "model = household\nholidays = 2026-12-25 2026-12-26"),
        ("file = profile.csv", "file = profile.csv\nshift = 1"),
        ("[meter]", "[meter]\ninterval = 2"),
    ],
)
def test_another_key_is_another_fingerprint(simulated: Path, old: str, new: str) -> None:
    """Of every meter that it concerns."""
    before = {each: fingerprint(simulated, each) for each in ("random", "household", "replay")}
    (simulated / "simulation.ini").write_text(INI.replace(old, new))
    assert any(fingerprint(simulated, each) != before[each] for each in before)


def test_another_profile_is_another_fingerprint(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One number in the file is enough."""
    before = fingerprint(simulated, "replay")
    other = tmp_path_factory.mktemp("other")
    (other / "simulation.ini").write_text(INI)
    (other / "profile.csv").write_text("time,W\n0,1\n60,2\n120,6\n")
    assert fingerprint(other, "replay") != before


def test_another_model_under_the_same_name_is_another_fingerprint() -> None:
    """An upgrade may change what a model makes."""
    settings = MeterSettings()
    power = power_of("Meter_0", settings)
    assert made_with(settings, power) != made_with(settings, lambda instants: [each + 1 for each in power(instants)])


def test_how_readings_are_sent_is_no_matter() -> None:
    """How many share a message, and when, does not change them."""
    power = power_of("Meter_0", MeterSettings())
    settings = replace(MeterSettings(), batch=7, linger_ns=5 * SECOND, backlog_ns=SECOND)
    assert made_with(settings, power) == made_with(MeterSettings(), power)
