"""A reading, and the bytes on the wire.

Everything that comes in is checked here, once: what gets past `decode` is a reading, whoever sent it. Numbers
are kept exact (integers and Decimal, never float), so that a row can be compared with what was sent. A body as
`encode` writes it, which is nearly every one, is read as a whole by `decode_block`.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import repeat
from operator import mul
from typing import Any, NamedTuple, NoReturn

from pvsim.errors import NotAReading
from pvsim.instants import DAY_NS, END_NS, SECOND_NS, ends
from pvsim.texts import seconds_texts, times_texts, watts_texts

MAX_POWER_W = Decimal(10**12)
_MAX_MILLIWATTS = 10**15
MAX_BODY_BYTES = 4 * 2**20
# What one message may bring: each day is a file to open (half a millisecond) and to sync. The largest that pvsim sends
# as configured by default has 1,000 readings, and a day each at the longest interval.
MAX_READINGS = 20_000
MAX_DAYS = 1_000
JSON, NDJSON = "application/json", "application/x-ndjson"

_SPACE = re.compile(r"\s*")
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
_POWER_STEP = Decimal("1e-30")


class Reading(NamedTuple):
    """What a meter measured at one instant. `time_ns`: nanoseconds since the epoch; `power_w`: W."""

    meter_id: str
    time_ns: int
    power_w: Decimal


class Block(NamedTuple):
    """Readings of one meter, a column each: ns since the epoch, whole mW, and both as text, in s and W."""

    times_ns: Sequence[int]
    milliwatts: Sequence[int]
    times: Sequence[str]
    powers: Sequence[str]


_START, _MIDDLE, _END = '{"meter_id": "%s", "value": ', ', "time_s": ', "}"


def block(times_ns: Sequence[int], milliwatts: Sequence[int]) -> Block:
    """The block of these readings."""
    return Block(times_ns, milliwatts, times_texts(times_ns), watts_texts(milliwatts))


def encode(meter_id: str, instants_ns: Sequence[int], milliwatts: Sequence[int]) -> bytes:
    """The body of a message with these readings: one JSON object, or one a line if there are several."""
    return encode_block(meter_id, block(instants_ns, milliwatts))


def encode_block(meter_id: str, readings: Block) -> bytes:
    """The same of a block."""
    return _body_text(meter_id, readings.powers, readings.times).encode()


def _body_text(meter_id: str, powers: Sequence[str], times: Sequence[str]) -> str:
    start = _START % meter_id
    pairs = map(_MIDDLE.join, zip(powers, times, strict=True))
    return f"{start}{f'{_END}{chr(10)}{start}'.join(pairs)}{_END}"


def content_type(readings: int) -> str:
    """The content type of a body of this many readings."""
    return JSON if readings == 1 else NDJSON


def decode_block(body: bytes, queue: str) -> Block | None:
    """The readings in a body that is, byte for byte, what `encode` writes for `queue`; None for any other body.

    All but numbers is thrown away, as if it were such a body, and what they say is written again: the same text proves
    that it was.
    """
    if len(body) > MAX_BODY_BYTES:
        return None
    cells = body.translate(_COMMAS, _NO_NUMBERS).decode("latin-1").split(",")
    powers, times = cells[1::3], cells[2::3]
    if not len(powers) == len(times) > 0:
        return None
    times_ns, milliwatts = _whole_seconds_ns(times), _milliwatts(powers)
    if times_ns is None or milliwatts is None or not _are_in_bounds(times_ns):
        return None
    readings = Block(times_ns, milliwatts, times, watts_texts(milliwatts))
    return readings if encode_block(queue, readings) == body else None


_COMMAS = bytes.maketrans(b"\n", b",")
_NO_NUMBERS = b'{}": _' + string.ascii_letters.encode()


def _milliwatts(powers: Sequence[str]) -> list[int] | None:
    """These powers in whole mW, the nearest, if all are numbers and none is too large."""
    try:
        milliwatts = list(map(round, map(mul, map(float, powers), repeat(1000))))
        return milliwatts if -_MAX_MILLIWATTS <= min(milliwatts) <= max(milliwatts) <= _MAX_MILLIWATTS else None
    except (ValueError, OverflowError):
        return None


def _whole_seconds_ns(times: Sequence[str]) -> Sequence[int] | None:
    """The instants of times that `times_texts` writes, whole seconds, else None; mostly an arithmetic progression."""
    try:
        first, step = int(times[0]), int(times[1]) - int(times[0]) if len(times) > 1 else 1
        if first >= 0 and step > 0:
            seconds = range(first, first + step * len(times), step)
            if seconds_texts(seconds) == times:
                return range(first * SECOND_NS, seconds.stop * SECOND_NS, step * SECOND_NS)
        others = list(map(int, times))
    except ValueError:
        return None
    return [each * SECOND_NS for each in others] if list(map(str, others)) == times else None


def _are_in_bounds(times_ns: Sequence[int]) -> bool:
    """Whether these, of one message, are of years that there are, and neither too many nor of too many days."""
    first_ns, last_ns = ends(times_ns)
    are_of_few_days = len(times_ns) <= MAX_DAYS or last_ns - first_ns < (MAX_DAYS - 1) * DAY_NS
    return first_ns >= 0 and last_ns < END_NS and len(times_ns) <= MAX_READINGS and are_of_few_days


def decode(body: bytes, queue: str) -> list[Reading]:
    """The readings in the body of a message from `queue`, whatever its content type, or NotAReading."""
    if len(body) > MAX_BODY_BYTES:
        raise NotAReading(f"a body of {len(body):,} bytes; {MAX_BODY_BYTES:,} are the most")
    try:
        objects = _objects(body.decode())
    except UnicodeDecodeError as error:
        raise NotAReading(f"not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    except RecursionError:
        raise NotAReading("nested too deeply") from None
    except (ValueError, InvalidOperation) as error:
        raise NotAReading(f"not JSON: {error}"[:200]) from None
    if not objects:
        raise NotAReading("an empty body")
    if len(objects) > MAX_READINGS:
        raise NotAReading(f"more than {MAX_READINGS:,} readings, the most in one message")
    readings = [_reading(each, queue) for each in objects]
    days = len({each.time_ns // DAY_NS for each in readings})
    if days > MAX_DAYS:
        raise NotAReading(f"readings of {days:,} days; {MAX_DAYS:,} are the most in one message")
    return readings


def most_readings(interval_ns: int) -> int:
    """How many readings of this interval fit into one message, whose times a fault may shift by a day and two more."""
    return min(MAX_READINGS, (MAX_DAYS - 3) * DAY_NS // interval_ns)


def _objects(text: str) -> list[Any]:
    """JSON values that stand one a line (parsed at one go: a fifth of the time), or in any other layout."""
    lines = text.strip().splitlines()
    try:
        values: list[Any] = _DECODER.decode(f"[{','.join(lines)}]")
        if len(values) == len(lines):
            return values
    except ValueError:
        pass
    return _values(text)


def _values(text: str) -> list[Any]:
    values: list[Any] = []
    at = _next(text, 0)
    while at < len(text) and len(values) <= MAX_READINGS:
        value, end = _DECODER.raw_decode(text, at)
        values.append(value)
        at = _next(text, end)
    return values


def _next(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match  # it matches nothing, too
    return match.end()


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values under one key are two readings, and nobody can know which was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotAReading("a key that stands twice in one object")
    return found


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_object)


def _reading(value: Any, queue: str) -> Reading:
    if not isinstance(value, dict):
        raise NotAReading("not a JSON object")
    for key in ("meter_id", "value", "time_s"):
        if key not in value:
            raise NotAReading(f"{key} is missing")
    if value["meter_id"] != queue:
        raise NotAReading(f"meter_id is not {queue}, the name of the queue")
    return Reading(queue, _time_ns(value["time_s"]), _power_w(value["value"]))


def _time_ns(value: Any) -> int:
    if type(value) is int and 0 <= value * SECOND_NS < END_NS:
        return value * SECOND_NS
    if not 0 <= _number(value, "time_s") < END_NS // SECOND_NS:
        raise NotAReading("time_s is not between the years 1970 and 9999")
    try:
        return int(_EXACT.quantize(_EXACT.multiply(value, SECOND_NS), Decimal(1)))
    except (Inexact, InvalidOperation):
        raise NotAReading("time_s has more than nine decimals") from None


def _power_w(value: Any) -> Decimal:
    power_w = _number(value, "value")
    if not -MAX_POWER_W <= power_w <= MAX_POWER_W:
        raise NotAReading(f"value is beyond {MAX_POWER_W:,} W")
    try:
        _EXACT.quantize(power_w, _POWER_STEP)
    except (Inexact, InvalidOperation):
        raise NotAReading("value has more than 30 decimals") from None
    return power_w or Decimal()  # a zero has no sign and no exponent


def _number(value: Any, key: str) -> Decimal:
    if type(value) is int:
        return Decimal(value)
    if type(value) is not Decimal:
        raise NotAReading(f"{key} is no number")
    return value
