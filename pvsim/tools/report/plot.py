"""Days as a picture: the means of load, PV and grid, below each other for each meter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from itertools import groupby
from pathlib import Path

from pvsim.instants import SECOND_NS
from pvsim.tools import picture
from pvsim.tools.report.energy import Day
from pvsim.tools.report.pieces import Piece, pieces

_POINTS = 1500  # in a line, which is about as wide as the picture
_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)

Mean = tuple[float, float]  # kW of load and PV


def draw(days: Sequence[Day], time_zone: tzinfo | None, path: Path) -> None:
    """Draw them. PvsimError without matplotlib, ConfigError if the picture cannot be written."""
    meters = {meter_id: list(own) for meter_id, own in groupby(days, key=lambda day: day.meter_id)}
    figure, all_axes = picture.canvas(len(meters))
    for axes, (meter_id, own) in zip(all_axes, meters.items(), strict=True):
        width_ns = _width_ns(own)
        seconds, means = _line(_means(own, width_ns), width_ns)
        times = [datetime.fromtimestamp(each, time_zone).astimezone(time_zone) for each in seconds]
        lines = {
            "load": [load for load, _ in means],
            "PV": [pv for _, pv in means],
            "grid": [load - pv for load, pv in means],
        }
        axes.xaxis_date(times[0].tzinfo if times else None)
        for name, powers_kw in lines.items():
            axes.plot(times, powers_kw, linewidth=0.7, label=name)
        axes.axhline(0, color="black", linewidth=0.5)
        axes.set(title=f"{meter_id}, means of {width_ns // SECOND_NS} s", ylabel="kW")
        axes.legend(loc="upper right")
    picture.save(figure, path, "report.png")


def _width_ns(days: Sequence[Day]) -> int:
    """How long a point stands for: no shorter than a row, and such that a line has about _POINTS."""
    least_s = max(
        sum(day.length_ns for day in days) / SECOND_NS / _POINTS,
        max((day.interval_ns or SECOND_NS for day in days), default=SECOND_NS) / SECOND_NS,
    )
    return next((each for each in _NICE_S if each >= least_s), math.ceil(least_s)) * SECOND_NS


def _means(days: Sequence[Day], width_ns: int) -> dict[int, Mean]:
    """The means of all rows, by the number of their span since 1970."""
    sums: dict[int, list[float]] = {}
    for day in days:
        for path in day.paths:
            for piece in pieces(Path(path), day.meter_id):
                for place, load_w, pv_w, count in _parts(piece, width_ns):
                    each = sums.setdefault(place, [0.0, 0.0, 0.0])
                    each[0] += load_w
                    each[1] += pv_w
                    each[2] += count
    return {place: (load_w / count / 1000, pv_w / count / 1000) for place, (load_w, pv_w, count) in sums.items()}


def _parts(piece: Piece, width_ns: int) -> Iterator[tuple[int, float, float, int]]:
    """The rows of each span: its number, their sums, and how many they are."""
    start = 0
    places = [time_ns // width_ns for time_ns in piece.times_ns]
    for place, group in groupby(places):
        end = start + len(list(group))
        yield place, sum(piece.loads_w[start:end]), sum(piece.pvs_w[start:end]), end - start
        start = end


def _line(means: dict[int, Mean], width_ns: int) -> tuple[list[float], list[Mean]]:
    """Times in s and means in order; where some are missing, the line is broken."""
    seconds: list[float] = []
    values: list[Mean] = []
    for place in sorted(means):
        if seconds and place - 1 not in means:
            seconds.append((place - 1) * width_ns / SECOND_NS)
            values.append((math.nan, math.nan))
        seconds.append((place + 0.5) * width_ns / SECOND_NS)
        values.append(means[place])
    return seconds, values
