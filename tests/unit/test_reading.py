"""What gets past `decode` is a reading; whatever else comes is refused with a reason, and nothing crashes."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim import texts
from pvsim.errors import IdError, NotAReading
from pvsim.ids import check_id, expand_ids, shown_ids
from pvsim.instants import DAY_NS, END_NS, SECOND_NS
from pvsim.reading import (
    MAX_BODY_BYTES,
    MAX_DAYS,
    MAX_READINGS,
    Block,
    Reading,
    block,
    content_type,
    decode,
    decode_block,
    encode,
    most_readings,
)
from pvsim.texts import decimal_text, fixed_text, kilowatts_texts, power_text, time_text, times_texts, watts_texts

SECOND = 10**9
START = 1_700_000_000
GOOD = b'{"meter_id": "M", "value": 1, "time_s": 1}\n'

# instants in ns, milliwatts, the body: one table for both directions
WIRE = [
    ([START * SECOND], [1_234_567], b'{"meter_id": "M", "value": 1234.567, "time_s": 1700000000}'),
    ([START * SECOND], [0], b'{"meter_id": "M", "value": 0.0, "time_s": 1700000000}'),
    (
        [START * SECOND + 250_000_000],
        [9_000_000],
        b'{"meter_id": "M", "value": 9000.0, "time_s": 1700000000.25}',
    ),
    (
        [START * SECOND, (START + 1) * SECOND],
        [500, -1_500],
        b'{"meter_id": "M", "value": 0.5, "time_s": 1700000000}\n'
        b'{"meter_id": "M", "value": -1.5, "time_s": 1700000001}',
    ),
]


@pytest.mark.parametrize("instants, milliwatts, body", WIRE)
def test_wire(instants: list[int], milliwatts: list[int], body: bytes) -> None:
    """Encoding and decoding are each other's inverse, and the body is the documented one."""
    assert encode("M", instants, milliwatts) == body
    expected = [Reading("M", time, Decimal(power) / 1000) for time, power in zip(instants, milliwatts, strict=True)]
    assert decode(body, "M") == expected
    assert [set(json.loads(line)) for line in body.splitlines()] == [{"meter_id", "value", "time_s"}] * len(instants)


@given(st.lists(st.tuples(st.integers(0, 10**20), st.integers(-(10**14), 10**14)), min_size=1, max_size=5))
def test_wire_keeps_every_number(pairs: list[tuple[int, int]]) -> None:
    """Whatever the numbers, what is decoded is what was encoded, to the last digit."""
    instants, milliwatts = map(list, zip(*pairs, strict=True))
    expected = [Reading("M", time, Decimal(power) / 1000) for time, power in pairs]
    assert decode(encode("M", instants, milliwatts), "M") == expected


_powers = st.integers(-(10**15), 10**15) | st.integers(0, 9_000_000)
_seconds = st.integers(0, END_NS // SECOND - 1)


_IDS = st.sampled_from(["M", "Meter_0", "a.b", "1.2.3-4", "0", "x-1.5", "value", "time_s.0"])
_PROGRESSION = st.builds(
    lambda first, step, count: [first + step * each for each in range(count)],
    st.integers(0, 10**10) | st.integers(0, 2000),
    st.sampled_from([1, 2, 7, 60, 100, 101, 900]),
    st.integers(1, 250),
)


def _as_written(found: Block | None) -> Block | None:
    """With a list of times, whatever they were."""
    return found and found._replace(times_ns=list(found.times_ns))


@given(_IDS, st.lists(st.tuples(_seconds, _powers), min_size=1, max_size=5), st.sampled_from([1, 100]))
def test_block(meter_id: str, pairs: list[tuple[int, int]], few: int) -> None:
    """What our own meters write of whole seconds is read as a block, to the last digit."""
    instants, milliwatts = [second * SECOND for second, _ in pairs], [power for _, power in pairs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_FEW", few)
        body = encode(meter_id, instants, milliwatts)
        assert _as_written(decode_block(body, meter_id)) == block(instants, milliwatts)


@given(_IDS, _PROGRESSION, st.data(), st.sampled_from([1, 100]))
def test_long_block(meter_id: str, seconds: list[int], data: st.DataObject, few: int) -> None:
    """The same of many readings at regular times, and of a body of them with any bytes changed."""
    powers = st.integers(0, 9_000_000) | st.sampled_from([0, 5000, 16_383_999, 16_384_000, 10**15, -1, -5000])
    milliwatts = data.draw(st.lists(powers, min_size=len(seconds), max_size=len(seconds)))
    instants = [second * SECOND for second in seconds]
    body = encode(meter_id, instants, milliwatts)
    at, cut = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 9))
    put = data.draw(st.binary(max_size=3) | st.text("0123456789.,-+e_{} \n:", max_size=6).map(str.encode))
    changed = body[:at] + put + body[at + cut :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_FEW", few)
        assert _as_written(decode_block(body, meter_id)) == block(instants, milliwatts)
        as_range = range(instants[0], instants[-1] + 1, (instants[1] - instants[0]) if len(instants) > 1 else SECOND)
        assert encode(meter_id, as_range, milliwatts) == body
        found = decode_block(changed, meter_id)
    if found:
        columns = zip(found.times_ns, found.milliwatts, strict=True)
        assert decode(changed, meter_id) == [Reading(meter_id, time, Decimal(mw) / 1000) for time, mw in columns]
        assert encode(meter_id, found.times_ns, found.milliwatts) == changed


_LINES = b'{"meter_id": "M", "value": 1.5, "time_s": 1}\n{"meter_id": "M", "value": 20.0, "time_s": 2}'


@pytest.mark.parametrize("few", [1, 100])
@given(
    at=st.integers(0, len(_LINES)),
    cut=st.integers(0, 4),
    put=st.binary(max_size=4) | st.sampled_from([b"0", b"-", b"\n", b"}", b".", b",", b"1.2"]),
)
def test_nearly_a_block(few: int, at: int, cut: int, put: bytes) -> None:
    """Whatever is changed in a body: if it still is a block, then of the same readings that `decode` finds in it."""
    body = _LINES[:at] + put + _LINES[at + cut :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_FEW", few)
        found = decode_block(body, "M")
    if found:
        columns = zip(found.times_ns, found.milliwatts, strict=True)
        expected = [Reading("M", time, Decimal(power) / 1000) for time, power in columns]
        assert decode(body, "M") == expected


def test_dots_in_the_wrong_places() -> None:
    """As many points as readings, and yet not one each."""
    bodies = [b'{"meter_id": "M", "value": %s, "time_s": %d}' % (text, 1) for text in (b"5", b"1.2.3")]
    assert decode_block(b"\n".join(bodies), "M") is None
    times = [b'{"meter_id": "M", "value": %s, "time_s": %s}' % pair for pair in ((b"5", b"1.5"), (b"1.5", b"2"))]
    assert decode_block(b"\n".join(times), "M") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"}",
        b'{"meter_id": "N", "value": 1, "time_s": 1}',
        b'{"meter_id": "M", "value": 1, "time_s": 1}',
        b'{"meter_id": "M", "value": 0.0004, "time_s": 1}',
        b'{"meter_id": "M", "value": 1e3, "time_s": 1}',
        b'{"meter_id": "M", "value": -0, "time_s": 1}',
        b'{"meter_id": "M", "value": nan, "time_s": 1}',
        b'{"meter_id": "M", "value": inf, "time_s": 1}',
        b'{"meter_id": "M", "value": 1, "time_s": 1.5}',
        b'{"meter_id": "M", "value": 1, "time_s": -1}',
        b'{"meter_id": "M", "value": 1, "time_s": 253402300800}',
        b'{"meter_id": "M", "value": 1000000000000.001, "time_s": 1}',
        b'{"meter_id": "M", "value": 1, "time_s": 1}\n',
        (GOOD * (MAX_BODY_BYTES // len(GOOD) + 2))[:-1],
        b'{"meter_id": "M", "value": 1, "time_s": 1}\xa0',
    ],
    ids=range(16),
)
def test_no_block(body: bytes) -> None:
    """What `encode` does not write, or what is no reading, is none."""
    assert decode_block(body, "M") is None


@pytest.mark.parametrize("few", [1, 100])
@given(numbers=st.lists(st.integers(-(10**16), 10**16) | st.integers(0, 17_000_000)))
def test_columns(few: int, numbers: list[int]) -> None:
    """A column has the texts that its numbers have one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_FEW", few)
        check_columns(numbers)
        check_columns([number % 17_000_000 for number in numbers])


def check_columns(numbers: list[int]) -> None:
    assert watts_texts(numbers) == [power_text(each, 3) for each in numbers]
    assert kilowatts_texts(numbers) == [power_text(each, 6) for each in numbers]
    positive = [abs(each) for each in numbers]
    assert watts_texts(positive) == [power_text(each, 3) for each in positive]
    assert kilowatts_texts(positive) == [power_text(each, 6) for each in positive]
    assert times_texts(positive) == [time_text(each) for each in positive]


@pytest.mark.parametrize(
    "body",
    [
        b'{"time_s": 1.7e9, "value": 5, "meter_id": "M", "more": [1, {}]}',
        b'\n{"meter_id": "M",\n "value": 5.0,\n "time_s": 1700000000.0}\n',
        b'  {"meter_id":"M","value":0.5e1,"time_s":17e8}\r\n',
        b'{"meter_id": "M", "value": 5, "time_s": 1700000000, "text": "a\xe2\x80\xa8b"}',
    ],
)
def test_other_layouts(body: bytes) -> None:
    """Other publishers write the same reading in other ways."""
    assert decode(body, "M") == [Reading("M", START * SECOND, Decimal(5))]


def test_lines_of_other_layouts() -> None:
    """Several readings in one message, whatever stands between them."""
    one, two = b'{"meter_id": "M", "value": 1, "time_s": 1}', b'{"meter_id": "M", "value": 2, "time_s": 2}'
    for body in (one + b"\n" + two, one + b"\n\n" + two + b"\n", one + b" " + two):
        assert [reading.time_ns for reading in decode(body, "M")] == [SECOND, 2 * SECOND]


RUBBISH = [
    (b"", "empty"),
    (b" \n", "empty"),
    (b"\xff\xfe", "UTF-8"),
    (b"hello", "JSON"),
    (b"[]", "object"),
    (b"5", "object"),
    (b"[" * 100_000, "deep"),
    (b'{"a":' * 100_000, "deep"),
    (b"{}", "meter_id is missing"),
    (b'{"meter_id": "M", "value": 1}', "time_s is missing"),
    (b'{"meter_id": "M", "time_s": 1}', "value is missing"),
    (b'{"meter_id": "N", "value": 1, "time_s": 1}', "name of the queue"),
    (b'{"meter_id": "../M", "value": 1, "time_s": 1}', "name of the queue"),
    (b'{"meter_id": ["M"], "value": 1, "time_s": 1}', "name of the queue"),
    (b'{"meter_id": "M", "value": "1", "time_s": 1}', "value is no number"),
    (b'{"meter_id": "M", "value": null, "time_s": 1}', "value is no number"),
    (b'{"meter_id": "M", "value": true, "time_s": 1}', "value is no number"),
    (b'{"meter_id": "M", "value": NaN, "time_s": 1}', "NaN"),
    (b'{"meter_id": "M", "value": 1, "time_s": -Infinity}', "Infinity"),
    (b'{"meter_id": "M", "value": 1e13, "time_s": 1}', "beyond"),
    (b'{"meter_id": "M", "value": 1e999999999999, "time_s": 1}', "beyond"),
    (b'{"meter_id": "M", "value": 1e-99999999, "time_s": 1}', "30 decimals"),
    (b'{"meter_id": "M", "value": 1e-999999999999999999999, "time_s": 1}', "JSON"),
    (b'{"meter_id": "M", "value": ' + b"9" * 1_000 + b', "time_s": 1}', "beyond"),
    (b'{"meter_id": "M", "value": ' + b"9" * 9_000 + b', "time_s": 1}', "JSON"),
    (b'{"meter_id": "M", "value": 0.' + b"1" * 1_000 + b', "time_s": 1}', "30 decimals"),
    (b'{"meter_id": "M", "value": 1, "time_s": -1}', "1970"),
    (b'{"meter_id": "M", "value": 1, "time_s": 9404294400000}', "9999"),
    (b'{"meter_id": "M", "value": 1, "time_s": 1e999999999}', "9999"),
    (b'{"meter_id": "M", "value": 1, "time_s": "2026-01-01"}', "time_s is no number"),
    (b'{"meter_id": "M", "value": 1, "time_s": false}', "time_s is no number"),
    (b'{"meter_id": "M", "value": 1, "time_s": 1.00000000001}', "nine decimals"),
    (GOOD + b"{", "JSON"),
    (b'{"meter_id": "M", "value": 1, "value": 2, "time_s": 1}', "a key that stands twice"),
    (b'{"meter_id": "X", "meter_id": "M", "value": 1, "time_s": 1}', "a key that stands twice"),
    (GOOD + b'\n{"meter_id": "M", "value": 1, "time_s": 1, "time_s": 2}', "a key that stands twice"),
    (GOOD + GOOD + b'{"meter_id": "M", "value": 1, "time_s": NaN}', "NaN"),
    (b'{"meter_id": "M", "value": 1\n"time_s": 1}', "JSON"),
    (GOOD * (MAX_BODY_BYTES // len(GOOD) + 1), "bytes"),
    (b'{"meter_id": "M", "value": 1, "time_s": 1} ' * 10_000 + b"{", "JSON"),
    (b'{"meter_id": "M", "value": 1, "time_s": 1} ' * 50_000 + b"{", "more than 20,000 readings"),
    (b"1 " * 2_000_000, "more than 20,000 readings"),
]


@pytest.mark.parametrize("body, reason", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish(body: bytes, reason: str) -> None:
    """What is no reading is refused whole, with a reason of bounded length."""
    with pytest.raises(NotAReading, match=reason) as caught:
        decode(body, "M")
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("change", [b", ", b",  "])
def test_days_and_readings_of_a_message(change: bytes) -> None:
    """What one message may bring is bounded, in the form that pvsim sends and in any other."""
    for instants, is_good in (
        (range(0, MAX_DAYS * DAY_NS, DAY_NS), True),
        (range(0, (MAX_DAYS + 1) * DAY_NS, DAY_NS), False),
        (range(0, MAX_READINGS * SECOND_NS, SECOND_NS), True),
        (range(0, (MAX_READINGS + 1) * SECOND_NS, SECOND_NS), False),
    ):
        body = encode("M", instants, [1] * len(instants)).replace(b", ", change)
        assert (decode_block(body, "M") is None) == (not is_good or change != b", ")
        if is_good:
            assert [reading.time_ns for reading in decode(body, "M")] == list(instants)
        else:
            with pytest.raises(NotAReading, match="in one message"):
                decode(body, "M")


@pytest.mark.parametrize("interval_s", [0.001, 0.25, 1, 60, 900, 3600, 86400])
def test_what_meters_send_is_within_bounds(interval_s: float) -> None:
    """The largest message of a meter passes at every interval, and by default each one has 997 readings at least."""
    interval_ns = int(interval_s * SECOND_NS)
    most = most_readings(interval_ns)
    instants = range(interval_ns, interval_ns * (most + 1), interval_ns)
    assert len(decode(encode("M", instants, [1] * most), "M")) == most >= 997


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    """Any bytes in: readings of the queue's meter or a refusal, never another exception."""
    with contextlib.suppress(NotAReading):
        assert all(reading.meter_id == "M" for reading in decode(body, "M"))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("M"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["meter_id", "value", "time_s", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(_json, min_size=1, max_size=3))
def test_any_json(values: list[object]) -> None:
    """Any JSON in: the same."""
    try:
        readings = decode("\n".join(map(json.dumps, values)).encode(), "M")
    except NotAReading:
        return
    assert len(readings) == len(values)


@pytest.mark.parametrize("text", ["Meter_0", "a", "A-b_c.9", "x" * 128, "-", "0"])
def test_ids(text: str) -> None:
    """What is a meter id."""
    assert check_id(text) == text


BAD_IDS = [
    "",
    ".",
    "..",
    "a.",
    ".a",
    "a..b",
    "a/b",
    "../a",
    "a b",
    "a\n",
    "é",
    "x" * 129,
    "a\0",
    "pvsim.rejected",
    "amq.x",
]


@pytest.mark.parametrize("text", BAD_IDS)
def test_no_ids(text: str) -> None:
    """What is none, wherever it is given."""
    with pytest.raises(IdError, match=r"\.$"):
        check_id(text)


def test_ranges() -> None:
    """A range stands for its ids, zeros in front are kept, each id comes once."""
    assert expand_ids(["M_0..2", "x", "M_1"]) == ["M_0", "M_1", "M_2", "x"]
    assert expand_ids(["M08..11"]) == ["M08", "M09", "M10", "M11"]
    assert len(expand_ids(["Meter_0..9999"])) == 10_000


@pytest.mark.parametrize("text", ["M_2..1", "M_0..100000", "M..", "0..", "..5", "M_0..1..2", "M_²..3", "M_0../5"])
def test_no_ranges(text: str) -> None:
    """A range that is none is refused, as is one so large that it must be a slip."""
    with pytest.raises(IdError):
        expand_ids([text])


@pytest.mark.parametrize(
    "scaled, decimals, text",
    [
        (0, 3, "0"),
        (1_000, 3, "1"),
        (1_234_500, 3, "1234.5"),
        (-1, 3, "-0.001"),
        (-1_500, 3, "-1.5"),
        (10, 9, "0.00000001"),
    ],
)
def test_fixed_text(scaled: int, decimals: int, text: str) -> None:
    """Scaled integers as the shortest exact decimal text."""
    assert fixed_text(scaled, decimals) == text


@pytest.mark.parametrize(
    "given_text, text",
    [
        ("5.00", "5.0"),
        ("1E+3", "1000.0"),
        ("-0.0", "0.0"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("1e-30", f"0.{'0' * 29}1"),
    ],
)
def test_decimal_text(given_text: str, text: str) -> None:
    """Numbers as received, in one form only, so that the same number is the same text."""
    assert decimal_text(Decimal(given_text)) == text


def test_time_text() -> None:
    """Seconds, an integer where they are whole."""
    assert time_text(START * SECOND) == "1700000000"
    assert time_text(START * SECOND + 500_000_000) == "1700000000.5"


def test_content_type() -> None:
    """One reading is JSON, several are one JSON object a line."""
    assert (content_type(1), content_type(2)) == ("application/json", "application/x-ndjson")


@pytest.mark.parametrize(
    "ids, text",
    [
        (["Meter_0"], "['Meter_0']"),
        ([f"Meter_{number}" for number in range(10)], str([f"Meter_{number}" for number in range(10)])),
        ([f"Meter_{number}" for number in range(11)], "Meter_0..10"),
        ([*(f"A{number:03}" for number in range(12)), "B", "C-7", "C-8"], "A000..011, B, C-7..8"),
        ([f"M{number}" for number in range(0, 40, 2)], ", ".join(f"M{n}" for n in range(0, 20, 2)) + " and 10 more"),
    ],
)
def test_ids_for_people(ids: list[str], text: str) -> None:
    """What ranges stand for is what `expand_ids` makes of them."""
    assert shown_ids(ids) == text
    if not text.startswith("[") and " more" not in text:
        assert expand_ids(text.split(", ")) == ids
