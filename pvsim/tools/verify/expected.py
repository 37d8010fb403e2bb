"""What the rows of a meter should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal

from pvsim.config import MeterSettings, PvSettings
from pvsim.models import PowerModel, load, solar
from pvsim.models.faults import Faulty
from pvsim.reading import Reading, block
from pvsim.row import format_block, format_row, parse_row, with_points


@dataclass(frozen=True)
class Expected:
    """How the rows of a meter come about. `power`: None where the meter's values are not to be checked."""

    meter_id: str
    interval_ns: int
    power: PowerModel | None
    pv_power: PowerModel
    time_zone: tzinfo | None
    faults: Faulty | None = None

    def grid(self, start_ns: int, end_ns: int) -> range:
        """The instants of its readings from the first instant up to and without the second."""
        return range(-(-start_ns // self.interval_ns) * self.interval_ns, end_ns, self.interval_ns)

    def lines(self, times: Sequence[int], lines: Sequence[str], instants: Sequence[int] | None = None) -> list[str]:
        """What `lines`, rows with these times, should be; where they are no rows it is something else.

        `instants`: those of their readings, if these are not their times.
        """
        pv = self.pv_power(times)
        if self.power is None:
            return [self._line_with_value(*each) for each in zip(times, lines, pv, strict=True)]
        return format_block(self.meter_id, block(times, self.power(instants or times)), pv)

    def instant(self, time_ns: int, line: str) -> int | None:
        """The instant of the reading of a row; None if faults leave no reading that says this time."""
        if self.faults is None:
            return time_ns
        origins = self.faults.origins(time_ns)
        if len(origins) > 1:
            row = with_points(line)
            origins = [each for each in origins if self.lines([time_ns], [row], [each]) == [row]] or origins
        if not origins and time_ns % self.interval_ns:
            return time_ns  # it is off the grid, and said to be
        return origins[0] if origins else None

    def time_ns(self, instant_ns: int) -> int:
        """The time of the row of the reading of an instant."""
        return self.faults.time_ns(instant_ns) if self.faults else instant_ns

    def has_row(self, instant_ns: int) -> bool:
        """Whether there is to be a row of this instant, and not only one that looks the same."""
        if self.faults is None:
            return True
        time_ns = self.faults.time_ns(instant_ns)
        (line,) = self.lines([time_ns], [""], [instant_ns])
        return not self.faults.is_dropped(instant_ns) and self.instant(time_ns, line) == instant_ns

    def _line_with_value(self, time_ns: int, line: str, pv_milliwatts: int) -> str:
        try:
            power_w = parse_row(line).power_w
        except ValueError:
            power_w = Decimal(0)
        return format_row(Reading(self.meter_id, time_ns, power_w), pv_milliwatts)


def expect(meter_id: str, meter: MeterSettings, pv: PvSettings, time_zone: tzinfo | None) -> Expected:
    """How the rows of a meter with these settings come about."""
    power = load.model(meter.model, meter.seed, meter_id, **meter.parameters)
    pv_power = solar.model(pv.model, pv.seed, meter_id, **pv.parameters)
    if not meter.faults:
        return Expected(meter_id, meter.interval_ns, power, pv_power, time_zone)
    faults = Faulty(meter.seed, meter_id, meter.interval_ns, power, meter.faults)
    return Expected(meter_id, meter.interval_ns, faults.power, pv_power, time_zone, faults)
