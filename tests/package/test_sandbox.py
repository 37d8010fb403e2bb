"""What a service could do to the machine it runs on, seen from inside: as its user, in its unit's sandbox."""

from __future__ import annotations

import pytest

from tests.package.machine import Machine

UNITS = ["pvsim-meter.service", "pvsim-meter@Probe.service", "pvsim-pv@Probe.service"]
# Everything that anybody may write to, for which the sandbox alone can be the reason that the service may not.
OPEN = "/etc/open /home/open /media/open /opt/open /root/open /srv/open /usr/local/open /var/open /var/lib/open"


def from_inside(machine: Machine, unit: str, script: str) -> str:
    """What a shell script says when it runs in the place of the service."""
    machine.root.joinpath("usr/local/share/probe").write_text(script, "utf-8")
    start = "Type=oneshot\nRemainAfterExit=yes\nExecStart=\nExecStart=/bin/sh /usr/local/share/probe\n"
    with machine.changed(unit, start):
        machine.run(f"systemctl stop {unit} && systemctl start {unit}")
        invocation = machine.property(unit, "InvocationID")
        machine.run("journalctl --sync")
        return machine.run(f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID={invocation} SYSLOG_IDENTIFIER=sh")


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_but_its_data_can_be_written(pvsim: Machine, unit: str) -> None:
    """No file and no directory outside /var/lib/pvsim and /run/pvsim, even where the mode would let anybody."""
    pvsim.run(f"mkdir -p {OPEN} && chmod 777 {OPEN} && for each in {OPEN}; do echo x >$each/f; chmod 666 $each/f; done")
    kinds = r"\( -type f -o -type d -o -type b \)"
    data = "-path /var/lib/pvsim -prune -o -path /run/pvsim -prune"
    find = rf"find / -path /proc -prune -o {data} -o {kinds} -writable -print 2>/dev/null"
    writable = from_inside(pvsim, unit, f"{find}\ntouch /var/lib/pvsim/probe && echo its data\n").splitlines()
    # For the unit's own memory, a number that nobody but systemd's own notifications uses.
    assert [line for line in writable if not line.endswith(f"{unit}/memory.pressure")] == ["its data"]


@pytest.mark.parametrize("unit", UNITS)
def test_nobody_s_home_can_be_read(pvsim: Machine, unit: str) -> None:
    pvsim.run(f"mkdir -p {OPEN} && chmod 777 {OPEN} && echo secret | tee /home/open/f /root/open/f && chmod 711 /root")
    script = "cat /home/open/f /root/open/f; ls /home /root; cat /etc/hostname\n"
    said = from_inside(pvsim, unit, script)
    pvsim.run("chmod 700 /root")
    assert "secret" not in said
    assert "open\n" not in said
    assert pvsim.run("cat /etc/hostname") in said
