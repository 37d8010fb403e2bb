"""Exports of many programs replay to what they meant; what can be read in two ways is told with both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from pvsim.models.replay import Profile
from pvsim.profiles import BadProfile, Wishes, read

SECOND = 10**9


def parse(text: str, **wishes: Any) -> Profile:
    """The profile in a text."""
    return read([text], Wishes(**wishes))


def found(profile: Profile) -> list[tuple[str, float]]:
    """Instants as the shortest ISO text in UTC, and W."""
    moments = [datetime.fromtimestamp(each // SECOND, UTC).strftime("%m-%dT%H:%M:%S") for each in profile.times]
    return [(at.removesuffix(":00"), each / 1000) for at, each in zip(moments, profile.milliwatts, strict=True)]


TEN = [("06-21T10:00", 100.0), ("06-21T11:00", 200.0)]
HALF = [("06-21T10:00", 400.0), ("06-21T10:30", 200.0)]
BERLIN: dict[str, Any] = {"file_timezone": "Europe/Berlin"}
GERMAN: dict[str, Any] = {"time_format": "%d.%m.%Y %H:%M", **BERLIN}

# What wrote it, its text, the keys, and what it means.
GOOD: list[tuple[str, str, dict[str, Any], list[tuple[str, float]]]] = [
    (
        "Home Assistant history with offsets, a fraction or none",
        "entity_id,state,last_changed\ns.p,100,2026-06-21T12:00:00+02:00\ns.p,200,2026-06-21T11:00:00.000+00:00\n",
        {"column": "state"},
        TEN,
    ),
    (
        "two entities of Home Assistant",
        "entity_id,state,last_changed\ns.a,100,2026-06-21T10:00:00Z\ns.b,5,2026-06-21T10:00:00Z\n"
        "s.a,200,2026-06-21T11:00:00Z\ns.b,6,2026-06-21T11:00:00Z\n",
        {"column": "state", "where": ("entity_id", "s.a")},
        TEN,
    ),
    (
        "InfluxDB's command line, ns",
        "name,time,value\npv,1782036000000000000,100\npv,1782039600000000000,200\n",
        {"column": "value"},
        TEN,
    ),
    *(
        (
            f"one meter, below one in {unit}",
            f"time,id,v,unit\n2026-06-21T09:00Z,2,5,{unit}\n2026-06-21T10:00Z,1,100,W\n2026-06-21T11:00Z,1,200,W\n",
            {"column": "v", "where": ("id", "1")},
            TEN,
        )
        for unit in ("kW", "°C", "")
    ),
    (
        "a power, below an energy",
        "entity_id,state,last_changed\nsensor.energy,5,2026-06-21T09:00Z\nsensor.power,100,2026-06-21T10:00Z\n"
        "sensor.power,200,2026-06-21T11:00Z\n",
        {"column": "state", "where": ("entity_id", "sensor.power")},
        TEN,
    ),
    ("Grafana, ms", "time,P\n1782036000000,100\n1782039600000,200\n", {}, TEN),
    *(
        (
            f"a unit of each row, in {name}",
            f"time,value,{name}\n2026-06-21T10:00Z,0.1,kW\n2026-06-21T11:00Z,0.2,kW\n",
            {"column": "value"},
            TEN,
        )
        for name in ("unit", "unit_of_measurement", "uom", "x")
    ),
    *(
        (f"kW in {name}", f"time,{name}\n2026-06-21T10:00Z,0.1\n2026-06-21T11:00Z,0.2\n", {}, TEN)
        for name in (
            "PkW",
            "powerKw",
            "pvPowerKW",
            "P_kW_avg",
            "kWatt",
            "Kilowatts",
            "mean_kilowatt",
            "kWac",
            "P [kW_DC]",
            "kWel",
            "[k W]",
            "TOTALKW",
        )
    ),
    *(
        (f"kWh in {name}", f"time,{name}\n2026-06-21T10:00Z,0.2\n2026-06-21T10:30Z,0.1\n", {}, HALF)
        for name in (
            "energyKWh",
            "E kW·h",
            "E [kW h]",
            "kW-hours",
            "kilowatt hours",
            "Kilowattstunde",
            "kilowatts-hour",
            "kWhr",
            "use [kWhrs]",
        )
    ),
    ("Wattstunden", "time,Wattstunden\n2026-06-21T10:00Z,200\n2026-06-21T10:30Z,100\n", {}, HALF),
    ("watt-hours", "time,watt-hours\n2026-06-21T10:00Z,200\n2026-06-21T10:30Z,100\n", {}, HALF),
    ("watts", "time,mean watts\n2026-06-21T10:00Z,100\n2026-06-21T11:00Z,200\n", {}, TEN),
    ("one of several", "time,PV1 kW\n2026-06-21T10:00Z,0.1\n2026-06-21T11:00Z,0.2\n", {}, TEN),
    (
        "wind from the west",
        "time,P,wind\n2026-06-21T10:00Z,100,W\n2026-06-21T11:00Z,200,NW\n",
        {},
        TEN,
    ),
    ("a BMW", "time,BMW\n2026-06-21T10:00Z,100\n2026-06-21T11:00Z,200\n", {}, TEN),
    (
        "two-digit years",
        "time,P\n2606211000,100\n2606211100,200\n",
        {"time_format": "%y%m%d%H%M"},
        TEN,
    ),
    *(
        (f"a mean power, {name}", f"time,{name}\n2026-06-21T10:00Z,0.4\n2026-06-21T10:30Z,0.2\n", {}, HALF)
        for name in ("kWh/h", "kWh per hour", "P [kWh/h]")
    ),
    (
        "a mean power, in a row of units",
        "time,Load\n,MWh/h\n2026-06-21T10:00Z,0.0004\n2026-06-21T10:30Z,0.0002\n",
        {},
        HALF,
    ),
    (
        "factors of 1",
        "Faktor;1\ntime;P;multiplier\n2026-06-21T10:00Z;0,4;1\n2026-06-21T10:30Z;0,2;1\n",
        {"column": "P", "unit": "kW"},
        HALF,
    ),
    (
        "energies of an evening",
        "time,kWh\n2026-06-21T10:00Z,0.1\n2026-06-21T11:00Z,0.2\n2026-06-21T12:00Z,0\n",
        {},
        [*TEN, ("06-21T12:00", 0.0)],
    ),
    (
        "a time in parts",
        "Year,Month,Day,Hour,Minute,P\n2026,6,21,10,0,100\n2026,6,21,11,0,200\n",
        {"column": "P", "time_column": "Year + Month + Day + Hour + Minute", "time_format": "%Y %m %d %H %M"},
        TEN,
    ),
    (
        "a time zone above the header, and UTC",
        "Time zone: UTC\ntime,P\n2026-06-21 10:00,100\n2026-06-21 11:00,200\n",
        {},
        TEN,
    ),
    (
        "Enedis: the unit below its name",
        "PRM;Unite;Pas\n123;W;30\nHorodate;Valeur\n2026-06-21T12:00:00+02:00;100\n2026-06-21T13:00:00+02:00;200\n",
        {},
        TEN,
    ),
    (
        "a part that was replaced",
        "time,serial,P\n2026-06-21T10:00Z,A,100\n2026-06-21T11:00Z,A,200\n2026-06-21T12:00Z,B,300\n",
        {"column": "P"},
        [*TEN, ("06-21T12:00", 300)],
    ),
    ("an id of each row", "id,time,P\n1,2026-06-21T10:00Z,100\n2,2026-06-21T11:00Z,200\n", {}, TEN),
    ("µs", "timestamp,P\n1782036000000000,100\n1782039600000000,200\n", {}, TEN),
    ("Grafana, with sep=", 'sep=,\n"Time","P"\n2026-06-21 10:00:00,100\n2026-06-21 11:00:00,200\n', {}, TEN),
    ("Excel, with sep=;", "sep=;\ntime;P\n2026-06-21 10:00;100\n2026-06-21 11:00;200\n", {}, TEN),
    (
        "SMA: preamble, serial numbers, units, decimal commas",
        "sep=;\nVersion CSV1|Tool SE|Linebreaks CR/LF|Delimiter semicolon|Decimalpoint comma|Precision 3\n\n"
        ";SN: 2001234567;SN: 2001234567\n;SB 5000TL;SB 5000TL\nZeit;Gesamtertrag;Leistung\n"
        "[dd.MM.yyyy HH:mm];[kWh];[kW]\n21.06.2026 12:00;1234,567;0,1\n21.06.2026 13:00;1234,767;0,2\n",
        {"column": "Leistung", **GERMAN},
        TEN,
    ),
    (
        "Fronius: a row of units",
        "Datum und Uhrzeit;PV Produktion\n[dd.MM.yyyy HH:mm];[Wh]\n21.06.2026 12:00;50\n21.06.2026 12:30;200,5\n"
        "21.06.2026 13:00;100\n",
        GERMAN,
        [("06-21T10:00", 100), ("06-21T10:30", 401), ("06-21T11:00", 200)],
    ),
    (
        "SolarEdge: quotes, day first",
        '"Time","System Production (W)"\n"21/06/2026 10:00","100"\n"21/06/2026 11:00","200"\n',
        {"time_format": "%d/%m/%Y %H:%M"},
        TEN,
    ),
    (
        "Enphase: month first, AM and PM",
        "Date/Time,Energy Produced (Wh)\n06/21/2026 10:00 AM,25\n06/21/2026 10:15 AM,50\n06/21/2026 10:30 AM,25\n",
        {"time_format": "%m/%d/%Y %I:%M %p"},
        [("06-21T10:00", 100), ("06-21T10:15", 200), ("06-21T10:30", 100)],
    ),
    (
        "Growatt: no., serial number, many columns",
        "No.,Serial number,Time,Status,Pac(W)\n1,ABC,2026-06-21 10:00:00,Normal,100.0\n"
        "2,ABC,2026-06-21 11:00:00,Normal,200.0\n",
        {"column": "Pac(W)"},
        TEN,
    ),
    (
        "Huawei: preamble, kW",
        "Plant Report\nPlant name,Home\n\nStatistical Period,PV Yield (kW)\n2026-06-21 10:00:00,0.1\n"
        "2026-06-21 11:00:00,0.2\n",
        {},
        TEN,
    ),
    (
        "a German network's load profile: date and time apart, the last quarter is 24:00",
        "Datum;Uhrzeit;Wirkleistung [kW]\n21.06.2026;23:45;0,1\n21.06.2026;24:00;0,2\n",
        {"time_column": "Datum + Uhrzeit", "time_format": "%d.%m.%Y %H:%M"},
        [("06-21T23:45", 100), ("06-22", 200)],
    ),
    (
        "ISO dates and times apart",
        "Date,Time,P\n2026-06-21,10:00,100\n2026-06-21,11:00,200\n",
        {"time_column": "Date + Time"},
        TEN,
    ),
    (
        "SMARD: MWh, thousands and decimals",
        "Datum;Photovoltaik [MWh]\n21.06.2026 12:00;1.234,5\n21.06.2026 13:00;999,25\n",
        GERMAN,
        [("06-21T10:00", 1_234_500_000), ("06-21T11:00", 999_250_000)],
    ),
    (
        "NREL: kW, comments",
        "# PVDAQ\n# site 2\nmeasured_on,ac_power (kW)\n2026-06-21 10:00:00,0.1\n2026-06-21 11:00:00,0.2\n",
        {},
        TEN,
    ),
    (
        "pandas, an index without a name",
        ",P\n2026-06-21 10:00:00+00:00,100.0\n2026-06-21 11:00:00+00:00,200.0\n",
        {},
        TEN,
    ),
    (
        "pandas, rows of NaN",
        "ts,P\n2026-06-21 10:00:00,100\n2026-06-21 10:30:00,NaN\n2026-06-21 11:00:00,200\n",
        {"missing": "skip"},
        TEN,
    ),
    (
        "R, NA",
        '"time","P"\n"2026-06-21 10:00:00",100\n"2026-06-21 10:30:00",NA\n"2026-06-21 11:00:00",200\n',
        {"missing": "skip"},
        TEN,
    ),
    ("numpy's savetxt: the header is a comment", "# time,P\n1782036000,100\n1782039600,200\n", {}, TEN),
    ("UK-DALE as CSV, spaces around", "time, P\n1782036000, 100\n1782039600, 200\n", {}, TEN),
    ("SQL's UTC, T and a space", "t,P\n2026-06-21T10:00:00 +0000,100\n2026-06-21T11:00:00 +0000,200\n", {}, TEN),
    ("GMT", "t,P\n2026-06-21 10:00:00 GMT,100\n2026-06-21 11:00:00 GMT,200\n", {}, TEN),
    ("a decimal comma in seconds", "t;P\n2026-06-21 10:00:00,000;100\n2026-06-21 11:00:00,000;200\n", {}, TEN),
    ("slashes, the year first", "t,P\n2026/06/21 10:00,100\n2026/06/21 11:00,200\n", {}, TEN),
    (
        "one digit of the hour",
        "t,P\n2026-06-21 9:00,100\n2026-06-21 10:00,200\n",
        {},
        [("06-21T09:00", 100), ("06-21T10:00", 200)],
    ),
    ("digits alone, to minutes", "time,P\n202606211000,100\n202606211100,200\n", {}, TEN),
    ("digits alone, to seconds", "time,P\n20260621100000,100\n20260621110000,200\n", {}, TEN),
    ("digits alone, days", "date,P\n20260621,100\n20260622,200\n", {}, [("06-21T00:00", 100), ("06-22", 200)]),
    ("digits and a point", "time,P\n20260621:1000,100\n20260621:1100,200\n", {}, TEN),
    ("24:00", "t,P\n2026-06-20 23:00,100\n2026-06-20 24:00,200\n", {}, [("06-20T23:00", 100), ("06-21", 200)]),
    ("empty delimiters at all ends", "time;P;;\n2026-06-21T10:00Z;100;;\n2026-06-21T11:00Z;200;;\n", {}, TEN),
    ("at the rows' ends alone", "time;P\n2026-06-21T10:00Z;100;\n2026-06-21T11:00Z;200;\n", {}, TEN),
    ("at the header's end alone", "time;P;\n2026-06-21T10:00Z;100\n2026-06-21T11:00Z;200\n", {}, TEN),
    ("rows of delimiters", "time;P\n;\n2026-06-21T10:00Z;100\n;\n2026-06-21T11:00Z;200\n;\n;\n", {}, TEN),
    ("an empty line after the header", "time,P\n\n2026-06-21T10:00Z,100\n2026-06-21T11:00Z,200\n", {}, TEN),
    ("a total at the end", "time,P\n2026-06-21T10:00Z,100\n2026-06-21T11:00Z,200\nTotal,300\n", {}, TEN),
    ("notes at the end", "time,P\n2026-06-21T10:00Z,100\n2026-06-21T11:00Z,200\n\nMade by X, in 2026\nEnd\n", {}, TEN),
    ("two files in one", "time,P\n2026-06-21T10:00Z,100\ntime,P\n2026-06-21T11:00Z,200\n", {}, TEN),
    ("names in quotes, with a comma", '"time","P, W"\n"2026-06-21T10:00Z","100"\n"2026-06-21T11:00Z","200"\n', {}, TEN),
    ("a wish among columns of one name", "time,x,P,x\n2026-06-21T10:00Z,1,100,2\n2026-06-21T11:00Z,1,200,2\n", {}, TEN),
    (
        "Swiss thousands",
        "t;P (W)\n2026-06-21T10:00Z;1'100.0\n2026-06-21T11:00Z;200\n",
        {},
        [("06-21T10:00", 1100), ("06-21T11:00", 200)],
    ),
    (
        "English thousands in quotes",
        't,P\n2026-06-21T10:00Z,"1,100.50"\n2026-06-21T11:00Z,200\n',
        {},
        [("06-21T10:00", 1100.5), ("06-21T11:00", 200)],
    ),
    (
        "German thousands, told by others",
        "t;P\n2026-06-21T10:00Z;1.100\n2026-06-21T11:00Z;2.200,50\n",
        {},
        [("06-21T10:00", 1100), ("06-21T11:00", 2200.5)],
    ),
    (
        "three decimals, told by others",
        "t;P\n2026-06-21T10:00Z;1.100\n2026-06-21T11:00Z;0.5\n",
        {},
        [("06-21T10:00", 1.1), ("06-21T11:00", 0.5)],
    ),
    (
        "three decimals and commas",
        "t,P\n2026-06-21T10:00Z,1.100\n2026-06-21T11:00Z,2.205\n",
        {},
        [("06-21T10:00", 1.1), ("06-21T11:00", 2.205)],
    ),
    (
        "signs and exponents",
        "t,P\n2026-06-21T10:00Z,+1.0E2\n2026-06-21T11:00Z,-2e-1\n",
        {},
        [("06-21T10:00", 100), ("06-21T11:00", -0.2)],
    ),
    ("minus zero", "t,P\n2026-06-21T10:00Z,-0.0\n2026-06-21T11:00Z,-0\n", {}, [("06-21T10:00", 0), ("06-21T11:00", 0)]),
    (
        "a minus of typographers",
        "t,P\n2026-06-21T10:00Z,−5\n2026-06-21T11:00Z,5\n",
        {},
        [("06-21T10:00", -5), ("06-21T11:00", 5)],
    ),
    (
        "a name in MW",
        "t,load_MW\n2026-06-21T10:00Z,1.5\n2026-06-21T11:00Z,2\n",
        {},
        [("06-21T10:00", 1_500_000), ("06-21T11:00", 2_000_000)],
    ),
    (
        "a key in MW",
        "t,load\n2026-06-21T10:00Z,1.5\n2026-06-21T11:00Z,2\n",
        {"unit": "MW"},
        [("06-21T10:00", 1_500_000), ("06-21T11:00", 2_000_000)],
    ),
    (
        "kWh an hour, falling",
        "t,use [kWh]\n2026-06-21T10:00Z,0.2\n2026-06-21T11:00Z,0.1\n",
        {},
        [("06-21T10:00", 200), ("06-21T11:00", 100)],
    ),
    ("Wh, by key, rising", "t,use\n2026-06-21T10:00Z,100\n2026-06-21T11:00Z,200\n", {"unit": "Wh"}, TEN),
    (
        "kWh with a row that is missing",
        "t,use\n2026-06-21T10:00Z,0.1\n2026-06-21T10:15Z,\n2026-06-21T10:30Z,0.1\n"
        "2026-06-21T10:45Z,0.1\n2026-06-21T11:00Z,0.1\n2026-06-21T11:15Z,0.1\n",
        {"unit": "kWh", "missing": "skip"},
        [("06-21T10:00", 400), ("06-21T10:30", 400), ("06-21T10:45", 400), ("06-21T11:00", 400), ("06-21T11:15", 400)],
    ),
    (
        "a counter in Wh",
        "t,E\n2026-06-21T10:00Z,5000\n2026-06-21T11:00Z,5100\n2026-06-21T12:00Z,5300\n",
        {"unit": "Wh total"},
        TEN,
    ),
    (
        "an AMI meter: start and end",
        "start,end,kwh\n2026-06-21T10:00Z,2026-06-21T11:00Z,0.2\n2026-06-21T11:00Z,2026-06-21T12:00Z,0.1\n",
        {"time_column": "start"},
        [("06-21T10:00", 200), ("06-21T11:00", 100)],
    ),
    (
        "UTC beside local time, named",
        "utc,local,P\n2026-06-21 10:00,2026-06-21 12:00,100\n2026-06-21 11:00,2026-06-21 13:00,200\n",
        {"time_column": "utc"},
        TEN,
    ),
    (
        "local time beside UTC, named",
        "utc,local,P\n2026-06-21 10:00,2026-06-21 12:00,100\n2026-06-21 11:00,2026-06-21 13:00,200\n",
        {"time_column": "local", **BERLIN},
        TEN,
    ),
    (
        "epoch seconds of 2034, by key",
        "time,P\n2026062110,100\n2026062111,200\n",
        {"time_format": "%s"},
        [("03-15T19:01:50", 100), ("03-15T19:01:51", 200)],
    ),
    (
        "seconds from 0",
        "time,P\n0,1\n30000,2\n60000,3\n",
        {},
        [("01-01T00:00", 1), ("01-01T08:20", 2), ("01-01T16:40", 3)],
    ),
    (
        "no value in the hour that is left out",
        "t,P\n2026-03-29 01:00,1\n2026-03-29 02:00,\n2026-03-29 02:30,NaN\n2026-03-29 03:00,2\n",
        {**BERLIN, "missing": "skip"},
        [("03-29T00:00", 1), ("03-29T01:00", 2)],
    ),
    (
        "hours to 24, in a column of their own",
        "Year,Month,Day,Hour,P\n2026,6,20,23,100\n2026,6,20,24,200\n",
        {"column": "P", "time_column": "Year + Month + Day + Hour", "time_format": "%Y %m %d %H"},
        [("06-20T23:00", 100), ("06-21", 200)],
    ),
    *(
        (
            f"a typical year in a clock of one hour ahead, {what}",
            f"time,P\n{rows}",
            {"file_timezone": "Etc/GMT-1"},
            [("01-31T22:00", 3.0), ("01-31T23:00", 1.0), ("02-01", 2.0)],
        )
        for what, rows in (
            ("in order", "2018-01-31 23:00,3\n2007-02-01 00:00,1\n2007-02-01 01:00,2\n"),
            ("with offsets", "2018-01-31 23:00+01:00,3\n2007-02-01 00:00+01:00,1\n2007-02-01 01:00+01:00,2\n"),
        )
    ),
    (
        "a day of 25 hours",
        "t,P\n2026-10-25 02:00,1\n2026-10-25 02:30,2\n2026-10-25 02:00,3\n2026-10-25 02:30,4\n2026-10-25 03:00,5\n",
        BERLIN,
        [("10-25T00:00", 1), ("10-25T00:30", 2), ("10-25T01:00", 3), ("10-25T01:30", 4), ("10-25T02:00", 5)],
    ),
    (
        "a day of 23 hours",
        "t,P\n2026-03-29 01:00,1\n2026-03-29 03:00,2\n2026-03-29 04:00,3\n",
        BERLIN,
        [("03-29T00:00", 1), ("03-29T01:00", 2), ("03-29T02:00", 3)],
    ),
]


@pytest.mark.parametrize("text, wishes, right", [each[1:] for each in GOOD], ids=[each[0] for each in GOOD])
def test_what_it_means(text: str, wishes: dict[str, Any], right: list[tuple[str, float]]) -> None:
    """Instants and powers; and the same in small pieces, with other line ends, and repeated in blocks."""
    profile = parse(text, **wishes)
    right = [(at.removesuffix(":00") if len(at) > 5 else f"{at}T00:00", watts) for at, watts in right]
    assert [(at if len(at) > 8 else f"{at}:00", watts) for at, watts in found(profile)] == [
        (at if ":" in at else f"{at}:00", watts) for at, watts in right
    ]
    pieces = [f"{line}\n" for line in text.split("\n")[:-1]]
    assert read(pieces, Wishes(**wishes)) == profile


BAD: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "Victron: a time zone in a row of units",
        '"timestamp","PV power"\n"Europe/Berlin (+02:00)","W"\n"2026-06-21 12:00:00","1500"\n'
        '"2026-06-21 12:30:00","1600"\n',
        {},
        "the times are not UTC, as the column Europe/Berlin (+02:00) says, and have no offset; give file_timezone",
    ),
    *(
        (
            f"{line} above the header",
            f"{line}\ntime,P\n2026-06-21 12:00,1\n2026-06-21 12:30,2\n",
            {},
            f"line 1 says {said}, and times such as 2026-06-21 12:00 have no offset; give file_timezone = UTC, or",
        )
        for line, said in (
            ("Time zone: Europe/Berlin", "Europe/Berlin"),
            ("Source,Time Zone\nNSRDB,-7", "Time Zone"),
            ("Zeitzone;MEZ", "MEZ"),
            ("Zeit in UTC+1", "UTC+1"),
        )
    ),
    *(
        (
            f"{line} above the header",
            f"{line}\nHorodate;Valeur\n2026-06-21T12:00Z;1\n2026-06-21T12:30Z;2\n",
            {},
            f"says {said}, and Valeur is taken as W; give unit = {said} or unit = W.",
        )
        for line, said in (
            ("PRM;Unite;Pas\n123;kW;30", "kW"),
            ("PRM;Unite\n123;Wh", "Wh"),
            ("# Units: time in UTC, Valeur in kW", "kW"),
        )
    ),
    *(
        (
            f"{name}, in no unit",
            f"time,{name}\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n",
            {},
            f"the column {name} is an energy or a power in a unit that is not told; give unit = Wh, kWh, MWh, or",
        )
        for name in (
            "consumption",
            "Verbrauch",
            "electricity",
            "total_import",
            "Production",
            "imported",
            "Export",
            "1-0:1.8.0",
        )
    ),
    (
        "a counter under a name that says nothing",
        "time,m1\n" + "".join(f"2026-06-21T{hour:02}:00Z,{12_000_000 + 100 * hour}\n" for hour in range(11)),
        {},
        "has values in m1 that never fall: a power, for unit = W, or a counter, for unit = Wh total or kWh total.",
    ),
    *(
        (
            f"a factor in {name}",
            f"time,{name}\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n",
            {},
            f"line 1: the column {name} says {said}, which may be a factor; give unit = one of",
        )
        for name, said in (
            ("P (kW x 10)", "kW x 10"),
            ("P [x10 W]", "x10 W"),
            ("P [100 W]", "100 W"),
            ("P [kW/10]", "kW/10"),
        )
    ),
    *(
        (
            f"no power: {name}",
            f"time,{name}\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n",
            {},
            f"line 1: the column {name} is in {said}, which is no power; name another one, or give unit.",
        )
        for name, said in (
            ("EUR/MWh", "EUR/MWh"),
            ("price per kWh", "price"),
            ("temp", "temp"),
            ("P (hp)", "hp"),
            ("p.u.", "p.u."),
        )
    ),
    (
        "a factor in a column",
        "time,value,multiplier\n2026-06-21T10:00Z,100,10\n2026-06-21T10:30Z,200,10\n",
        {"column": "value"},
        "line 2 has a factor, 10; multiply the values, or give scale, and take the factor away.",
    ),
    (
        "a factor above the header",
        "Faktor;0,1\ntime;P\n2026-06-21T10:00Z;15,0\n2026-06-21T10:30Z;16,5\n",
        {},
        "line 1 has a factor, 0,1; multiply the values",
    ),
    *(
        (
            f"a time zone in each row: {cell}",
            f"time,zone,P\n2026-06-21 12:00,{cell},1\n2026-06-21 12:30,{cell},2\n",
            {"column": "P"},
            f"line 2 says {cell}, and times such as 2026-06-21 12:00 have no offset; give file_timezone = UTC, or the",
        )
        for cell in ("Europe/Berlin", "+02:00", "CEST")
    ),
    *(
        (
            f"the year in front of a single digit: {text}",
            f"time,P\n{text},1\n{text},2\n",
            {},
            f"line 2: {text} has month or day in one digit, or points; give time_format = {form} %H:%M.",
        )
        for text, form in (("2026/6/21 9:00", "%Y/%m/%d"), ("2026.06.21 10:00", "%Y.%m.%d"))
    ),
    (
        "import and export in turn",
        "time,direction,P\n2026-06-21T10:00Z,in,1\n2026-06-21T11:00Z,out,2\n2026-06-21T12:00Z,in,3\n",
        {"column": "P"},
        "line 4 is of in again, after out: the column direction has several",
    ),
    *(
        (
            f"an entity that says {said}",
            f"entity_id,state,last_changed\n{name},1500.5,2026-06-21T10:00:00Z\n{name},1501,2026-06-21T10:30:00Z\n",
            {"column": "state"},
            f"line 2 is of {name}, which says {said}, and nothing else tells a unit; give unit = one of",
        )
        for name, said in (("sensor.pv_energy_total", "an energy"), ("sensor.pv_power_kw", "kW"))
    ),
    (
        "an energy, below a power",
        "entity_id,state,last_changed\ns.power,5,2026-06-21T09:00Z\ns.energy,1,2026-06-21T10:00Z\n"
        "s.energy,2,2026-06-21T11:00Z\n",
        {"column": "state", "where": ("entity_id", "s.energy")},
        "line 3 is of s.energy, which says an energy, and nothing else tells a unit",
    ),
    (
        "a meter far below one in another unit",
        "time,id,v,unit\n"
        + "".join(f"{1_782_036_000 + at},{at // 300},{at},{'kW' if at < 300 else 'W'}\n" for at in range(310)),
        {"column": "v", "where": ("id", "1")},
        "line 302 is in W, as the column unit says, and the lines before in kW",
    ),
    (
        "two tables of InfluxDB",
        ",result,table,_time,_value\n,,0,2026-06-21T10:00Z,1\n,,0,2026-06-21T11:00Z,2\n,,1,2026-06-21T12:00Z,230\n",
        {"column": "_value"},
        "line 4 is of 1, after 0: the column table has several; give where = table = 0, say",
    ),
    (
        "a meter that is not there",
        "time,id,P\n2026-06-21T10:00Z,1,5\n2026-06-21T10:30Z,1,7\n",
        {"where": ("id", "9")},
        "has fewer than two lines with id = 9; name another value.",
    ),
    (
        "the name of a zone behind the time",
        "Zeit;P\n25.10.2026 02:00 MESZ;1\n25.10.2026 02:00 MEZ;2\n",
        {},
        "line 2: 25.10.2026 02:00 MESZ has MESZ behind it; take that away, and give file_timezone and time_format.",
    ),
    (
        "another quantity below the first",
        ",result,_time,_value,_field\n,,2026-06-21T10:00:00Z,100,power\n,,2026-06-21T10:30:00Z,200,power\n\n"
        ",result,_time,_value,_field\n,,2026-06-21T11:00:00Z,230,voltage\n",
        {"column": "_value"},
        "line 6 is of voltage, after power: the column _field has several; give where = _field = power, say, or take",
    ),
    (
        "a meter that comes again in a later piece",
        "time,meter,P\n" + "".join(f"{1_782_036_000 + at},{'ABA'[at // 4]},{at}\n" for at in range(12)),
        {"column": "P"},
        "line 6 is of B, after A: the column meter has several; give where = meter = A, say, or take",
    ),
    (
        "a time in parts",
        "Year,Month,Day,Hour,Minute,GHI\n2026,6,21,10,0,900\n2026,6,21,10,30,910\n",
        {},
        "line 1 has a time in parts; give time_column = Year + Month + Day + Hour + Minute, and time_format = %Y %m %d",
    ),
    (
        "a column for each time of day",
        "date,00:00,00:30\n2026-06-21,1,2\n2026-06-22,3,4\n",
        {"column": "00:30"},
        "line 1 has a column for each time of day; write a line for each time.",
    ),
    (
        "a header of two lines",
        '"Time","Power\n(kW)"\n"2026-06-21T10:00Z","1"\n"2026-06-21T10:30Z","2"\n',
        {},
        "line 1 has a quote that is not closed; close it on its line.",
    ),
    (
        "hours of a year",
        "Hour,AC (kW)\n0,0\n1,1.5\n",
        {},
        "line 2: 0 in the column Hour is no time, but a count",
    ),
    ("another form", "time,P\n2026-06-21_10:00,1\n2026-06-21_11:00,2\n", {}, "or time_format for another form."),
    (
        "a letter behind the time",
        "Start Time,P\n2026-06-21 12:00:00 DST,1\n2026-06-21 12:30:00 DST,2\n",
        {},
        "line 2: 2026-06-21 12:00:00 DST is no time",
    ),
    *(
        (
            f"the name of a month: {text}",
            f"Begin;P\n{text};1\n{text};2\n",
            {},
            f"line 2: {text} is no time; give time_format = {form}, or give one such as",
        )
        for text, form in (
            ("21-Jun-2026 10:00", "%d-%b-%Y %H:%M"),
            ("21 Jun 2026 10:00:05", "%d %b %Y %H:%M:%S"),
            ("Jun 21, 2026 12:00 PM", "%b %d, %Y %I:%M %p"),
        )
    ),
    ("JSON", '{"time":"2026-06-21T10:00Z","P":1}\n{"time":"2026-06-21T10:30Z","P":2}\n', {}, "is JSON, not CSV"),
    ("a web page", "<html><body>Log in</body></html>\n", {}, "is a web page or XML, not CSV"),
    ("JSON, over lines", '[\n  {"time":"2026-06-21T10:00Z","P":1}\n]\n', {}, "is JSON, not CSV"),
    (
        "digits of a date without its century",
        "time,P\n2606211000,1\n2606211100,2\n",
        {},
        "2606211000 is 2026-06-21 10:00 for time_format = %y%m%d%H%M, 2021-06-26 10:00 for time_format = %d",
    ),
    (
        "the month first, without its century",
        "time,P\n1225261000,1\n1225261100,2\n",
        {},
        "1225261000 is 2026-12-25 10:00 for time_format = %m%d%y%H%M, or seconds for time_format = %s.",
    ),
    *(
        (f"digits of a date, {text}", f"time,P\n{text},1\n{text[:-2]}30,2\n", {}, f"line 2: {text} is{said}")
        for text, said in (
            ("210620261000", ", by its size, of before 1980, or a date in another form"),
            ("0621261000", " seconds since 1970 or a date in another form"),
            ("01062026100000", " seconds since 1970 or a date in another form"),
        )
    ),
    *(
        (f"a count, {first}", f"time,P\n{first},1\n{second},2\n", {}, f"count up to {second}: seconds, for time_format")
        for first, second in (("0", "1"), ("171.375", "171.5"))
    ),
    (
        "before 1970",
        "t,P\n1969-12-31T23:00Z,1\n1970-01-01T00:00Z,2\n",
        {},
        "line 2: 1969-12-31T23:00Z is not between 1970",
    ),
    *(
        (f"an offset of {offset}", f"t,P\n2026-06-21T10:00{offset},1\n2026-06-21T11:00{offset},2\n", {}, "is no time")
        for offset in ("+25:00", "-00:75")
    ),
    ("beyond all numbers", "t,P\n2026-06-21T10:00Z,1e400\n2026-06-21T11:00Z,2\n", {}, "line 2: 1e400 is no power"),
    *(
        (
            f"missing, {mark}",
            f"t,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,{mark}\n",
            {},
            f"line 3: {mark} is no power, but",
        )
        for mark in ("-32768", "-2147483648.0", "4294967295", "\\N", "#REF!", "n.a.", ".")
    ),
    *(
        (
            f"an hour left out on {day}, each {minutes} minutes",
            "time,P\n"
            + "".join(
                f"{day} {minute // 60:02}:{minute % 60:02},{minute}\n"
                for minute in range(0, 360, minutes)
                if minute // 60 != hour
            ),
            {},
            f"has nothing from 0{hour}:00 to 0{hour + 1}:00 on {day}, where clocks go forward, and times without an",
        )
        for day, hour in (("2026-03-29", 2), ("2026-03-29", 1), ("2024-03-31", 2), ("2026-03-08", 2))
        for minutes in (5, 30, 60)
    ),
    ("ms from 0", "time_ms,P\n0,1\n1000,2\n", {}, "line 2: 0 is, by its size, not in ms, as its column time_ms"),
    (
        "two times in a cell",
        "MTU,P\n21.06.2026 10:00 - 21.06.2026 10:15,1\n21.06.2026 10:15 - 21.06.2026 10:30,2\n",
        {},
        "is more than one time; split it into columns",
    ),
    *(
        (
            f"meters in turn, by {name}",
            f"time,{name},P\n2026-06-21T10:00Z,A,1\n2026-06-21T10:01Z,B,9\n2026-06-21T11:00Z,A,2\n",
            {"column": "P"},
            f"line 4 is of A again, after B: the column {name} has several",
        )
        for name in ("name", "type", "tag", "Anlage", "variable", "Wechselrichter", "Standort")
    ),
    (
        "a counter of each day",
        "time,E_kWh\n"
        + "".join(f"2026-06-{day}T{hour:02}:00Z,{max(0, hour - 6)}\n" for day in (21, 22) for hour in range(24)),
        {},
        "has values in E_kWh that rise, and fall now and then",
    ),
    *(
        (
            f"an energy, {name}",
            f"time,{name}\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n",
            {},
            "in a unit that is not told",
        )
        for name in ("total_energy", "Energie", "Zählerstand", "Ertrag heute", "Meter Reading")
    ),
    (
        "a size",
        "time,10 kW inverter\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n",
        {},
        "says 10 kW, which may be a size",
    ),
    ("per kWp", "time,P per kWp\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n", {}, "says kwp; give unit"),
    ("another alphabet", "time,кВт\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n", {}, "says квт; give unit"),
    ("amperes", "time,I [A]\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n", {}, "is in A, which is no power"),
    ("percent", "time,Load %\n2026-06-21T10:00Z,5\n2026-06-21T11:00Z,4\n", {}, "is in %, which is no power"),
    (
        "units in turn",
        "time;Einheit;Wert\n2026-06-21T10:00Z;W;900\n2026-06-21T11:00Z;kW;1,7\n",
        {"column": "Wert"},
        "line 3 is in kW, as the column Einheit says, and the lines before in W",
    ),
    (
        "units of volts",
        "time,value,unit\n2026-06-21T10:00Z,230,V\n2026-06-21T11:00Z,231,V\n",
        {"column": "value"},
        "line 2 says that value is in V, which is no power",
    ),
    (
        "a unit of each row, and another key",
        "time,value,unit\n2026-06-21T10:00Z,1,kW\n2026-06-21T11:00Z,2,kW\n",
        {"column": "value", "unit": "W"},
        "is in kW, as what stands beside or below it says, and in W, as the key unit says",
    ),
    (
        "a unit above the header",
        "Unit;kWh\ntime;value\n2026-06-21T10:00Z;1\n2026-06-21T11:00Z;2\n",
        {},
        "line 1 says kWh, and value is taken as W; give unit = kWh or unit = W.",
    ),
    (
        "day first",
        "Datum;P\n21.06.2026 12:00;1\n21.06.2026 13:00;2\n",
        {},
        "line 2: 21.06.2026 12:00 may have the day or the month first; give time_format = %d.%m.%Y %H:%M.",
    ),
    (
        "day or month first",
        "t,P\n05/06/2026 12:00,1\n06/06/2026 13:00,2\n",
        {},
        "give time_format = %d/%m/%Y %H:%M or %m/%d/%Y %H:%M.",
    ),
    ("AM", "t,P\n06/21/2026 10:00 AM,1\n06/21/2026 11:00 AM,2\n", {}, "time_format = %m/%d/%Y %I:%M %p"),
    ("a wrong format", "t,P\n21.06.2026 12:00,1\n21.06.2026 13:00,2\n", {"time_format": "%Y-%m-%d %H:%M"}, "no time"),
    (
        "a format that ends to fit",
        "t,P\n05/06/2026,1\n13/06/2026,2\n",
        {"time_format": "%m/%d/%Y"},
        "line 3: 13/06/2026 is no time",
    ),
    ("Excel", "time,P\n46194.5,1\n46194.6,2\n", {}, "the number of a day in a spreadsheet, 2026-06-21"),
    ("a year", "time,P\n2025,1\n2026,2\n", {}, "2025 is seconds since 1970 or the year 2025"),
    ("a month", "time,P\n202606,1\n202607,2\n", {}, "202606 is seconds since 1970 or a date in another form"),
    (
        "hours",
        "time [h],P\n0,1\n1,2\n",
        {"time_column": "time [h]"},
        "0 in the column time [h] is no time, but a count",
    ),
    (
        "ms that are s",
        "time_ms,P\n1782036000,1\n1782039600,2\n",
        {},
        "is, by its size, not in ms, as its column time_ms",
    ),
    (
        "start and end",
        "start,end,kWh\n2026-06-21T10:00Z,2026-06-21T11:00Z,1\n2026-06-21T11:00Z,2026-06-21T12:00Z,2\n",
        {},
        "line 1 has several columns of times, start, end; give time_column = one of them.",
    ),
    (
        "UTC and local",
        "utc,local,P\n2026-06-21 10:00,2026-06-21 12:00,1\n2026-06-21 11:00,2026-06-21 13:00,2\n",
        {},
        "several columns of times, utc, local",
    ),
    (
        "a typical year in a clock that is changed",
        "time,P\n2018-03-31 22:00,3\n2018-03-31 23:00,3\n2007-04-01 00:00,1\n2007-10-31 00:00,2\n2018-11-01 00:00,2\n",
        BERLIN,
        "is a typical year in Europe/Berlin, where clocks change; give its times in UTC, or in a time zone such as",
    ),
    (
        "a typical year, sorted, an hour ahead",
        "time,P\n2007-02-01 00:00,1\n2007-02-01 01:00,2\n2018-01-01 00:00,3\n2018-01-01 01:00,4\n",
        {"file_timezone": "Etc/GMT-1"},
        "line 4 comes 3986 days after the one before, and no month is there twice: this is a typical year",
    ),
    (
        "date and hour",
        "Date,Hour,P\n2026-06-21,10,1\n2026-06-21,11,2\n",
        {"column": "P"},
        "time_column = Date + Hour and ti",
    ),
    ("date and time", "Date,Time,P\n2026-06-21,10:00,1\n2026-06-21,11:00,2\n", {}, "time_column = Date + Time"),
    *(
        (
            f"a name for a clock, {name}",
            f"{name},P\n2026-06-21 10:00,1\n2026-06-21 11:00,2\n",
            {},
            "give file_timezone =",
        )
        for name in ("Ortszeit", "heure locale", "Time (LST)", "Zeit (Sommerzeit)", "Time [AWST]")
    ),
    *(
        (
            f"no unit, {name}",
            f"time,{name}\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n",
            {},
            f"the column {name} says {name.lower()}",
        )
        for name in ("milliwatt", "µW", "Ah")
    ),
    (
        "a counter that once goes back",
        "time,kWh\n" + "".join(f"2026-06-21T{each:02}:00Z,{12_000 + each - 2 * (each == 5)}\n" for each in range(9)),
        {},
        "has values in kWh that rise, and fall now and then: energy of each line until the next, for unit = kWh, or a",
    ),
    ("local, by its name", "local time,P\n2026-06-21 10:00,1\n2026-06-21 11:00,2\n", {}, "give file_timezone ="),
    ("CET, by its name", "MTU (CET/CEST),P\n2026-06-21 10:00,1\n2026-06-21 11:00,2\n", {}, "give file_timezone ="),
    ("UTC and a zone", "time(UTC),P\n2026-06-21 10:00,1\n2026-06-21 11:00,2\n", BERLIN, "UTC, as the column time(UTC)"),
    (
        "PVGIS and a zone",
        "time,P\n20260621:1000,1\n20260621:1100,2\n",
        BERLIN,
        "are PVGIS's, and UTC, but file_timezone",
    ),
    (
        "no such hour",
        "t,P\n2026-03-29 01:30,1\n2026-03-29 02:30,2\n",
        BERLIN,
        "line 3: 2026-03-29 02:30:00 is no time in Europe/Berlin, where clocks go forward then",
    ),
    (
        "offsets in some",
        "t,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00,2\n",
        {},
        "has an offset and earlier times have none",
    ),
    (
        "thousands or decimals",
        "t;P\n2026-06-21T10:00Z;1.500\n2026-06-21T11:00Z;2.250\n",
        {},
        "line 2: 1.500 is 1500 or 1.500, and no other number of the file tells which",
    ),
    ("thousands or decimals, tabs", "t\tP\n2026-06-21T10:00Z\t1,500\n2026-06-21T11:00Z\t2,250\n", {}, "1500 or 1.500"),
    ("thousands among whole numbers", "t,P\n2026-06-21T10:00Z,1.500\n2026-06-21T11:00Z,999\n", {}, "1500 or 1.500"),
    (
        "thousands beside a comma",
        "t;P\n2026-06-21T10:00Z;1.500\n2026-06-21T11:00Z;999,5\n",
        {},
        "line 2: 1.500 is 1500 or 1.500: 999,5 in line 3 has its decimals behind a comma",
    ),
    (
        "two marks",
        "t;P\n2026-06-21T10:00Z;1,5\n2026-06-21T11:00Z;2.5\n",
        {},
        "line 3: 2.5 has its decimals behind a point, and 1,5 in line 2 behind a comma",
    ),
    ("a unit in the cell", "t,P\n2026-06-21T10:00Z,1 kW\n2026-06-21T11:00Z,2 kW\n", {}, "line 2: 1 kW is no power"),
    ("infinity", "t,P\n2026-06-21T10:00Z,inf\n2026-06-21T11:00Z,2\n", {}, "line 2: inf is no power"),
    ("other digits", "t,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,٣\n", {}, "line 3: ٣ is no power"),
    (
        "two columns",
        "time,P,P\n2026-06-21T10:00Z,1,2\n2026-06-21T11:00Z,1,2\n",
        {"column": "P"},
        "line 1 has 2 columns P (the 2. and the 3.); give them different names.",
    ),
    ("no name", "time,\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n", {}, "line 1 has no column of powers"),
    (
        "the time itself",
        "time,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n",
        {"column": "time"},
        "the column of times",
    ),
    (
        "no such column",
        "time,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n",
        {"column": "Q"},
        "has no column Q; name one",
    ),
    ("no such time", "time,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n", {"time_column": "t"}, "has no column t"),
    ("no header", "2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n", {}, "has no header"),
    ("too many cells", "time,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2,3\n", {}, "line 3 has 3 columns"),
    ("too few", "time,P,Q\n2026-06-21T10:00Z,1,1\n2026-06-21T11:00Z,2\n", {}, "line 3 has 2 columns"),
    ("a torn line", "time,P\n2026-06-21T10:00Z,1\n2026-06-2", {}, "line 3 has 1 columns"),
    (
        "an open quote",
        'time,P\n"2026-06-21T10:00Z",1\n"2026-06-21T11:00Z,2\n',
        {},
        "line 3 has a quote that is not closed",
    ),
    (
        "a time below a note",
        "time,P\n2026-06-21T09:00Z,1\n2026-06-21T10:00Z,1\n\nNote,x\n2026-06-21T11:00Z,2\n",
        {},
        "line 6 comes after line 5",
    ),
    (
        "a broken time after a line",
        "time,P\n2026-06-21T10:00Z,1\n\n2026-06-21T1:0Z,2\n",
        {},
        "line 4: 2026-06-21T1:0Z is no",
    ),
    ("backwards", "time,P\n2026-06-21T11:00Z,1\n2026-06-21T10:00Z,2\n", {}, "line 3 is not later than the line before"),
    (
        "a year apart",
        "time,P\n2025-01-31T23:00Z,1\n2026-02-01T00:00Z,2\n2026-02-01T01:00Z,2\n",
        {},
        "this is a typical year, for loop = year, or a record with a gap",
    ),
    (
        "name and key",
        "time,P_kW\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n",
        {"unit": "W"},
        "is in kW, as its name, P_kW",
    ),
    (
        "energy and power",
        "time,E [kWh]\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n",
        {"unit": "kW"},
        "away, with scale if that makes power of",
    ),
    (
        "counter or energy",
        "time,E [kWh]\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n",
        {},
        "or a counter, for unit = kWh t",
    ),
    (
        "a counter back to 0",
        "time,E\n2026-06-21T10:00Z,9\n2026-06-21T11:00Z,10\n2026-06-21T12:00Z,0\n",
        {"unit": "kWh total"},
        "goes back at 2026-06-21T12:00:00+00:00",
    ),
    (
        "a counter with zeros",
        "time,E\n2026-06-21T10:00Z,9\n2026-06-21T11:00Z,\n2026-06-21T12:00Z,10\n",
        {"unit": "kWh total", "missing": "zero"},
        "no missing value makes 0",
    ),
    ("milli or mega", "time,p_mw\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n", {}, "says milliwatts or megawatts"),
    (
        "decimal commas under a comma at the header's end",
        "time,P,\n2026-06-21T10:00Z,1,5\n2026-06-21T11:00Z,2,5\n",
        {},
        "line 2 has 5 in column 3, which has no name in line 1; name it, or put numbers with a decimal comma into",
    ),
    (
        "AM, the year first",
        "t,P\n2026-06-21 10:00 AM,1\n2026-06-21 11:00 AM,2\n",
        {},
        "time_format = %Y-%m-%d %I:%M %p",
    ),
    ("per kWp", "t,yield kWh/kWp\n2026-06-21T10:00Z,2\n2026-06-21T11:00Z,1\n", {}, "is in kWh/kWp, which is no power"),
    ("kVA", "time,S (kVA)\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2\n", {}, "says kva; give unit"),
    (
        "OBIS codes in turns",
        "time,obis,v\n2026-06-21T10:00Z,1.7.0,1\n2026-06-21T10:01Z,2.7.0,2\n2026-06-21T10:02Z,1.7.0,3\n",
        {"column": "v"},
        "the column obis has several; give where = obis = 1.7.0, say, or take that column away",
    ),
    (
        "two meters at a time",
        "time,meter,v\n2026-06-21T10:00Z,A,1\n2026-06-21T10:00Z,B,2\n",
        {"column": "v"},
        "or choose one of several meters: where = meter = VALUE",
    ),
    (
        "more than can be sent",
        "time,P\n2026-06-21T10:00Z,1\n2026-06-21T11:00Z,2e12\n",
        {},
        "has a power of 2,000,000,000 kW",
    ),
]


@pytest.mark.parametrize("text, wishes, told", [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_what_is_said(text: str, wishes: dict[str, Any], told: str) -> None:
    """Line or column, the readings, and the mend; in one sentence."""
    with pytest.raises(BadProfile) as caught:
        parse(text, **wishes)
    assert told in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("offset, wishes", [("Z", {}), ("", BERLIN), ("", {"file_timezone": "UTC"})])
def test_an_hour_that_is_left_out(offset: str, wishes: dict[str, Any]) -> None:
    """In UTC it is a gap; in the zone of the file it is none."""
    hours = [hour for hour in range(6) if hour != 2]
    text = "time,P\n" + "".join(f"2026-03-29T{hour:02}:00{offset},{hour}\n" for hour in hours)
    steps = {(later - before) // SECOND for before, later in pairwise(parse(text, **wishes).times)}
    assert steps == ({3600} if wishes == BERLIN else {3600, 7200})


@pytest.mark.parametrize("day, hour", [("2026-03-29", 4), ("2026-03-28", 2), ("2026-03-22", 2), ("2026-10-24", 2)])
def test_another_hour_that_is_left_out(day: str, hour: int) -> None:
    """It says nothing of a time zone."""
    text = "time,P\n" + "".join(f"{day} {each:02}:00,{each}\n" for each in range(6) if each != hour)
    assert len(parse(text).times) == 5


AUTUMN = "".join(f"2026-10-25 {hour:02}:{minute:02},{hour}\n" for hour in range(6) for minute in (0, 30))


def hours(first: datetime, last: datetime) -> str:
    """A row of each hour."""
    count = (last - first).days * 24
    return "".join(f"{first + timedelta(hours=each):%Y-%m-%d %H:%M},{each}\n" for each in range(count))


@pytest.mark.parametrize("day, zone, line", [
    ("2026-10-25", "Europe/Berlin", 4), ("2026-11-01", "America/New_York", 3), ("2026-04-05", "Australia/Sydney", 4),
])  # fmt: skip
def test_an_hour_that_should_be_there_twice(day: str, zone: str, line: int) -> None:
    """In the night in which clocks go back, hours that are there once are of UTC, or half of them was taken away."""
    text = "time,P\n" + "".join(f"{day} {hour:02}:00,{hour}\n" for hour in range(6))
    with pytest.raises(BadProfile) as caught:
        parse(text)
    said = f"line {line} is in an hour that comes twice where clocks go back, as in {zone}, and that hour, {day} 0"
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("give file_timezone = UTC or file_timezone = the file's time zone.")


@pytest.mark.parametrize("text, wishes", [
    ("time,P\n" + AUTUMN, {"file_timezone": "UTC"}),
    ("time,P\n" + AUTUMN, BERLIN),
    ("time (UTC),P\n" + AUTUMN, {}),
    ("time,P\n" + AUTUMN.replace(",", "Z,"), {}),
    ("time,P\n" + "".join(f"2026-{month:02}-25,{month}\n" for month in range(9, 13)), {}),
    # What has rows in each hour that is left out in spring is of no clock that is changed.
    ("time,P\n" + hours(datetime(2026, 1, 1), datetime(2027, 1, 1)), {}),  # noqa: DTZ001
])  # fmt: skip
def test_what_can_be_no_hour_that_comes_twice(text: str, wishes: dict[str, Any]) -> None:
    """A zone is named, or the file shows that its clock is not changed."""
    assert len(parse(text, **wishes).times) == text.count("\n") - 1


def test_a_clock_that_is_changed_in_spring_is_none_of_another_place() -> None:
    """March in Europe says nothing of the night in November in which clocks go back in America."""
    parse("time,P\n" + hours(datetime(2026, 3, 20), datetime(2026, 4, 2)))  # noqa: DTZ001
    with pytest.raises(BadProfile, match="as in America/New_York"):
        parse("time,P\n" + hours(datetime(2026, 3, 20), datetime(2026, 11, 20)))  # noqa: DTZ001


@pytest.mark.parametrize(
    "text, notes",
    [
        (
            "time,P\n0,1\n60,2\n",
            ("its times are taken as seconds since 1970; if they count something else, give dates",),
        ),
        ("time_s,P\n0,1\n60,2\n", ()),
        (
            "Period End,P\n1782036000,1\n1782037800,2\n",
            ("its times are ends, as the column Period End says, and count as beginnings; see shift",),
        ),
        (
            "time_s,P\n0,1\n1800,2\n3600,3\n64800,4\n",
            ("it has gaps, in which the power before them lasts: 0.7 days before line 5",),
        ),
        (
            "time (UTC),P\n2018-01-31T23:00,1\n2017-02-01T00:00,2\n2017-02-28T23:00,3\n2018-04-01T00:00,4\n",
            ("it is a typical year without month 3, in which the power before it lasts",),
        ),
        ("Send time,P\n1782036000,1\n1782037800,2\n", ()),
    ],
)
def test_what_should_be_known(text: str, notes: tuple[str, ...]) -> None:
    """What is usable, but likely not meant so, is told."""
    assert parse(text, time_column=text.partition(",")[0]).notes == notes
