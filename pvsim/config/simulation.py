"""simulation.ini: what is simulated, all meters and PV systems alike and those that differ.

[meter] and [pv] hold for all, a section such as [meter Meter_0..4 Meter_9] for those it names. What a model has not
been given has its default.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, _ActionsContainer
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pvsim.config import ini
from pvsim.config.broker import add_broker_option
from pvsim.config.keys import Key, option, values_of
from pvsim.config.tables import METER, PV
from pvsim.config.values import load_models, solar_models
from pvsim.errors import ConfigError, IdError
from pvsim.ids import expand_ids

if TYPE_CHECKING:
    from pvsim.models import Model
    from pvsim.models.faults import Fault

SIMULATION_FILE = Path("/etc/pvsim/simulation.ini")

Progress = Callable[[str], None] | None
Settings = TypeVar("Settings", bound="MeterSettings | PvSettings")


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """What one meter does. `parameters`: the keys of its model; `backlog_ns`: how far back it goes at most, None for
    as far as it takes; `batch`: the most readings that one message may carry; `linger_ns`: of how long they share a
    message; `faults`: what goes wrong with it, by kind."""

    model: str = "random"
    seed: int = 0
    interval_ns: int = 1_000_000_000
    backlog_ns: int | None = None
    batch: int = 1000
    linger_ns: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PvSettings:
    """What one PV system does. `time_window_ns`: how far from now the time of a reading may lie, None for any time;
    `parameters`: the keys of its model."""

    model: str = "random"
    seed: int = 0
    time_window_ns: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"peak_kw": Decimal("4.0")})


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated: the settings that all meters and PV systems have, and those of the ones that differ.

    `timezone`: an IANA name, None for the system's own; `live`: whether durable rows are copied to amq.topic.
    """

    nb_meter: int = 1
    timezone: str | None = None
    live: bool = True
    source: str = str(SIMULATION_FILE)
    every_meter: MeterSettings = field(default_factory=MeterSettings)
    every_pv: PvSettings = field(default_factory=PvSettings)
    meters: Mapping[str, MeterSettings] = field(default_factory=dict)
    pvs: Mapping[str, PvSettings] = field(default_factory=dict)

    def meter(self, meter_id: str, progress: Progress = None) -> MeterSettings:
        """The settings of this meter; ConfigError if the profile that it replays cannot be used.

        `progress` is told how far a large file has been read: a sentence.
        """
        return _with_profile(self.meters.get(meter_id, self.every_meter), self.timezone, progress)

    def pv(self, meter_id: str, progress: Progress = None) -> PvSettings:
        """The settings of the PV system beside this meter; ConfigError and `progress` as for `meter`."""
        return _with_profile(self.pvs.get(meter_id, self.every_pv), self.timezone, progress)


def load_simulation(path: Path | None, broker_path: Path | None) -> Simulation:
    """What the file `path`, which must exist, says is simulated.

    None: what simulation.ini beside `broker_path` says (in /etc/pvsim if that is None, too), or the defaults.
    """
    default = broker_path.parent / SIMULATION_FILE.name if broker_path else SIMULATION_FILE
    source = ini.shown_path(path or default)
    text = ini.read_existing(path, source) if path else ini.read(default, source) or ""
    return parse_simulation(text, source, (path or default).parent.absolute())


def parse_simulation(text: str, source: str, directory: Path) -> Simulation:
    """What the text of a simulation.ini says is simulated. Relative names of files begin in `directory`."""
    sections = ini.sections(source, text)
    for name in sections:
        if name not in ("meter", "pv") and not _ids_of(name, "meter") and not _ids_of(name, "pv"):
            raise ini.unknown_section(source, name, ["meter", "pv", "meter ID", "pv ID"])
    meter = values_of(source, "meter", sections.get("meter", ini.Section()), METER)
    pv = values_of(source, "pv", sections.get("pv", ini.Section()), PV)
    meter_kind = _Kind(source, directory, "meter", METER, MeterSettings, load_models)
    pv_kind = _Kind(source, directory, "pv", PV, PvSettings, solar_models)
    return Simulation(
        nb_meter=meter.pop("nb_meter", 1),
        timezone=pv.pop("timezone", None),
        live=pv.pop("live", True),
        source=source,
        every_meter=_settings(meter_kind, [_Section("meter", [], meter)]),
        every_pv=_settings(pv_kind, [_Section("pv", [], pv)]),
        meters=_by_id(meter_kind, meter, sections),
        pvs=_by_id(pv_kind, pv, sections),
    )


def add_options(parser: ArgumentParser) -> None:
    """-conf/--configuration-file and --simulation-file, for `load_broker` and `load_simulation`."""
    add_broker_option(parser)
    add_simulation_option(parser, default=f"{SIMULATION_FILE.name} beside the configuration file")


def add_simulation_option(
    parser: _ActionsContainer, what: str = "what is simulated", default: str = str(SIMULATION_FILE)
) -> None:
    """--simulation-file, for `load_simulation`."""
    parser.add_argument("--simulation-file", type=Path, metavar="FILE", help=f"{what} (default: {default})")


def parse_interval(text: str) -> int:
    """`--interval SECONDS` in ns, or OptionError."""
    return int(option(METER["interval"], text))


def parse_nb_meter(text: str) -> int:
    """`--nb-meter N`, where 0 or less means 1, or OptionError."""
    return 1 if re.fullmatch(r"0+|-[0-9]+", text) else int(option(METER["nb_meter"], text))


# Sections to settings.


def _ids_of(section: str, kind: str) -> list[str]:
    """The ids that a section such as [meter Meter_0..4 Meter_9] names."""
    first, *ids = section.split() or [""]
    return ids if first == kind else []


class _Kind(NamedTuple, Generic[Settings]):
    """What is set for meters, or for PV systems."""

    source: str
    directory: Path
    name: str
    table: Mapping[str, Key]
    settings: type[Settings]
    models: Callable[[], Mapping[str, Model]]


class _Section(NamedTuple):
    """A section: the ids in its name, and its values by field."""

    name: str
    ids: list[str]
    values: dict[str, Any]


def _by_id(kind: _Kind[Settings], every: dict[str, Any], sections: ini.Sections) -> dict[str, Settings]:
    """The settings of each id that sections name; ids in the same sections share one object."""
    overrides = _overrides(kind, sections)
    places: dict[str, tuple[int, ...]] = {}
    for place, override in enumerate(overrides):
        for each in override.ids:
            places[each] = (*places.get(each, ()), place)
    alike = {at: meter_id for meter_id, at in places.items()}
    made = {}
    for at, meter_id in alike.items():
        own = [overrides[place] for place in at]
        _check_agreement(kind.source, meter_id, own)
        made[at] = _settings(kind, own, every)
    return {meter_id: made[at] for meter_id, at in places.items()}


def _overrides(kind: _Kind[Settings], sections: ini.Sections) -> list[_Section]:
    found = []
    for name, texts in sections.items():
        if ids := _ids_of(name, kind.name):
            try:
                expanded = expand_ids(ids)
            except IdError as error:
                raise ConfigError(f"{kind.source}: [{ini.shown(name)}]: {error}") from None
            found.append(_Section(name, expanded, values_of(kind.source, name, texts, kind.table)))
    return found


def _check_agreement(source: str, meter_id: str, sections: list[_Section]) -> None:
    values: dict[str, Any] = {}
    for section in sections:
        for name, value in section.values.items():
            if values.setdefault(name, value) != value:
                names = " and ".join(f"[{ini.shown(each.name)}]" for each in sections if name in each.values)
                raise ConfigError(f"{source}: {names} give {meter_id} different values of {name}; keep one of them.")


def _settings(kind: _Kind[Settings], sections: list[_Section], every: Mapping[str, Any] | None = None) -> Settings:
    """The settings that these sections give, on top of those of `every`.

    What the model has not been given has its default. A key of `every` that is not one of the model that the sections
    choose is for the others; in the sections themselves it is an error.
    """
    values = dict(every or {})
    for section in sections:
        values |= section.values
    if not values:
        return kind.settings()
    name = values.get("model", kind.table["model"].default)
    of_models = {key.field: key for key in kind.table.values() if key.of_model}
    for section in sections:
        for field_name in section.values:
            if field_name in of_models and field_name not in kind.models()[name].keys:
                raise _not_of_model(kind, section, name, of_models[field_name])
    parameters = {
        each: values[each] if each in values else _default(kind, sections[-1], name, of_models[each])
        for each in kind.models()[name].keys
    }
    if "file" in parameters:
        parameters["file"] = kind.directory / parameters["file"]
    general = {each: value for each, value in values.items() if each not in of_models}
    if faults := {each for each in general if each.startswith("fault_")}:
        found = {each.removeprefix("fault_"): general.pop(each) for each in sorted(faults)}
        general["faults"] = {each: fault for each, fault in found.items() if fault}
    return kind.settings(parameters=parameters, **general)


def _default(kind: _Kind[Settings], section: _Section, model: str, key: Key) -> Any:
    try:
        return key.parse(key.default)
    except ValueError:
        place = f"{kind.source}: [{ini.shown(section.name)}]"
        raise ConfigError(f"{place} has no {key.name}, which the model {model} needs; give {key.right}.") from None


def _not_of_model(kind: _Kind[Settings], section: _Section, model: str, key: Key) -> ConfigError:
    models = kind.models()
    have = ", ".join(name for name, each in kind.table.items() if each.field in models[model].keys and each.of_model)
    others = " or ".join(each for each in sorted(models) if key.field in models[each].keys)
    return ConfigError(
        f"{kind.source}: [{ini.shown(section.name)}] {key.name} is no key of the model {model}, which has"
        f" {have or 'no keys of its own'}; give model = {others}, or take {key.name} away."
    )


# Profiles that are replayed.


def _with_profile(settings: Settings, days_timezone: str | None, progress: Progress) -> Settings:
    """With the profile in the place of its file: read where it is needed, and once."""
    if "file" not in settings.parameters:
        return settings
    from pvsim.config import profiles

    return replace(settings, parameters=profiles.with_profile(settings.parameters, days_timezone, progress))
