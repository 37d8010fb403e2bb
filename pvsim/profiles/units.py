"""What a column counts: power, energy from each time to the next, or a counter's energy; by key, else by its name."""

from __future__ import annotations

import re
from typing import NamedTuple

from pvsim.profiles.bad import BadProfile

POWER, ENERGY, TOTAL = "power", "energy", "total"


class Unit(NamedTuple):
    """`factor`: how many mW, or µWh, one is."""

    name: str
    kind: str
    factor: int


class Counted(NamedTuple):
    """A column's unit; whether it may be a counter's as well, which only the values tell; whether anybody told it."""

    unit: Unit
    may_be_total: bool
    is_said: bool


UNITS = {
    f"{prefix}{unit}": Unit(f"{prefix}{unit}", kind, factor * watt)
    for unit, kind, watt in (("W", POWER, 10**3), ("Wh", ENERGY, 10**6), ("Wh total", TOTAL, 10**6))
    for prefix, factor in (("", 1), ("k", 10**3), ("M", 10**6))
}
_SPELLINGS = {
    "w": "W", "watt": "W", "watts": "W", "kw": "kW", "kilowatt": "kW", "kilowatts": "kW", "megawatt": "MW",
    "megawatts": "MW", "wh": "Wh", "kwh": "kWh", "mwh": "MWh", "kilowattstunden": "kWh", "wattstunden": "Wh",
}  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")
_OTHER = {
    "gw", "gwh", "kva", "va", "kvar", "var", "kvarh", "vah", "kvah", "m3", "gj", "kj", "mj", "btu", "wp", "kwp", "квт",
    "вт", "mw", "uw", "µw", "hw", "tw", "twh", "ah", "mah", "m³", "kcal", "therms",
}  # fmt: skip
_ENERGY = re.compile(
    r"(?<![^\W_])(?:energy|energie|énergie|energ[ií]a|ertrag|yield|counter|z(?:ä|ae)hlerstand|meter ?stand|reading|"
    r"totals?|cumulative|lifetime|index|register|consumption|consumed|consommation|consumo|verbrauch|usage|production|"
    r"produced|produktion|generation|generated|erzeugung|import(?:ed)?|export(?:ed)?|bezug|einspeisung|delivered|electricity|"
    r"\d{1,2}\.(?:8|29)\.\d{1,3})"  # as OBIS has it
    r"(?![^\W_])",
    re.IGNORECASE,
)
_POWER = re.compile(r"power|leistung|puissance|potencia|potenza|vermogen|load|demand|last$", re.IGNORECASE)
_TOTALS = "Wh total, kWh total or MWh total for a counter"
_WATT_HOURS = re.compile(r"(?<![^\W\d_])([kM]?W) ?[·⋅•*. -]? ?h(?:(?:ou)?rs?)?(?![^\W_])", re.IGNORECASE)
_IN_WORDS = re.compile(
    r"(kilo|mega|k)?[ -]?watt(?:s?[ _-]?(hours?|hrs?|heures?|horas?)|[ _-]?(stunden?)|s)?", re.IGNORECASE
)
_OF_A_KIND = re.compile(r"(?<![^\W_])([kM]) ?(W)(?:e|el|th|[ad]c)?(?![^\W_])", re.IGNORECASE)
_OTHER_WATTS = re.compile(r"(?:micro|milli|hecto|giga|tera|mikro|hekto)[ -]?watt", re.IGNORECASE)
_PREFIXES = {"kilo": "k", "k": "k", "mega": "M"}
_JOINED = re.compile(r"(?<=[^\W\d_])k[Ww]h?$|(?<=[a-zäöü])(?:K[Ww]h?|MWh?|Wh)$|(?<=[A-Z]{3})[KM]WH?$")
_SIZE = re.compile(r"(?<![^\W_])\d+(?:[.,]\d+)? ?[kM]Wp?(?![^\W_])", re.IGNORECASE)
_FACTOR = re.compile(
    r"[\[(] ?[x×*]? ?\d+(?:[.,]\d+)? ?[x×*]? ?[kM]?Wh?(?![^\W_])|(?<![^\W_])[x×*] ?\d+(?:[.,]\d+)? ?[kM]?Wh?(?![^\W_])|"
    r"(?<![^\W_])[kM]?Wh? ?(?:[x×*] ?\d+|/ ?10+(?! ?(?:min|s|h)))(?![^\W_])"
)
_NO_POWER = re.compile(
    r"[\[(] ?(m?A|k?V|°? ?[CFK]|Hz|m/s|hPa|mbar|mm|lux|rpm|hp|p\.?u\.?) ?[\])]|%|"
    r"((?i:(?:€|\$|£|eur|usd|gbp|chf|ct|cents?|pence) ?/ ?[km]?wh|(?<![^\W_])(?:price|preis|prix|precio|cost|"
    r"temp(?:eratur[ea]?)?|voltage|spannung|humidity|soc|capacity factor|p\.u\.)(?![^\W_])))"
)
_RATE = re.compile(r"(?<![^\W\d_])([km]?w)h ?(?:/|per) ?h(?:our)?(?![^\W_])", re.IGNORECASE)
_PER_AREA = re.compile(r"(?:k?wh?)\s*[/·*]?\s*(?:m|qm|kwp)\s*(?:\^?-?2|²|-2|\b)", re.IGNORECASE)
_PER_TIME = re.compile(
    r"/\s*(?:\d+\s*)?(?:hh|h|min|hour|half)|per (?:\d+ ?)?(?:half|quarter|hour|min|interval)|interval|period|delta",
    re.IGNORECASE,
)


def is_power(name: str) -> bool:
    """Whether the name of a column says that it is a power."""
    return name.lower() == "p" or _POWER.search(name) is not None


def hint(text: str) -> str:
    """What the name of a meter or a quantity says of a unit, such as sensor.energy; empty if it says nothing."""
    try:
        found = in_name(text)
    except BadProfile:
        found = ""
    return found or ("an energy" if _ENERGY.search(text) and not is_power(text) else "")


def in_cell(text: str) -> str | None:
    """The name of the unit that a cell of a row of units holds, None if it is none."""
    return _of_word(_RATE.sub(r"\1", text.strip("[]() ")))


def in_name(name: str) -> str:
    """The unit that the name of a column says, empty if it says none; BadProfile if it says one that is no help."""
    if per := _PER_AREA.search(name):
        if per[0].lower().startswith("w") and not per[0].lower().startswith("wh") and "p" not in per[0].lower():
            return ""  # irradiance, replayed as if it were W
        raise BadProfile(f"the column {name} is in {per[0]}, which is no power; give unit = one of {', '.join(UNITS)}.")
    if size := _SIZE.search(name):
        raise BadProfile(
            f"the column {name} says {size[0]}, which may be a size or a unit; give unit = one of {', '.join(UNITS)}."
        )
    if factor := _FACTOR.search(name):
        raise BadProfile(
            f"the column {name} says {factor[0].strip('[( ')}, which may be a factor; give unit = one of"
            f" {', '.join(UNITS)}, and scale."
        )
    if other := _NO_POWER.search(name):
        raise BadProfile(
            f"the column {name} is in {other[1] or other[2] or '%'}, which is no power; name another one, or give unit."
        )
    if prefix := _OTHER_WATTS.search(name):
        raise BadProfile(f"the column {name} says {prefix[0]}; give unit = one of {', '.join(UNITS)}, and scale.")
    name = _OF_A_KIND.sub(r"\1\2", _RATE.sub(r"\1", name))
    name = _WATT_HOURS.sub(r"\1h", _IN_WORDS.sub(_in_letters, name))
    found = {unit for word in _WORD.findall(name) if (unit := _of_word(word) or _joined(word))}
    others = _OTHER & {word.lower() for word in _WORD.findall(name)}
    if not found and others:
        word = min(others)
        what = "milliwatts or megawatts" if word == "mw" else word
        raise BadProfile(f"the column {name} says {what}; give unit = one of {', '.join(UNITS)}.")
    if len(found) > 1:
        raise BadProfile(f"the column {name} says {' and '.join(sorted(found))}; give unit = one of them.")
    if not found and _ENERGY.search(name) and not is_power(name):
        raise BadProfile(
            f"the column {name} is an energy or a power in a unit that is not told; give unit = Wh, kWh, MWh, or"
            f" {_TOTALS}, or W, kW or MW."
        )
    return next(iter(found), "")


def _in_letters(match: re.Match[str]) -> str:
    """kWh for kilowatt hours."""
    unit = "Wh" if match[2] or match[3] else "W"
    return " " + _PREFIXES.get((match[1] or "").lower(), "") + unit + " "


def _joined(word: str) -> str | None:
    """The unit at the end of a word such as powerKw or PkW."""
    match = _JOINED.search(word)
    return _of_word(match[0]) if match else None


def _of_word(word: str) -> str | None:
    if word in ("MW", "mW"):
        return "MW" if word == "MW" else None
    return _SPELLINGS.get(word.lower()) if word.lower() != "mw" else None


def choose(key: str, name: str, cell: str | None) -> Counted:
    """The unit of a column of this name. `key`: what the user says; `cell`: what stands beside or below the name."""
    if key:
        given = cell or _said(name)
        if given and given != key.removesuffix(" total"):
            place = "what stands beside or below it" if cell else f"its name, {name},"
            scale = ", with scale if that makes power of energy" if UNITS[given].kind != UNITS[key].kind else ""
            raise BadProfile(
                f"the column {name} is in {given}, as {place} says, and in {key}, as the key unit says;"
                f" take the key away{scale}, or rename the column."
            )
        return Counted(UNITS[key], may_be_total=False, is_said=True)
    said = cell or in_name(name)
    unit = UNITS[said or "W"]
    return Counted(unit, unit.kind == ENERGY and not _PER_TIME.search(name), is_said=bool(said))


def _said(name: str) -> str:
    try:
        return in_name(name)
    except BadProfile:  # it says too much or too little: the key decides
        return ""
