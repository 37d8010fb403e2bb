"""The live copy: which rows are copied, and what the copy says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal, localcontext

import pika
import pika.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.broker import Copy
from pvsim.broker.live import EXCHANGE, _frames
from pvsim.config import Address
from pvsim.pv.live import RECENT_NS, Live, body
from pvsim.reading import Reading
from pvsim.row import HEADER, format_row

NOW_S = 1_782_036_000
SECOND = 10**9
HERE = Address("localhost")


class Link:
    """Takes every copy."""

    def __init__(self) -> None:
        self.taken: list[Copy] = []
        self.times = 0

    def send(self, copies: Sequence[Copy], _address: Address) -> int:
        self.taken += copies
        self.times += 1
        return len(copies)

    def close(self) -> None: ...


def row(second: float, power: str = "3812.856", meter_id: str = "Meter_0") -> tuple[int, str]:
    time_ns = int((NOW_S + second) * SECOND)
    return time_ns, format_row(Reading(meter_id, time_ns, Decimal(power)), 3_546_184)


def copied(*commits: Sequence[tuple[int, str]]) -> list[float]:
    """The instants that are copied of these commits, one after the other, in seconds from now."""
    link = Link()
    live = Live(link, lambda: NOW_S)  # type: ignore[arg-type]
    for commit in commits:
        live.add("Meter_0", [time_ns for time_ns, _ in commit], [line for _, line in commit])
        live.send(HERE)
    return [json.loads(copy.body)["time_s"] - NOW_S for copy in link.taken]


def test_the_newest_row_of_a_commit_is_copied() -> None:
    """In whichever order they came."""
    assert copied([row(-2), row(-1)], [row(1), row(0)]) == [-1, 1]


def test_nothing_is_copied_twice_nor_backwards() -> None:
    assert copied([row(0)], [row(0)], [row(-1)], [row(1)]) == [0, 1]


@pytest.mark.parametrize("second", [-86400, -RECENT_NS / SECOND - 1, RECENT_NS / SECOND + 1, 86400])
def test_a_meter_that_catches_up_or_is_ahead_is_not_copied(second: float) -> None:
    assert copied([row(second)]) == []


def test_meters_are_copied_together() -> None:
    link = Link()
    live = Live(link, lambda: NOW_S)  # type: ignore[arg-type]
    for meter_id in ("A", "B.c"):
        time_ns, line = row(0, meter_id=meter_id)
        live.add(meter_id, [time_ns], [line])
    live.send(HERE)
    live.send(HERE)
    assert [copy.key for copy in link.taken] == ["pvsim.A", "pvsim.B.c"]
    assert (link.times, live.sent) == (1, 2)


@given(
    power=st.decimals(-(10**12), 10**12, allow_nan=False, places=30),
    pv_milliwatts=st.integers(0, 10**12),
    time_ns=st.integers(0, 253_402_300_799 * SECOND),
)
def test_a_copy_says_what_the_row_says(power: Decimal, pv_milliwatts: int, time_ns: int) -> None:
    """With numbers in the place of texts, and the grid's power exactly load less PV."""
    line = format_row(Reading("Meter_0", time_ns, power), pv_milliwatts)
    found = json.loads(body(line), parse_float=Decimal, parse_int=Decimal)
    columns = HEADER.split(",")
    assert list(found) == [*columns, "grid_power_w"]
    assert found["meter_id"] == "Meter_0"
    assert [found[name] for name in columns[1:]] == list(map(Decimal, line.split(",")[1:]))
    with localcontext(prec=100):
        assert found["grid_power_w"] == power - Decimal(pv_milliwatts) / 1000


def test_a_copy_by_hand() -> None:
    assert body("Meter_0,1782036000,3812.856,3.546184,7359.04") == (
        b'{"meter_id": "Meter_0", "time_s": 1782036000, "meter_power_value_w": 3812.856,'
        b' "pv_power_value_kw": 3.546184, "sum_meter_pv_w": 7359.04, "grid_power_w": 266.672}'
    )


@given(key=st.text("abc._-", min_size=1, max_size=134), text=st.binary(min_size=1, max_size=400))
def test_frames_are_those_of_pika(key: str, text: bytes) -> None:
    """Decoded by pika itself: a transient message to the topic exchange."""
    data = _frames(Copy(key, text))
    found = []
    while data:
        used, frame = pika.frame.decode_frame(data)
        found.append(frame)
        data = data[used:]
    method, header, content = found
    assert (method.method.exchange, method.method.routing_key, method.method.mandatory) == (EXCHANGE, key, False)
    assert (header.body_size, header.properties.delivery_mode) == (len(text), 1)
    assert header.properties.content_type == "application/json"
    assert content.fragment == text
