"""What stands in a household and when it is used: tables, and pure functions of the hour.

`activity` is the standard profile H0 less what never sleeps; people use their appliances in proportion to it, each kind
at its own hours. So the mean of many households is H0, and a single one is not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pvsim.models.days import SATURDAY, SUNDAY, WORKDAY, YEAR_DAYS, on_day

LONGEST_USE_S = 3 * 3600
SHORTEST, LONGEST = 0.6, 1.4  # how long a use takes, relative to its kind

# Mean of the hours of a day in percent of the mean of the year, for workdays, Saturdays and Sundays: the standard
# profile H0 with its dynamisation (VDEW M-02/2000, today BDEW), 1 November to 20 March and 15 May to 14 September.
_WINTER = (
    (61, 45, 41, 40, 41, 49, 94, 135, 139, 129, 121, 124, 137, 135, 121, 110, 110, 134, 174, 195, 176, 147, 122, 90),
    (70, 55, 44, 42, 40, 42, 56, 86, 125, 148, 155, 162, 175, 174, 161, 151, 152, 189, 219, 220, 180, 141, 128, 109),
    (81, 59, 47, 43, 40, 40, 43, 52, 92, 144, 181, 211, 215, 180, 142, 121, 111, 131, 163, 184, 167, 141, 120, 88),
)
_SUMMER = (
    (53, 39, 36, 34, 35, 43, 70, 93, 102, 104, 100, 102, 114, 110, 95, 85, 83, 88, 102, 119, 120, 113, 104, 81),
    (60, 46, 38, 36, 36, 37, 46, 67, 93, 112, 119, 123, 131, 127, 113, 107, 104, 107, 120, 130, 125, 111, 107, 90),
    (65, 48, 39, 36, 36, 35, 37, 50, 81, 115, 134, 148, 151, 126, 104, 90, 78, 79, 91, 110, 115, 108, 101, 78),
)
MEAN_WINTER = 0.45
_MUNICH_K = 9.55  # half of what its months differ
_COLD, _HEATERS = 0.07, 0.13
ALWAYS_ON_PERCENT = 32  # of the mean: standby and cooling, which ask for nobody


class Stage(NamedTuple):
    """A part of a use: `pulse_s` is how long a thermostat takes from on to on, of which `duty` is on."""

    minutes: float
    watts: float
    duty: float = 1.0
    pulse_s: int = 60


class Appliance(NamedTuple):
    """`uses_per_day` in a household of 3500 kWh a year; `owned`: by which share of the households; `hours`: a digit for
    each hour of the day, how much it is used then beyond what `activity` says."""

    uses_per_day: float
    owned: float
    hours: str
    stages: tuple[Stage, ...]

    @property
    def minutes(self) -> float:
        """How long a use takes."""
        return sum(stage.minutes for stage in self.stages)

    @property
    def use_kwh(self) -> float:
        """What a use takes."""
        return sum(stage.minutes * stage.watts * stage.duty for stage in self.stages) / 60_000


APPLIANCES = (
    # Light, television, computers: somebody is at home.
    Appliance(7.0, 1.00, "777777777777777777777777", (Stage(105, 110),)),
    Appliance(5.0, 1.00, "995577764444445566699999", (Stage(120, 90),)),
    # Kettle and coffee.
    Appliance(4.0, 0.95, "310016996644344674433444", (Stage(3, 2000),)),
    # Microwave, toaster.
    Appliance(3.5, 0.90, "210027854555634336663222", (Stage(4, 900),)),
    # Hob.
    Appliance(1.2, 1.00, "000002321237997224788410", (Stage(6, 3000), Stage(22, 2600, 0.5, 40))),
    # Oven.
    Appliance(0.35, 0.90, "000000111357742235876310", (Stage(10, 2900), Stage(35, 2900, 0.35, 240))),
    # Washing machine: heats, turns, spins.
    Appliance(0.55, 0.95, "000001478888777766654310", (Stage(18, 2050), Stage(60, 160, 0.7, 30), Stage(9, 420))),
    # Dishwasher: heats, rinses, heats, dries.
    Appliance(
        0.60, 0.75, "310000234454468854335886",
        (Stage(17, 2100), Stage(34, 75), Stage(14, 2100), Stage(20, 30)),
    ),
    # Tumble dryer.
    Appliance(0.35, 0.40, "000000125678776666654310", (Stage(70, 2300, 0.8, 300),)),
    # Boiler for hot water, or a heater that warms it as it flows.
    Appliance(2.2, 0.15, "322226986544544445677654", (Stage(14, 2000),)),
    Appliance(2.4, 0.20, "211126986534433344567643", (Stage(3.5, 18000),)),
    # Vacuum cleaner, iron, hair dryer, tools.
    Appliance(0.8, 1.00, "000001675667544556543210", (Stage(12, 1200, 0.9, 45),)),
)  # fmt: skip


def winter_on(day: int, monthly_c: tuple[float, ...]) -> float:
    """How much it is winter: beyond 1 in Munich's January, below 0 in its July. `day`: counted from 1970-01-01.

    It goes by the months of the place, so that the south has its winter in July, and the tropics have none.
    """
    colder = (sum(monthly_c) / len(monthly_c) - on_day(monthly_c, day % YEAR_DAYS)) / _MUNICH_K
    return MEAN_WINTER + 0.68 * max(-1.0, min(1.0, colder))


def much_on(warmth: float, winter: float) -> float:
    """How much more is used on a day since it is cold, and in cold spells of winter by what else heats.

    So the evenings of a cold spell are the peaks of a grid. `warmth`: how warm it is for its time of the year, in
    standard deviations; `winter`: as by `winter_on`.
    """
    cold = max(-2.5, min(2.5, -warmth))
    return 1 + _COLD * cold + _HEATERS * max(0.0, winter) * max(0.0, cold - 1) ** 2


def activity(kind: int, winter: float, hour: float) -> float:
    """How much people do, in percent of the mean power of a year: `hour` of a day of this kind, any real number."""
    before, part = divmod(hour - 0.5, 1)
    found = 0.0
    for place, weight in ((int(before) % 24, 1 - part), (int(before + 1) % 24, part)):
        low, high = _SUMMER[kind][place], _WINTER[kind][place]
        found += weight * (low + winter * (high - low))
    return max(0.0, found - ALWAYS_ON_PERCENT)


def wish(appliance: Appliance, kind: int, winter: float, hour: int, rhythm_h: float) -> float:
    """How likely it is to be started in an hour of a day of this kind, relative to other hours.

    `rhythm_h`: how many hours later than the mean people live.
    """
    middle_of_use = hour + 0.5 + appliance.minutes / 120 - rhythm_h
    return activity(kind, winter, middle_of_use) * int(appliance.hours[hour])


@lru_cache(maxsize=1)
def mean_wishes() -> tuple[tuple[tuple[float, ...], ...], ...]:
    """`wish` in the mean of the seasons, for each kind of day, appliance and hour."""
    return tuple(
        tuple(tuple(wish(each, kind, MEAN_WINTER, hour, 0.0) for hour in range(24)) for each in APPLIANCES)
        for kind in (WORKDAY, SATURDAY, SUNDAY)
    )
