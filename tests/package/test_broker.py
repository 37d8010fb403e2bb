"""The broker on a machine of its own, reached with TLS, login and client certificate, as an administrator does it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.broker.certificates import Authority
from tests.package import dayfiles
from tests.package.machine import Machine, booted

METER, PV = "pvsim-meter.service", "pvsim-pv@Meter_0.service"
PASSWORD = "ge#heim-3.1415"
STORE = "etc/credstore/pvsim.broker-password"
BROKER = "broker.example"
RABBITMQ_CONF = """\
listeners.tcp = none
listeners.ssl.1 = 5671
ssl_options.cacertfile = /etc/rabbitmq/tls/ca.pem
ssl_options.certfile = /etc/rabbitmq/tls/cert.pem
ssl_options.keyfile = /etc/rabbitmq/tls/key.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""
BROKER_INI = f"""\
[broker]
host = {BROKER}
username = fleet
tls = yes
ca_file = ca.pem
cert_file = fleet.pem
key_file = fleet.key
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the certificates of both machines."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker_host(machine: Machine, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Another machine, on a cable to the first, whose RabbitMQ speaks TLS alone."""
    with booted(machine.run("hostname")) as other:
        connect(machine, other)
        tls = authority.furnish(tmp_path_factory.mktemp("broker") / "tls", [BROKER])
        shutil.copytree(tls, other.root / "etc/rabbitmq/tls")
        (other.root / "etc/rabbitmq/rabbitmq.conf").write_text(RABBITMQ_CONF, "utf-8")
        other.run("systemctl restart rabbitmq-server", timeout=120)
        other.run(f"rabbitmqctl add_user fleet '{PASSWORD}' && rabbitmqctl set_permissions fleet '.*' '.*' '.*'")
        yield other


def connect(one: Machine, other: Machine) -> None:
    """A cable between two machines: 192.0.2.1 and 192.0.2.2, which the first one knows by name."""
    ends = [f"pvsim0 netns {machine._init}" for machine in (one, other)]
    subprocess.run(["sh", "-c", f"ip link add {ends[0]} type veth peer name {ends[1]}"], check=True)
    for number, machine in enumerate((one, other), 1):
        machine.run(f"ip address add 192.0.2.{number}/24 dev pvsim0 && ip link set pvsim0 up")
    with (one.root / "etc/hosts").open("a") as file:
        file.write(f"192.0.2.2 {BROKER}\n")


@pytest.fixture
def configured(pvsim: Machine, broker_host: Machine, authority: Authority) -> Iterator[Machine]:
    """The first machine, told where the broker is, with the password in systemd's store of credentials."""
    assert broker_host.run("systemctl is-active rabbitmq-server") == "active"
    directory = pvsim.root / "etc/pvsim"
    cert_file, key_file = authority.issue("fleet")
    for path, name in (authority.ca_file, "ca.pem"), (cert_file, "fleet.pem"), (key_file, "fleet.key"):
        shutil.copyfile(path, directory / name)
    pvsim.run("cd /etc/pvsim && chmod 0640 fleet.key && chgrp pvsim fleet.key")
    (directory / "broker.ini").write_text(BROKER_INI, "utf-8")
    store(pvsim, PASSWORD)
    yield pvsim
    (pvsim.root / STORE).unlink()
    pvsim.run("rm /etc/pvsim/*.pem /etc/pvsim/*.key")


def store(machine: Machine, password: str) -> None:
    """Write the password where root alone can read it."""
    path = machine.root / STORE
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(0o600)
    path.write_text(f"{password}\n", "utf-8")


def test_a_broker_on_another_machine(configured: Machine) -> None:
    """Rows come; `pvsim check` agrees; the password is readable for root, and shown nowhere."""
    configured.run(f"systemctl restart {METER} && systemctl start {PV}")
    dayfiles.assert_every_second(dayfiles.wait_for_rows(configured, "Meter_0", 5))
    for unit in METER, PV:
        told = f"systemctl show --property=StatusText --value {unit} | grep -qF 'connected to {BROKER}:5671'"
        configured.wait_for(told)
    checked = configured.run("pvsim check")
    assert f"a certificate for {BROKER}, valid from" in checked
    assert "ok      use: removed the queue" in checked
    assert configured.run("stat -c '%a %U' /etc/pvsim/broker.ini") == "600 root"
    assert configured.try_run("setpriv --reuid=pvsim --clear-groups cat /etc/pvsim/broker.ini").returncode != 0
    seen = checked + configured.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'; journalctl")
    assert "pvsim-meter" in seen
    assert PASSWORD not in seen


def test_a_wrong_password(configured: Machine) -> None:
    """It is said in status and journal, once, with the file to look at; mended, and restarted, all is well."""
    store(configured, "another")
    configured.run(f"systemctl restart {METER}")
    sentence = f"Refused login as 'fleet' by the broker at {BROKER}:5671; look at username and password in"
    sentence += " /etc/pvsim/broker.ini."
    configured.wait_for(f'systemctl status --no-pager --lines=0 -l {METER} | grep -qF "{sentence}"')
    invocation = configured.property(METER, "InvocationID")
    journal = configured.run(f"sleep 3; journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID={invocation}")
    assert journal.count(sentence) == 1
    assert "another" not in journal
    failed = configured.try_run("pvsim check")
    assert failed.returncode == 1
    assert f"FAILED  login: {sentence}" in failed.stdout
    store(configured, PASSWORD)
    configured.run(f"systemctl restart {METER}")
    configured.wait_for(f"systemctl status --no-pager --lines=0 -l {METER} | grep -q 'connected to {BROKER}:5671'")


def test_a_key_that_the_services_cannot_read(configured: Machine) -> None:
    """It is a wrong configuration: one sentence, exit status 78, and no restart."""
    configured.run("chmod 0600 /etc/pvsim/fleet.key")
    assert configured.try_run(f"systemctl restart {METER}").returncode != 0
    configured.wait_for(f"systemctl is-failed {METER}")
    assert configured.property(METER, "ExecMainStatus") == "78"
    sentence = "key_file: /etc/pvsim/fleet.key cannot be read: Permission denied; give a file that this user may read."
    assert f"/etc/pvsim/broker.ini: [broker] {sentence}" in configured.journal()
