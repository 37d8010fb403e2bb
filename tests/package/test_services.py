"""The installed services on a booted machine, used as an administrator uses them."""

from __future__ import annotations

import pytest

from tests.package import dayfiles
from tests.package.machine import Machine

METER, PV = "pvsim-meter.service", "pvsim-pv@Meter_0.service"
UNITS = [METER, "pvsim-meter@Garage.service", PV, "pvsim-pv@Meter_0..499.service"]


def own_messages(machine: Machine, unit: str) -> list[str]:
    """What the unit's process has logged since its last start."""
    invocation = machine.property(unit, "InvocationID")
    return machine.run(f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID={invocation}").splitlines()


def rewrite(machine: Machine, name: str, text: str) -> None:
    """Change a configuration file as an editor does that keeps owner and mode."""
    (machine.root / "etc/pvsim" / name).write_text(text, "utf-8")


def test_installing_starts_the_fleet(installed: Machine) -> None:
    assert installed.run(f"systemctl is-active {METER}") == "active"
    assert installed.run(f"systemctl is-enabled {METER}") == "enabled"
    assert "Meter created: ['Meter_0']" in own_messages(installed, METER)


def test_a_pv_system_writes_a_row_a_second(pvsim: Machine) -> None:
    """In the day file of the machine's own day, with exact sums; readable by the group and nobody else."""
    pvsim.run(f"systemctl start {PV}")
    seconds = dayfiles.wait_for_rows(pvsim, "Meter_0", 12)
    dayfiles.assert_every_second(seconds)
    day = pvsim.run(f"date --date=@{seconds[-1]} +%F")
    path = f"{dayfiles.DIRECTORY}/Meter_0-{day}.csv"
    assert pvsim.run(f"stat -c '%a %U:%G' {path} {dayfiles.DIRECTORY}").split("\n") == [
        "640 pvsim:pvsim",
        "750 pvsim:pvsim",
    ]
    assert pvsim.run(f"tail -n 1 {path} | cut -d, -f2") == str(dayfiles.times(pvsim, "Meter_0")[-1])


@pytest.mark.parametrize("unit", [METER, PV])
def test_status_says_what_goes_on(pvsim: Machine, unit: str) -> None:
    pvsim.run(f"systemctl start {unit}")
    text = f"text=$(systemctl show --property=StatusText --value {unit})"
    pvsim.wait_for(f'{text}; [ "$text" ] && systemctl status --no-pager {unit} | grep -F "$text"')  # it counts rows


def test_a_broker_that_goes_away_is_waited_for(pvsim: Machine) -> None:
    """The services run on and say what is wrong; afterwards no second is missing."""
    pvsim.run(f"systemctl start {PV}")
    dayfiles.wait_for_rows(pvsim, "Meter_0", 3)
    working = {unit: pvsim.property(unit, "StatusText") for unit in (METER, PV)}
    pvsim.run("systemctl stop rabbitmq-server")
    for unit in (METER, PV):
        pvsim.wait_for(f"systemctl show --property=StatusText --value {unit} | grep -q localhost:5672")
        assert pvsim.property(unit, "StatusText") != working[unit]
        assert pvsim.property(unit, "ActiveState") == "active"
    pvsim.run("systemctl start rabbitmq-server")
    seconds = dayfiles.wait_for_rows(pvsim, "Meter_0", 20, seconds=90)
    dayfiles.assert_every_second(seconds)
    assert [pvsim.property(unit, "NRestarts") for unit in (METER, PV)] == ["0", "0"]


def test_an_administrator_s_fleet(pvsim: Machine) -> None:
    """nb_meter counts from the next start on, and one service runs the PV of a range of meters."""
    rewrite(pvsim, "simulation.ini", "[meter]\nnb_meter = 3\n")
    pvsim.run(f"systemctl restart {METER} && systemctl start 'pvsim-pv@Meter_0..2'")
    assert "Meter created: ['Meter_0', 'Meter_1', 'Meter_2']" in own_messages(pvsim, METER)
    for meter_id in ("Meter_0", "Meter_1", "Meter_2"):
        dayfiles.assert_every_second(dayfiles.wait_for_rows(pvsim, meter_id, 3))


def test_one_meter_more(pvsim: Machine) -> None:
    """An instance's name is the meter's id as it stands: a dash stays a dash."""
    pvsim.run("systemctl start pvsim-meter@Garage-1 pvsim-pv@Garage-1")
    dayfiles.assert_every_second(dayfiles.wait_for_rows(pvsim, "Garage-1", 3))


@pytest.mark.parametrize(
    "name, text, culprit",
    [
        ("simulation.ini", "[meter]\nnb_meters = 3\n", "nb_meters"),
        ("simulation.ini", "[meters]\nnb_meter = 3\n", "meters"),
        ("broker.ini", "[broker]\nport = abc\n", "abc"),
    ],
)
def test_a_wrong_configuration_is_said_once(pvsim: Machine, name: str, text: str, culprit: str) -> None:
    """One sentence in the journal, exit status 78, and no restart."""
    rewrite(pvsim, name, text)
    assert pvsim.try_run(f"systemctl restart {METER}").returncode != 0
    (message,) = own_messages(pvsim, METER)
    assert f"/etc/pvsim/{name}" in message
    assert culprit in message
    pvsim.run("sleep 6")  # longer than RestartSec
    assert pvsim.property(METER, "ExecMainStatus") == "78"
    assert pvsim.property(METER, "ActiveState") == "failed"
    assert pvsim.property(METER, "NRestarts") == "0"


def test_an_instance_that_is_no_meter_id_is_refused(pvsim: Machine) -> None:
    """It could become a path: it never gets that far."""
    unit = "pvsim-pv@.hidden.service"
    assert pvsim.try_run(f"systemctl start {unit}").returncode != 0
    (message,) = own_messages(pvsim, unit)
    assert ".hidden" in message
    assert pvsim.property(unit, "ExecMainStatus") == "2"


def test_without_broker_ini_the_defaults_hold(pvsim: Machine) -> None:
    pvsim.run(f"rm /etc/pvsim/broker.ini && systemctl restart {METER} && systemctl start {PV}")
    dayfiles.wait_for_rows(pvsim, "Meter_0", 2)


@pytest.mark.parametrize("unit", [METER, PV])
def test_stopping_is_no_failure(pvsim: Machine, unit: str) -> None:
    """However soon it comes after the start, in the midst of connecting too."""
    for delay in (0, 0, 0, 0.02, 0.02, 0.05, 0.1, 1):
        pvsim.run(f"systemctl start {unit} && sleep {delay} && systemctl stop {unit}")
        assert pvsim.property(unit, "ExecMainStatus") == "0", pvsim.journal()
        assert pvsim.property(unit, "Result") == "success", pvsim.journal()


def test_a_service_that_dies_is_started_again(pvsim: Machine) -> None:
    """And has every reading of the time between."""
    pvsim.run(f"systemctl start {PV}")
    dayfiles.wait_for_rows(pvsim, "Meter_0", 2)
    pvsim.run(f"systemctl kill --signal=KILL {METER} {PV}")
    dayfiles.assert_every_second(dayfiles.wait_for_rows(pvsim, "Meter_0", 10))
    assert [pvsim.property(unit, "NRestarts") for unit in (METER, PV)] == ["1", "1"]


@pytest.mark.parametrize("unit", [METER, PV])
def test_a_service_that_hangs_is_started_again(pvsim: Machine, unit: str) -> None:
    """It feeds the watchdog by working; one that waits for its broker works."""
    with pvsim.changed(unit, "WatchdogSec=3\n"):
        pvsim.run(f"systemctl stop rabbitmq-server && systemctl restart {METER} {PV}")
        pvsim.run("sleep 8")  # far longer than it may be silent
        assert pvsim.property(unit, "NRestarts") == "0"
        pvsim.run("systemctl start rabbitmq-server")
        dayfiles.wait_for_rows(pvsim, "Meter_0", 2)
        pvsim.run(f"systemctl kill --signal=STOP {unit}")
        pvsim.wait_for(f'[ "$(systemctl show --property=NRestarts --value {unit})" = 1 ]')
    dayfiles.assert_every_second(dayfiles.wait_for_rows(pvsim, "Meter_0", 5))


@pytest.mark.parametrize("unit", [*UNITS, "pvsim.target"])
def test_systemd_finds_nothing_to_say_about_a_unit(installed: Machine, unit: str) -> None:
    assert installed.run(f"systemd-analyze verify {unit}") == ""


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_as_sandboxed_as_the_best(pvsim: Machine, unit: str) -> None:
    """An exposure of 1.2 at most, which the best network daemons of Debian have."""
    pvsim.run(f"systemd-analyze security --no-pager --threshold=12 {unit}")
