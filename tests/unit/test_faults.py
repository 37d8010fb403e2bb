"""Faults on purpose are what they are said to be, and functions of seed, meter id and instant alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.errors import NotAReading
from pvsim.instants import Span
from pvsim.meter.pacing import messages
from pvsim.models import PowerModel, faults, load
from pvsim.models.faults import WHOLE, Fault, Faulty, Given, Periods
from pvsim.reading import JSON, decode, decode_block
from tests.examples import examples

SECOND = 10**9
START = 1_700_000_040 * SECOND  # the beginning of a minute
MINUTE = range(START, START + 60 * SECOND, SECOND)
DAY = range(START, START + 86_400 * SECOND, SECOND)
MINUTES = Periods(60 * SECOND, 60 * SECOND)
ALWAYS = Periods(SECOND, SECOND)
RANDOM = load.model("random", 0, "M")


def ramp(instants_ns: Sequence[int]) -> list[int]:
    """1000 W at START, and 1 W more each second."""
    return [1_000_000 + (instant - START) // 1_000_000 for instant in instants_ns]


def faulty(power: PowerModel = RANDOM, interval_ns: int = SECOND, **given: Fault) -> Faulty:
    return meter(given, power, interval_ns)


def meter(given: Mapping[str, Fault], power: PowerModel = RANDOM, interval_ns: int = SECOND) -> Faulty:
    return Faulty(0, "M", interval_ns, power, given)


def watts(some: Faulty, seconds: Sequence[int]) -> list[float]:
    return [each / 1000 for each in some.power([START + second * SECOND for second in seconds])]


# When


def test_chance() -> None:
    """A share of the periods, whole periods, and each kind and meter its own."""
    some = faulty(dropout=Fault(Periods(60 * SECOND, 60 * SECOND, WHOLE // 10)))
    dropped = [some.is_dropped(instant) for instant in DAY]
    minutes = [set(dropped[at : at + 60]) for at in range(0, 86_400, 60)]
    assert all(len(minute) == 1 for minute in minutes)
    assert 110 < sum(True in minute for minute in minutes) < 180  # of 1440; these are 3 standard deviations
    other = Faulty(0, "N", SECOND, RANDOM, {"dropout": Fault(Periods(60 * SECOND, 60 * SECOND, WHOLE // 10))})
    assert dropped != [other.is_dropped(instant) for instant in DAY]
    duplicate = faulty(duplicate=Fault(Periods(60 * SECOND, 60 * SECOND, WHOLE // 10)))
    sent = Counter(item.instant_ns for item in duplicate.sequence(DAY) if isinstance(item, Given))
    assert dropped != [sent[instant] == 2 for instant in DAY]


@pytest.mark.parametrize("chance,expected", [(0, False), (WHOLE, True)])
def test_never_and_always(chance: int, expected: bool) -> None:
    some = faulty(dropout=Fault(Periods(SECOND, SECOND, chance)))
    assert {some.is_dropped(instant) for instant in DAY} == {expected}


def test_turns_and_spans() -> None:
    """The beginning of each period; from one time up to another."""
    some = faulty(dropout=Fault(Periods(60 * SECOND, 5 * SECOND)))
    assert [some.is_dropped(instant) for instant in MINUTE] == [True] * 5 + [False] * 55
    spans = ((START + 10 * SECOND, START + 12 * SECOND), (START - 9, START + 1))
    some = faulty(dropout=Fault(spans))
    assert [at for at, instant in enumerate(MINUTE) if some.is_dropped(instant)] == [0, 10, 11]


# Values


def test_stuck() -> None:
    """The value of the beginning, with the faults that it had then."""
    some = faulty(ramp, stuck=Fault(Periods(60 * SECOND, 4 * SECOND)), noise=Fault(ALWAYS, 5000))
    first, *rest = watts(some, range(6))
    assert rest[:3] == [first] * 3
    assert first != rest[3] != rest[4]
    assert abs(first - 1000) <= 5


def test_offset_and_drift() -> None:
    """An offset is all of it at once; a drift grows with the time. Exact, to the milliwatt."""
    assert watts(faulty(ramp, offset=Fault(MINUTES, -2_000_500)), [0, 59]) == [-1000.5, -941.5]
    drift = faulty(ramp, drift=Fault(MINUTES, 60 * WHOLE // 100))
    assert watts(drift, [0, 1, 30, 59, 60]) == [1000, 1011.01, 1339, 1683.81, 1060]


def test_noise() -> None:
    """Uniform, up and down, as much as is said and no more."""
    some = faulty(ramp, noise=Fault(ALWAYS, 3))
    found = Counter(value - true for value, true in zip(some.power(DAY), ramp(DAY), strict=True))
    assert sorted(found) == [-3, -2, -1, 0, 1, 2, 3]
    assert all(abs(count - 86_400 / 7) < 450 for count in found.values())  # 4 standard deviations


def test_spike() -> None:
    """Up or down, from the half of it to all of it, and nothing between spikes."""
    some = faulty(ramp, spike=Fault(Periods(SECOND, SECOND, WHOLE // 100), 10_000_000))
    differences = [value - true for value, true in zip(some.power(DAY), ramp(DAY), strict=True)]
    spikes = [each for each in differences if each]
    assert 770 < len(spikes) < 960
    assert all(5_000_000 <= abs(each) <= 10_000_000 for each in spikes)
    assert min(spikes) < -9_900_000
    assert max(spikes) > 9_900_000
    assert 0.4 < sum(each > 0 for each in spikes) / len(spikes) < 0.6


# Instants


def test_clock() -> None:
    """Readings say another time, but are those of their instants; a time may then stand twice, or not at all."""
    some = faulty(ramp, clock=Fault(Periods(60 * SECOND, 10 * SECOND), 5 * SECOND))
    given = [each for each in some.sequence(MINUTE) if isinstance(each, Given)]
    assert [(each.time_ns - START) // SECOND for each in given] == [*range(5, 15), *range(10, 60)]
    assert [each.milliwatts for each in given] == ramp(MINUTE)
    origins = [some.origins(START + second * SECOND) for second in (0, 5, 9, 10, 14, 15)]
    assert [[(each - START) // SECOND for each in both] for both in origins] == [[], [0], [4], [10, 5], [14, 9], [15]]
    slow = faulty(ramp, clock=Fault(ALWAYS, -2 * START))
    assert slow.time_ns(START) == START  # there is no time before 1970


def test_late() -> None:
    """Sent after the newest of its slot; a delay is one of whole intervals."""
    some = faulty(interval_ns=2 * SECOND, late=Fault(Periods(60 * SECOND, 8 * SECOND), 9 * SECOND))
    sent = some.sent(range(START, START + 22 * SECOND, 2 * SECOND))
    assert [(each - START) // SECOND for each in sent] == [8, 10, 0, 12, 2, 14, 4, 16, 6, 18, 20]
    assert some.reach_ns == 10 * SECOND


def test_shuffle() -> None:
    """Out of order, by as many readings as is said; none is missing."""
    some = faulty(shuffle=Fault(ALWAYS, 3))
    sent = some.sent(DAY)
    late = [(some.slot_ns(instant) - instant) // SECOND for instant in DAY]
    assert sorted(Counter(late)) == [0, 1, 2, 3]
    assert 0.3 < sum(after < before for before, after in pairwise(sent)) / len(sent) < 0.5
    assert set(DAY) - set(sent) <= set(DAY[-3:])


def test_duplicate_and_rubbish() -> None:
    """Twice, one after the other; and more messages, of all kinds, which nobody takes for readings."""
    some = faulty(duplicate=Fault(Periods(2 * SECOND, SECOND)), rubbish=Fault(Periods(3 * SECOND, SECOND)))
    sequence = list(some.sequence(DAY))
    places = Counter(each.instant_ns for each in sequence if isinstance(each, Given))
    assert [places[instant] for instant in DAY[:4]] == [2, 1, 2, 1]
    rubbish = [each for each in sequence if isinstance(each, bytes)]
    assert len(rubbish) == 86_400 // 3
    assert len({body.split(b"time_s")[0] for body in rubbish}) == len(faults._rubbish("M", 0))
    for body in set(rubbish[:500]):
        assert decode_block(body, "M") is None
        with pytest.raises(NotAReading):
            decode(body, "M")


# All of them


@st.composite
def whens(draw: st.DrawFn) -> Periods | tuple[Span, ...]:
    if draw(st.booleans()):
        period_s = draw(st.integers(1, 40))
        return Periods(
            period_s * SECOND, draw(st.integers(1, period_s)) * SECOND, draw(st.sampled_from([WHOLE, WHOLE // 3]))
        )
    start_s, length_s = draw(st.integers(-50, 150)), draw(st.integers(1, 100))
    return ((START + start_s * SECOND, START + (start_s + length_s) * SECOND),)


def kind(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[Fault]:
    return st.builds(Fault, whens(), sizes)


some_faults = st.fixed_dictionaries(
    {},
    optional={
        **{name: kind(st.just(0)) for name in ("dropout", "stuck", "duplicate", "rubbish")},
        **{name: kind(st.integers(1, 10**8)) for name in ("spike", "noise", "offset", "drift")},
        "clock": kind(st.integers(-60 * SECOND, 60 * SECOND)),
        "late": kind(st.integers(1, 50 * SECOND)),
        "shuffle": kind(st.integers(1, 9)),
    },
)


@examples(200)
@given(some_faults, st.sampled_from([SECOND, SECOND // 4, 7 * SECOND]), st.lists(st.integers(1, 100), max_size=5))
def test_pieces_do_not_matter(given: dict[str, Fault], interval_ns: int, cuts: list[int]) -> None:
    """The same slots send the same, in the same order, asked at once or in pieces, by this process or another."""
    first = START // interval_ns * interval_ns
    slots = range(first, first + 100 * interval_ns, interval_ns)
    bounds = [0, *sorted(cuts), 100]
    pieces = [list(meter(given, RANDOM, interval_ns).sequence(slots[a:b])) for a, b in pairwise(bounds) if b > a]
    assert [item for piece in pieces for item in piece] == list(meter(given, RANDOM, interval_ns).sequence(slots))


@examples(200)
@given(some_faults)
def test_each_reading_is_sent(given: dict[str, Fault]) -> None:
    """Once, or twice if that is meant, unless it is dropped; and its row's time leads back to it."""
    some = meter(given)
    sent = Counter(
        item for item in some.sequence(range(START, START + 200 * SECOND, SECOND)) if isinstance(item, Given)
    )
    for item in sent:
        assert item.instant_ns in some.origins(item.time_ns)
        assert item.milliwatts == some.power([item.instant_ns])[0]
    expected = {instant for instant in DAY[:100] if not some.is_dropped(instant)}
    assert expected <= {item.instant_ns for item in sent}
    assert not {instant for instant in DAY[:200] if some.is_dropped(instant)} & {item.instant_ns for item in sent}
    most = 2 if "duplicate" in given else 1
    assert max(sent.values(), default=0) <= most


@given(some_faults, st.integers(1, 50))
def test_messages(given: dict[str, Fault], most: int) -> None:
    """All of a sequence, in its order; in a message, times ascend, and there are no more readings than it may carry."""
    sequence = list(meter(given).sequence(MINUTE))
    made = messages("M", sequence, most)
    unpacked: list[object] = []
    for message in made:
        if message.readings:
            readings = decode(message.body, "M")
            times = [reading.time_ns for reading in readings]
            assert times == sorted(set(times))
            assert len(times) == message.readings <= most
            assert (message.content_type == JSON) == (len(times) == 1)
            unpacked += [(reading.time_ns, int(reading.power_w * 1000)) for reading in readings]
        else:
            unpacked.append(message.body)
    assert unpacked == [item if isinstance(item, bytes) else item[1:] for item in sequence]
    plain = messages("M", faulty().sequence(MINUTE), 100)
    assert [message.readings for message in plain] == [60]


def test_values_stay() -> None:
    """Files written by this version must be verified by the next: these values do not change."""
    half = Periods(SECOND, SECOND, WHOLE // 2)
    sizes = {"spike": 10**6, "noise": 1000, "clock": 60 * SECOND, "shuffle": 3}
    given = {name: Fault(half, sizes.get(name, 0)) for name in ("dropout", "duplicate", "rubbish", *sizes)}
    found = [
        item if isinstance(item, bytes) else tuple((each - START) // SECOND for each in item[:2]) + item[2:]
        for item in meter(given, ramp).sequence(range(START, START + 8 * SECOND, SECOND))
    ]
    assert found == FIRST


FIRST = [
    (1, 1, 341342),
    b'{"meter_id": "M", "value": "n/a", "time_s": 1700000041}',
    (3, 3, 248863),
    (3, 3, 248863),
    b'{"meter_id": "M", "value": null, "time_s": 1700000043}',
    b'{"meter_id": "M", "value": 1, "time_s": -1}',
    b'{"meter_id": "M", "value": NaN, "time_s": 1700000045}',
    b"[]",
    (7, 7, 1589200),
    (7, 7, 1589200),
]
