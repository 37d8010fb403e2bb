"""What can be wrong with a broker, each provoked for real: one sentence in log and status, and in `pvsim check`."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from pvsim.tools.node import Node
from tests.broker import shell
from tests.broker.certificates import Authority, Span
from tests.broker.conftest import Service, Services, wait_for_queue, wait_until
from tests.broker.told import Told, at

PASSWORD = "ge#heim 3.1415"
# Their names, and what they may configure, write and read.
USERS = [
    ("pvsim", ".*", ".*", ".*"),
    ("mute", ".*", "^$", ".*"),
    ("deaf", ".*", ".*", "^Free"),
    ("plain", ".*", "^(amq.default|Plain)$", ".*"),
    ("poor", "^$", "^$", "^$"),
]


class World(NamedTuple):
    """A node with TLS, users and virtual hosts, and whom it trusts."""

    node: Node
    authority: Authority
    directory: Path


@pytest.fixture(scope="session")
def furnished_node(shared_node: Node, authority: Authority) -> Node:
    """User `pvsim` may do everything in /, `poor` nothing, `mute` anything but publish, `deaf` consume some queues."""
    authority.issue("pvsim")
    authority.issue("nobody")
    Authority(authority.directory, "other").issue("stranger")
    shell.ctl(shared_node, "add_vhost", "second")
    shell.ctl(shared_node, "add_vhost", "full")
    shell.ctl(shared_node, "set_vhost_limits", "-p", "full", '{"max-connections": 0}')
    for user, *permissions in USERS:
        shell.add_user(shared_node, user, PASSWORD, *permissions)
    shell.ctl(shared_node, "set_permissions", "-p", "full", "pvsim", ".*", ".*", ".*")
    return shared_node


@pytest.fixture
def world(furnished_node: Node, authority: Authority) -> World:
    """The world, without queues."""
    shell.delete_queues(furnished_node)
    return World(furnished_node, authority, authority.directory)


PLAIN = f"host = localhost\nport = {{port}}\npassword = {PASSWORD}\n"
TLS = f"host = localhost\nport = {{tls_port}}\npassword = {PASSWORD}\ntls = yes\n"
TRUSTED = TLS + "ca_file = {directory}/tests.ca.pem\n"
BY_CERTIFICATE = (
    "host = localhost\nport = {tls_port}\ntls = yes\nca_file = {directory}/tests.ca.pem\nlogin = certificate\n"
)
WORKING = [
    pytest.param(f"{PLAIN}username = pvsim\n", id="password"),
    pytest.param(f"{TRUSTED}username = pvsim\n", id="TLS"),
    pytest.param(f"{TLS}username = pvsim\nverify = no\n", id="not verified"),
    pytest.param(f"{PLAIN}username = pvsim\nqueue_type = classic\n", id="classic"),
    pytest.param(
        f"{BY_CERTIFICATE}cert_file = {{directory}}/pvsim.pem\nkey_file = {{directory}}/pvsim.key\n", id="certificate"
    ),
]
FAILING = [
    pytest.param(
        f"{PLAIN}username = nobody\n",
        "login",
        "Refused login as 'nobody' by the broker at {address}; look at username and password in {file}.",
        id="login",
    ),
    pytest.param(
        f"{PLAIN}username = pvsim\nvirtual_host = none\n",
        "virtual host",
        "No virtual host 'none' at the broker at {address}; look at virtual_host in {file}.",
        id="unknown virtual host",
    ),
    pytest.param(
        f"{PLAIN}username = pvsim\nvirtual_host = second\n",
        "virtual host",
        "Refused virtual host 'second' by the broker at {address}; look at virtual_host in {file}, and at"
        " rabbitmqctl list_permissions -p second.",
        id="refused virtual host",
    ),
    pytest.param(
        f"{PLAIN}username = pvsim\nvirtual_host = full\n",
        "virtual host",
        "connection limit (0) is reached",
        id="connection limit",
    ),
    pytest.param(
        f"{PLAIN}username = poor\n",
        "use",
        "access to queue '{queue}' in vhost '/' refused for user 'poor'; look at rabbitmqctl list_permissions -p /.",
        id="no permission to declare",
    ),
    pytest.param(
        f"{PLAIN}username = mute\n",
        "use",
        "No permission at the broker at {address}: access to exchange 'amq.default' in vhost '/' refused for user"
        " 'mute'; look at rabbitmqctl list_permissions -p /.",
        id="no permission to publish",
    ),
    pytest.param(
        f"{TLS}username = pvsim\nca_file = {{directory}}/other.ca.pem\n",
        "TLS",
        "The certificate of the broker at {address} is not signed by a trusted authority (self-signed certificate in"
        " certificate chain); look at {directory}/other.ca.pem, and at ca_file in {file}.",
        id="wrong CA",
    ),
    pytest.param(
        f"{TLS}username = pvsim\n",
        "TLS",
        "look at the system's authorities, and at ca_file in {file}.",
        id="no CA",
    ),
    pytest.param(
        TRUSTED.replace("localhost", "127.0.0.1"),
        "TLS",
        "The certificate of the broker at {address} is not made for 127.0.0.1; look at host in {file}, or give the"
        " broker a certificate with that name.",
        id="another name",
    ),
    pytest.param(
        TRUSTED.replace("tls_port", "port"),
        "TLS",
        "No TLS is spoken by the broker at {address}; look at port and tls in {file}.",
        id="TLS to a plain port",
    ),
    pytest.param(
        PLAIN.replace("port}", "tls_port}"), "AMQP", "tls = yes in {file}, or another port.", id="no TLS to a TLS port"
    ),
    pytest.param(
        f"{BY_CERTIFICATE}cert_file = {{directory}}/nobody.pem\nkey_file = {{directory}}/nobody.key\n",
        "login",
        "Refused login by certificate by the broker at {address}; look at cert_file in {file}, and whether the broker"
        " has the user and the plugin rabbitmq_auth_mechanism_ssl.",
        id="certificate of an unknown user",
    ),
    pytest.param(
        f"{BY_CERTIFICATE}cert_file = {{directory}}/stranger.pem\nkey_file = {{directory}}/stranger.key\n",
        None,  # the broker's word may be lost with the connection
        "broker at {address}",
        id="certificate of a stranger",
    ),
    pytest.param(
        "host = no-such-host.invalid\n",
        "name",
        "Cannot find no-such-host.invalid: Name or service not known; look at host in {file}.",
        id="unknown name",
    ),
    pytest.param(
        "host = localhost\nport = 1\n",
        "TCP",
        "Cannot reach the broker at localhost:1: Connection refused; look whether it runs, and at host and"
        " port in {file}.",
        id="nobody listens",
    ),
]


def configure(services: Services, text: str, **names: object) -> Path:
    """Write broker.ini."""
    path = services.directory / "broker.ini"
    path.write_text(f"[broker]\n{text.format(**names)}")
    return path


def of(world: World) -> dict[str, object]:
    """What the texts above leave open."""
    return {"port": world.node.port, "tls_port": world.node.tls_port, "directory": world.directory}


def check(services: Services) -> Service:
    """`pvsim check`, which has ended."""
    tool = services.start("pvsim.tools", "check", "-conf", "broker.ini")
    tool.wait(60)
    return tool


def plain(text: str) -> str:
    """A text without the word by which newer brokers name the permission that they miss."""
    first = re.compile(r"(configure|write|read) a(?=ccess to )", re.IGNORECASE)
    return first.sub(lambda match: "A" if match[0][0].isupper() else "a", text)


def in_one_go(told: Told, meter: Service, sentence: str) -> None:
    """Both log and status have a sentence."""
    wait_until(lambda: sentence in plain(meter.output), 20, f"{sentence} in the log:\n{meter.output}")
    wait_until(lambda: sentence[:-1] in plain(told.status), 10, f"{sentence} in the status: {told.status}")


@pytest.mark.parametrize("text", WORKING)
def test_what_works(world: World, services: Services, text: str) -> None:
    """Each way to log in carries readings into day files, and `pvsim check` says so; nothing shows the password."""
    configure(services, text, **of(world))
    ids = ["-ids", "Works"]
    running = [services.start(f"pvsim.{name}", "-conf", "broker.ini", *ids) for name in ("meter", "pv")]
    services.wait_for_rows("Works", 2)
    tool = check(services)
    assert tool.process.returncode == 0, tool.output
    assert "FAILED" not in tool.output
    assert "ok      use: removed the queue" in tool.output
    if "tests.ca.pem" in text:
        assert re.search(r"TLSv1\.\d, a certificate for localhost, valid from 20\d\d-\d\d-\d\d to ", tool.output)
    assert [service.stop() for service in running] == [0, 0]
    assert PASSWORD not in services.all_output()
    left = shell.ctl(world.node, "list_queues", "--no-table-headers", "name", "type").split("\n")
    assert not [queue for queue in left if "check" in queue]
    assert f"Works\t{'classic' if 'classic' in text else 'quorum'}" in left
    shell.ctl(world.node, "delete_queue", "Works")


@pytest.mark.parametrize("text, step, sentence", FAILING)
def test_what_fails(world: World, services: Services, told: Told, text: str, step: str | None, sentence: str) -> None:
    """The sentence stands in log, status and `pvsim check`; the service goes on; nothing shows the password."""
    file = configure(services, text, **of(world))
    host, port = (re.search(rf"{key} = (\S+)", file.read_text()) for key in ("host", "port"))
    assert host
    address = f"{host[1]}:{port[1] if port else 5672}"
    meter = services.start("pvsim.meter", "-conf", "broker.ini", env=at(told))
    named = sentence.format(address=address, file=file, directory=world.directory, queue="Meter_0")
    in_one_go(told, meter, named)
    tool = check(services)
    assert tool.process.returncode == 1
    queue = re.search(r"pvsim\.check\.\w+", tool.output)
    named = sentence.format(address=address, file=file, directory=world.directory, queue=queue[0] if queue else "")
    assert re.search(f"  FAILED  {step or '.*'}: .*{re.escape(named)}", plain(tool.output)), tool.output
    assert meter.is_running
    assert meter.stop() == 0
    assert "Traceback" not in services.all_output()
    assert PASSWORD not in services.all_output() + told.status


def test_no_permission_to_consume(world: World, services: Services, told: Told) -> None:
    """The same for a PV service that may not read one of its queues: the others go on, and that one when it may."""
    configure(services, f"{PLAIN}username = pvsim\n", **of(world))
    ids = ["-ids", "Kept", "Free", "Free_1..49"]  # to declare that many takes longer than to refuse one
    services.start("pvsim.meter", "-conf", "broker.ini", *ids)
    configure(services, f"{PLAIN}username = deaf\n", **of(world))
    pv = services.start("pvsim.pv", "-conf", "broker.ini", *ids, env=at(told))
    what = "access to queue 'Kept' in vhost '/' refused for user 'deaf'; look at rabbitmqctl list_permissions -p /."
    in_one_go(told, pv, what)
    count = len(services.wait_for_rows("Free", 1))
    services.wait_for_rows("Free", count + 8)
    assert f"1 waiting: {what}" in plain(told.status)
    assert plain(pv.output).count(what) == 1
    assert pv.output.count("Connected to") == 2
    assert re.search("FAILED  use: .*refused for user 'deaf'", check(services).output)
    shell.ctl(world.node, "set_permissions", "deaf", ".*", ".*", ".*")
    times = services.wait_for_rows("Kept", 12)
    assert times == [times[0] + number for number in range(len(times))]
    wait_until(lambda: "waiting" not in told.status, 5, "a status without trouble")
    assert PASSWORD not in services.all_output()


@pytest.mark.parametrize("user", ["plain", "mute"])
def test_no_permission_to_publish_where_queues_are_marked(world: World, services: Services, user: str) -> None:
    """Who may not ask whose a queue is does without, and says so; who may publish nothing is told of that."""
    configure(services, f"{PLAIN}username = pvsim\n", **of(world))
    pv = services.start("pvsim.pv", "-conf", "broker.ini", "-ids", "Plain")  # it leaves a mark
    wait_for_queue(world.node, "Plain")
    bindings = ("list_bindings", "source_name", "routing_key")
    wait_until(lambda: "pvsim.declared\tPlain" in shell.ctl(world.node, *bindings), 20, "it")
    configure(services, f"{PLAIN}username = {user}\n", **of(world))
    meter = services.start("pvsim.meter", "-conf", "broker.ini", "-ids", "Plain")
    told = "Queues that others have declared are not told from our own: access to exchange 'pvsim.declared'"
    wait_until(lambda: told in plain(meter.output), 20, f"a word: {meter.output}")
    if user == "plain":
        services.wait_for_rows("Plain", 3)
        assert plain(meter.output).count(told) == meter.output.count("Connected to") == 1
    else:
        refused = "access to exchange 'amq.default' in vhost '/' refused for user 'mute'"
        wait_until(lambda: refused in plain(meter.output), 20, f"a word: {meter.output}")
    assert pv.is_running


def test_mended_while_it_runs(world: World, services: Services) -> None:
    """Services try again until the admin has mended it: here login, virtual host and permission, one after another."""
    text = f"{PLAIN}username = late\nvirtual_host = late\n"
    configure(services, text, **of(world))
    meter = services.start("pvsim.meter", "-conf", "broker.ini", "-ids", "Late")
    wait_until(lambda: "Refused login" in meter.output, 10, "a refusal")
    shell.ctl(world.node, "add_user", "late", PASSWORD)
    wait_until(lambda: "No virtual host" in meter.output, 40, "the next one")
    shell.ctl(world.node, "add_vhost", "late")
    wait_until(lambda: "Refused virtual host" in meter.output, 40, "the next one")
    shell.ctl(world.node, "set_permissions", "-p", "late", "late", ".*", ".*", ".*")
    wait_until(lambda: "Connected" in meter.output, 40, "a connection")
    for sentence in ("Refused login", "No virtual host", "Refused virtual host"):
        assert meter.output.count(sentence) == 1


def test_certificates_in_time(services: Services, told: Told, tmp_path: Path) -> None:
    """An expired certificate is refused; the broker's new one, and our own one that is there now, need no restart."""
    authority = Authority(tmp_path)
    tls = authority.furnish(tmp_path / "tls", ["localhost"], Span(-9, -1))
    cert_file, key_file = Authority(tmp_path, "other").issue("pvsim")
    text = (
        f"host = localhost\nport = {{tls_port}}\ntls = yes\nca_file = {authority.ca_file}\n"
        f"cert_file = {cert_file}\nkey_file = {key_file}\n"
    )
    with Node(tls=tls, conf="ssl_options.fail_if_no_peer_cert = true\n") as node:
        configure(services, text, tls_port=node.tls_port)
        meter = services.start("pvsim.meter", "-conf", "broker.ini", env=at(told))
        in_one_go(
            told,
            meter,
            f"The certificate of the broker at localhost:{node.tls_port} has expired; renew it there, and look at the"
            " clocks of both machines.",
        )
        authority.furnish(tls, ["localhost"])
        node.restart()
        wait_until(lambda: re.search("TLS is refused by|hangs up as soon as TLS", meter.output), 40, "a refusal")
        authority.issue("pvsim")
        wait_until(lambda: "Connected" in meter.output, 60, "a connection")
        cert_file.unlink()
        node.restart()
        missing = f"[broker] cert_file: {cert_file} cannot be read: No such file or directory; give a file that"
        wait_until(lambda: missing in meter.output, 40, "a word about the file")
        assert meter.stop() == 0
        again = services.start("pvsim.meter", "-conf", "broker.ini")
        assert again.wait() == 78
        assert missing in again.output
        assert len(again.output.splitlines()) == 1


BAD_FILES = [
    ("ca_file = broker.ini", "ca_file: {0}/broker.ini holds no certificate; give one or more in PEM."),
    ("cert_file = tests.ca.pem", "cert_file: {0}/tests.ca.pem does not hold a certificate and its key, in PEM."),
    ("cert_file = a.pem\nkey_file = b.key", "key_file: {0}/b.key is not the key of {0}/a.pem; give the right one."),
    ("cert_file = a.pem\nkey_file = a.pem", "a.pem and {0}/a.pem do not hold a certificate and its key, in PEM."),
    ("cert_file = a.pem\nkey_file = locked.key", "cert_file is encrypted, and a service cannot ask for its password;"),
]


@pytest.mark.parametrize("text, sentence", BAD_FILES)
def test_files_that_are_none(services: Services, text: str, sentence: str) -> None:
    """A file that cannot be what it should be is a wrong configuration: a sentence, and exit status 78."""
    authority = Authority(services.directory)
    authority.issue("a")
    _, key_file = authority.issue("b")
    authority.lock(key_file, services.directory / "locked.key")
    configure(services, f"tls = yes\n{text}\n")
    for module, *more in (["pvsim.meter"], ["pvsim.tools", "check"]):
        service = services.start(module, *more, "-conf", "broker.ini")
        assert service.wait() == 78
        assert sentence.format(services.directory) in service.output


def test_no_answer(services: Services, told: Told) -> None:
    """Who accepts a connection and says nothing, or does not even accept it, is left after connect_timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        busy = [socket.socket() for _ in range(4)]
        for each in busy:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        ports = silent.getsockname()[1], full.getsockname()[1]
        configure(services, f"host = 127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]}\nconnect_timeout = 1\n")
        meter = services.start("pvsim.meter", "-conf", "broker.ini", env=at(told))
        in_one_go(told, meter, f"No answer from the broker at 127.0.0.1:{ports[0]} within 1 s; look at host, port and")
        in_one_go(told, meter, f"Cannot reach the broker at 127.0.0.1:{ports[1]}: no answer within 1 s; look whether")
        output = check(services).output
        assert f"FAILED  AMQP: No answer from the broker at 127.0.0.1:{ports[0]} within 1 s;" in output
        assert f"FAILED  TCP: Cannot reach the broker at 127.0.0.1:{ports[1]}: no answer within 1 s;" in output
        for each in busy:
            each.close()


@pytest.mark.parametrize("tls, sentence", [("no", "No AMQP broker answers at"), ("yes", "No TLS is spoken by")])
def test_another_server(services: Services, told: Told, tls: str, sentence: str) -> None:
    """A web server is none, and hears of it a few times, not all the time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        tries: list[float] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, suppress(OSError):
                        tries.append(time.monotonic())
                        client.recv(1000)
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        configure(services, f"host = 127.0.0.1\nport = {server.getsockname()[1]}\ntls = {tls}\n")
        meter = services.start("pvsim.meter", "-conf", "broker.ini", env=at(told))
        in_one_go(told, meter, sentence)
        time.sleep(5)
        assert meter.output.count(sentence) == 1
        assert len(tries) < 12
        assert sentence in check(services).output
        server.shutdown(socket.SHUT_RDWR)


def test_heartbeat_and_block(own_node: Node, services: Services, told: Told) -> None:
    """A broker that takes nothing says why; one that is frozen is left when its heartbeats stay away."""
    configure(services, f"host = 127.0.0.1\nport = {own_node.port}\nheartbeat = 1\n")
    meter = services.start("pvsim.meter", "-conf", "broker.ini", env=at(told))
    wait_until(lambda: "confirmed; connected to" in told.status, 10, "a connection")
    shell.ctl(own_node, "set_vm_memory_high_watermark", "absolute", "1")
    in_one_go(told, meter, f"he broker at 127.0.0.1:{own_node.port} takes nothing now: low on memory.")
    tool = check(services)
    assert "FAILED  use: Cannot publish at the broker" in tool.output, tool.output
    shell.ctl(own_node, "set_vm_memory_high_watermark", "0.9")
    wait_until(lambda: "takes messages again" in meter.output, 20, "the broker to take messages")
    own_node.pause()
    sentence = f"Lost the broker at 127.0.0.1:{own_node.port}: it did not answer in time; look whether it runs."
    wait_until(lambda: sentence in meter.output, 40, "a missed heartbeat")
    own_node.resume()
    wait_until(lambda: meter.output.count("Connected") == 2, 40, "a connection")


def test_the_password_is_nowhere(world: World, services: Services) -> None:
    """Neither in the process list, nor the environment, nor a log that tells everything, however it is given."""
    (services.directory / "secret").write_text(f"{PASSWORD}\n")
    texts = PLAIN, PLAIN.replace(f"password = {PASSWORD}", "password_file = secret"), PLAIN.replace(PASSWORD, "wrong")
    for text in texts:
        configure(services, f"{text}username = pvsim\n", **of(world))
        meter = services.start("pvsim.meter", "-conf", "broker.ini", "--log-level", "DEBUG")
        sentence = "Refused login" if "wrong" in text else "Connected to"
        wait_until(lambda meter=meter, sentence=sentence: sentence in meter.output, 10, sentence)  # type: ignore[misc]
        process = Path("/proc", str(meter.process.pid))
        seen = meter.output.encode() + b"".join((process / each).read_bytes() for each in ("cmdline", "environ"))
        assert PASSWORD.encode() not in seen
        assert b"wrong" not in seen.replace(os.fsencode(services.directory), b"")
        assert meter.stop() == 0


def test_a_crash_keeps_the_password(world: World, services: Services) -> None:
    """An error in our own code is logged with its traceback and all that it names, but for the password."""
    configure(services, f"{PLAIN}username = pvsim\n", **of(world))
    meter = services.start("tests.broker.crashing", "-conf", "broker.ini")
    assert meter.wait() == 1
    assert "Traceback (most recent call last)" in meter.output
    for what in ("BrokerSettings(", "username='pvsim'", "ConnectionParameters", "PlainCredentials"):
        assert what in meter.output
    assert PASSWORD not in meter.output
