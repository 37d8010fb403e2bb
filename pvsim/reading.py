"""A reading, meter ids, and the bytes on the wire.

Everything that comes in is checked here, once: what gets past `decode` is a reading, whoever sent it. Numbers
are kept exact (integers and Decimal, never float), so that a row can be compared with what was sent. A body as
`encode` writes it, which is nearly every one, is read as a whole by `decode_block`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, NamedTuple, NoReturn

from pvsim.errors import IdError, NotAReading

SECOND_NS = 10**9
END_NS = 253_402_300_800 * SECOND_NS  # 10000-01-01T00:00:00Z: later days have no four-digit year
MAX_POWER_W = Decimal(10**12)
_MAX_MILLIWATTS = 10**15
MAX_BODY_BYTES = 4 * 2**20
# What one message may bring: each day is a file to open (half a millisecond) and to sync. The largest that pvsim sends
# as configured by default has 1,000 readings, and a day each at the longest interval.
MAX_READINGS = 20_000
MAX_DAYS = 1_000
DAY_NS = 86_400 * SECOND_NS
JSON, NDJSON = "application/json", "application/x-ndjson"
REJECTED = "pvsim.rejected"  # the queue of what was set aside, so no meter can have this name

_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_SPACE = re.compile(r"\s*")
_RANGE = re.compile(r"(?P<prefix>.*?)(?P<first>\d+)\.\.(?P<last>\d+)", re.ASCII)
_NUMBER_AT_END = re.compile(r"(\d+)$", re.ASCII)
_MAX_RANGE = 100_000
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


def check_id(text: str) -> str:
    """Return `text` if it is a meter id, else raise IdError. Ids become file names and queue names."""
    if len(text) > 128 or not _ID.fullmatch(text):
        raise IdError(
            f"{text[:140]!r} is no meter id; use letters, digits, _, - and single inner dots, at most 128 characters."
        )
    if text == REJECTED or text.startswith("amq."):
        raise IdError(f"{text!r} is a name that the broker needs for itself; choose another meter id.")
    return text


def expand_ids(texts: Iterable[str]) -> list[str]:
    """Meter ids in their order, each once; `Meter_0..499` stands for 500 of them. IdError for what is none."""
    return list(dict.fromkeys(check_id(each) for text in texts for each in _expand(text)))


def _expand(text: str) -> Iterable[str]:
    if ".." not in text:
        return [text]
    match = _RANGE.fullmatch(text) if len(text) < 200 else None
    if not match:
        raise IdError(f"{text[:140]!r} is no range of meter ids; write it as Meter_0..499.")
    prefix, first, last = match.groups()
    if not 0 <= int(last) - int(first) < _MAX_RANGE:
        raise IdError(f"{text!r} must go upwards, over {_MAX_RANGE:,} ids at most.")
    width = len(first) if first.startswith("0") else 0
    return (f"{prefix}{number:0{width}}" for number in range(int(first), int(last) + 1))


def shown_ids(meter_ids: Sequence[str]) -> str:
    """Ids for people: up to ten as a list, more as the ranges that they make (`Meter_0..499`), ten of those at most."""
    if len(meter_ids) <= 10:
        return str(list(meter_ids))
    runs: list[list[str]] = []
    for meter_id in meter_ids:
        if runs and meter_id == _next_id(runs[-1][-1]):
            runs[-1].append(meter_id)
        else:
            runs.append([meter_id])
    texts = [_run_text(run) for run in runs[:10]]
    more = sum(map(len, runs[10:]))
    return f"{', '.join(texts)}{f' and {more} more' if more else ''}"


def _run_text(run: list[str]) -> str:
    return run[0] if len(run) == 1 else f"{run[0]}..{_NUMBER_AT_END.split(run[-1])[1]}"


def _next_id(meter_id: str) -> str:
    """The id whose number at the end is one more; it keeps the digits of one that begins with zeros. Nothing: none."""
    match = _NUMBER_AT_END.search(meter_id)
    if not match:
        return ""
    width = len(match[0]) if match[0].startswith("0") else 0
    return f"{meter_id[: match.start()]}{int(match[0]) + 1:0{width}}"


def fixed_text(scaled: int, decimals: int) -> str:
    """The shortest exact decimal text of `scaled` / 10**`decimals`: (1234500, 3) is 1234.5."""
    whole, part = divmod(abs(scaled), 10**decimals)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole}.{part:0{decimals}}".rstrip("0") if part else f"{sign}{whole}"


def power_text(scaled: int, decimals: int) -> str:
    """The same, always with a decimal point: (8000000, 3) is 8000.0.

    Readers that guess a column's type from its first rows would take a night of 0 for integers.
    """
    text = fixed_text(scaled, decimals)
    return text if "." in text else f"{text}.0"


_THOUSANDTHS = [power_text(each, 3)[1:] for each in range(1000)]  # ".0", ".001", …, ".999"
_PADDED = [f".{each:03}" for each in range(1000)]


def watts_texts(milliwatts: Sequence[int]) -> list[str]:
    """`power_text` with three decimals of each."""
    if min(milliwatts, default=0) < 0:
        return [power_text(each, 3) for each in milliwatts]
    return [f"{each // 1000}{_THOUSANDTHS[each % 1000]}" for each in milliwatts]


def kilowatts_texts(milliwatts: Sequence[int]) -> list[str]:
    """`power_text` with six decimals of each."""
    if min(milliwatts, default=0) < 0:
        return [power_text(each, 6) for each in milliwatts]
    return [
        f"{each // 1_000_000}{_PADDED[each // 1000 % 1000]}{_THOUSANDTHS[each % 1000][1:]}"
        if each % 1000
        else f"{each // 1_000_000}{_THOUSANDTHS[each // 1000 % 1000]}"
        for each in milliwatts
    ]


def times_texts(times_ns: Sequence[int]) -> list[str]:
    """`time_text` of each."""
    return [time_text(each) if each % SECOND_NS else str(each // SECOND_NS) for each in times_ns]


def decimal_text(value: Decimal) -> str:
    """The shortest exact plain text of a finite number with a decimal point: no exponent, no minus zero."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text == "-0":
        return "0.0"
    return text if "." in text else f"{text}.0"


def time_text(time_ns: int) -> str:
    """Seconds since the epoch, an integer where they are whole."""
    return fixed_text(time_ns, 9)


_START, _MIDDLE, _END = '{"meter_id": "%s", "value": ', ', "time_s": ', "}"


def block(times_ns: Sequence[int], milliwatts: Sequence[int]) -> Block:
    """The block of these readings."""
    return Block(times_ns, milliwatts, times_texts(times_ns), watts_texts(milliwatts))


def encode(meter_id: str, instants_ns: Sequence[int], milliwatts: Sequence[int]) -> bytes:
    """The body of a message with these readings: one JSON object, or one a line if there are several."""
    return encode_block(meter_id, block(instants_ns, milliwatts))


def encode_block(meter_id: str, readings: Block) -> bytes:
    """The same of a block."""
    start = _START % meter_id
    columns = zip(readings.powers, readings.times, strict=True)
    return "\n".join([f"{start}{power}{_MIDDLE}{time}{_END}" for power, time in columns]).encode()


def content_type(readings: int) -> str:
    """The content type of a body of this many readings."""
    return JSON if readings == 1 else NDJSON


def decode_block(body: bytes, queue: str) -> Block | None:
    """The readings in a body that is, byte for byte, what `encode` writes for `queue`; None for any other body.

    The numbers are guessed as if it were, and then encoded: the same bytes prove them right.
    """
    if len(body) > MAX_BODY_BYTES:
        return None
    start = _START % queue
    text = body.decode("latin-1")[len(start) : -len(_END)]
    cells = text.replace(f"{_END}\n{start}", "\n").replace(_MIDDLE, "\n").split("\n")
    try:
        milliwatts = [round(1000 * value) for value in map(float, cells[::2])]
        times_ns = [second * SECOND_NS for second in map(int, cells[1::2])]
    except (ValueError, OverflowError):
        return None
    is_in_range = (
        len(times_ns) == len(milliwatts)
        and min(times_ns) >= 0
        and max(times_ns) < END_NS
        and len(times_ns) <= MAX_READINGS
        and (len(times_ns) <= MAX_DAYS or max(times_ns) - min(times_ns) < (MAX_DAYS - 1) * DAY_NS)
        and max(map(abs, milliwatts)) <= _MAX_MILLIWATTS
    )
    if not is_in_range:
        return None
    readings = block(times_ns, milliwatts)
    return readings if encode_block(queue, readings) == body else None


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


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number)


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
