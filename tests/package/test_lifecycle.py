"""Upgrade, removal, purge, and installing again; each leaves what it should, and nothing else."""

from __future__ import annotations

from tests.package import dayfiles
from tests.package.machine import Machine

METER, PV = "pvsim-meter.service", "pvsim-pv@Meter_0.service"


def purge(machine: Machine) -> None:
    """With what the broker still holds: the purged progress would have told which readings come next."""
    machine.run("apt-get purge -y pvsim && amqp-delete-queue --queue=Meter_0")


def newer(machine: Machine, more: str = "") -> str:
    """A package of a higher version, with other defaults to read in simulation.ini, and perhaps one file more."""
    made = "/root/newer"
    machine.run(f"rm -rf {made} && dpkg-deb -R /root/pvsim.deb {made}")
    machine.run(f"sed -i 's/^Version: .*/&+1/' {made}/DEBIAN/control")
    machine.run(f"echo '# more' >>{made}/etc/pvsim/simulation.ini")
    if more:
        machine.run(f"mkdir -p {made}/{more.rpartition('/')[0]} && touch {made}/{more}")
    machine.run(f"dpkg-deb -b {made} {made}.deb")
    return f"{made}.deb"


def test_an_upgrade_restarts_what_ran(pvsim: Machine) -> None:
    """And only that: what was stopped stays stopped, and what an administrator wrote stays written, unasked."""
    pvsim.run("echo '[broker]' >/etc/pvsim/broker.ini && chmod 640 /etc/pvsim/broker.ini")
    running, stopped = (METER, "pvsim-meter@Garage.service", PV, "pvsim-pv@Garage.service"), "pvsim-pv@Meter_1.service"
    pvsim.run(f"systemctl start {' '.join(running)} {stopped} && systemctl stop {stopped}")
    pvsim.run(f"systemctl disable {METER}")
    for meter_id in ("Meter_0", "Garage"):
        dayfiles.wait_for_rows(pvsim, meter_id, 2)
    before = {unit: pvsim.property(unit, "MainPID") for unit in running}
    pvsim.run(f"apt-get install -y {newer(pvsim)}")
    assert pvsim.run("dpkg-query -W -f='${Version}' pvsim").endswith("+1")
    for unit in running:
        assert pvsim.property(unit, "ActiveState") == "active"
        assert pvsim.property(unit, "MainPID") != before[unit]
    assert pvsim.property(stopped, "ActiveState") == "inactive"
    assert pvsim.try_run(f"systemctl is-enabled {METER}").stdout == "disabled\n"
    assert pvsim.run("stat -c %a /etc/pvsim/broker.ini; cat /etc/pvsim/broker.ini") == "640\n[broker]"
    assert pvsim.run("tail -n 1 /etc/pvsim/simulation.ini") == "# more"
    for meter_id in ("Meter_0", "Garage"):
        dayfiles.assert_every_second(dayfiles.wait_for_rows(pvsim, meter_id, 5))
    pvsim.run(f"apt-get install -y --allow-downgrades /root/pvsim.deb && systemctl enable {METER}")


def test_an_upgrade_leaves_a_stopped_fleet_stopped(pvsim: Machine) -> None:
    """Though it is enabled: it starts with the next boot, or when somebody starts it."""
    pvsim.run(f"systemctl enable {PV} && systemctl stop pvsim.target")
    pvsim.run(f"apt-get install -y {newer(pvsim)}")
    assert pvsim.try_run("pgrep -u pvsim").stdout == ""
    for unit in (METER, PV):
        assert pvsim.property(unit, "ActiveState") == "inactive"
        assert pvsim.run(f"systemctl is-enabled {unit}") == "enabled"
    pvsim.run(f"apt-get install -y --allow-downgrades /root/pvsim.deb && systemctl disable {PV}")


def test_an_upgrade_that_fails_changes_nothing(pvsim: Machine) -> None:
    """What ran runs on, and an installation that comes after it starts the fleet as any other does."""
    before = pvsim.property(METER, "MainPID")
    failed = pvsim.try_run(f"dpkg -i {newer(pvsim, '/usr/bin/python3')}")
    assert failed.returncode != 0
    assert "trying to overwrite '/usr/bin/python3'" in failed.stdout
    assert pvsim.property(METER, "MainPID") == before != "0"
    pvsim.run("apt-get remove -y pvsim && apt-get install -y /root/pvsim.deb")
    assert pvsim.run(f"systemctl is-active pvsim.target {METER}") == "active\nactive"


def test_the_target_starts_what_is_enabled_and_stops_and_restarts_what_runs(pvsim: Machine) -> None:
    """An enabled PV system and one that was only started; when stopping has returned, no process is left."""
    started = "pvsim-meter@Garage.service"
    pvsim.run(f"systemctl enable {PV} && systemctl start pvsim.target {started}")
    pvsim.wait_for(f"systemctl is-active {METER} {PV} {started}")
    before = {unit: pvsim.property(unit, "MainPID") for unit in (METER, PV, started)}
    pvsim.run("systemctl restart pvsim.target")
    pvsim.wait_for(f"systemctl is-active {METER} {PV} {started}")
    for unit, number in before.items():
        assert pvsim.property(unit, "MainPID") not in (number, "0")
    assert pvsim.run("systemctl stop pvsim.target; pgrep -u pvsim || echo none") == "none"
    pvsim.run("systemctl start pvsim.target")
    pvsim.wait_for(f"systemctl is-active {METER} {PV}")
    assert pvsim.property(started, "ActiveState") == "inactive"
    pvsim.run(f"systemctl disable {PV}")


def test_removal_stops_all_and_keeps_data_and_configuration(pvsim: Machine) -> None:
    pvsim.run(f"systemctl start {PV}")
    dayfiles.wait_for_rows(pvsim, "Meter_0", 2)
    pvsim.run("apt-get remove -y pvsim")
    assert pvsim.try_run("pgrep -u pvsim").stdout == ""
    assert pvsim.run("ls /etc/pvsim").split() == ["broker.ini", "simulation.ini"]
    rows = dayfiles.times(pvsim, "Meter_0")
    assert rows

    pvsim.run("cd && apt-get install -y ./pvsim.deb")
    assert pvsim.run(f"systemctl is-active {METER}; systemctl is-enabled {METER}") == "active\nenabled"
    assert dayfiles.times(pvsim, "Meter_0")[: len(rows)] == rows


def test_purging_leaves_nothing_but_the_user(pvsim: Machine) -> None:
    pvsim.run(f"systemctl enable --now {PV}")
    purge(pvsim)
    assert pvsim.run("find /etc /var/lib /usr/lib -name '*pvsim*'") == ""
    assert pvsim.try_run("systemctl list-units --all --plain --no-legend 'pvsim*'").stdout == ""


def test_installing_without_a_broker(pvsim: Machine) -> None:
    """The fleet starts, says what it waits for, and goes to work when a broker is there."""
    purge(pvsim)
    pvsim.run("systemctl stop rabbitmq-server")
    pvsim.run("cd && apt-get install -y ./pvsim.deb", timeout=30)
    assert pvsim.run(f"systemctl is-active {METER}") == "active"
    pvsim.wait_for(f"systemctl show --property=StatusText --value {METER} | grep -q localhost:5672")
    pvsim.run(f"systemctl start rabbitmq-server {PV}")
    dayfiles.assert_every_second(dayfiles.wait_for_rows(pvsim, "Meter_0", 3))
