"""Whoever is not to be trusted: a broker that lies, or a publisher, can do no more than waste their own time."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from pvsim.tools.node import Node
from tests.broker import hostile
from tests.broker.client import Client, connected
from tests.broker.conftest import Service, Services, wait_until
from tests.broker.hostile import Hostile
from tests.broker.test_rubbish import reading

CONNECTIONS = int(os.environ.get("PVSIM_CONNECTIONS", "8"))  # of each service with the fuzzing broker
MOST_KIB = 60 * 1024  # of memory; a service alone takes half of it
MOST_SENT = 8 * 2**20  # bytes; more than the system holds between two processes of which one does not read
EVIL = b"\x1b]0;x\x07\n\xe2\x80\xae2J"


@pytest.fixture
def client(node: Node) -> object:
    """A client of `node` itself."""
    with connected(node) as client:
        yield client


def start(services: Services, port: int, kind: str, meter_id: str = "M") -> Service:
    """A meter, or a PV service, that takes what listens on this port for its broker."""
    directory = services.directory / f"{kind}-{port}"
    directory.mkdir(exist_ok=True)
    (directory / "broker.ini").write_text(f"[broker]\nhost = 127.0.0.1\nport = {port}\n")
    output = ["--output-dir", str(directory)] if kind == "pv" else []
    return services.start(f"pvsim.{kind}", "-conf", str(directory / "broker.ini"), "-ids", meter_id, *output)


def check_printable(service: Service) -> None:
    """Lines of text, and nothing else."""
    assert service.output.replace("\n", "").isprintable()
    assert "Traceback" not in service.output
    assert all(line.startswith("pvsim-") for line in service.output.splitlines())


def wait_for_refusal(broker: Hostile, service: Service, words: str) -> None:
    """Wait until the service has said so; one that reads on what has no end fails within seconds."""
    wait_until(lambda: words in service.output or broker.sent > MOST_SENT, 20, words)
    assert words in service.output, f"it has read on, and takes {service.memory_kib('VmHWM')} KiB"


@pytest.mark.parametrize("kind", ["meter", "pv"])
def test_endless_frame(kind: str, node: Node, services: Services) -> None:
    """A frame of 4 GB ends the connection before it has come."""
    with Hostile(node, hostile.endless_frame) as broker:
        service = start(services, broker.port, kind)
        wait_for_refusal(broker, service, "announced a frame of 4,294,967,294 bytes")
        wait_until(lambda: broker.connections >= 3, 20, "two more tries")
        assert service.memory_kib("VmHWM") < MOST_KIB
        broker.script = hostile.honest
        wait_until(lambda: "Connected" in service.output, 20, "a connection")
        check_printable(service)


def test_endless_body(node: Node, services: Services, client: Client) -> None:
    """So does a message that is announced to have 2**62 bytes; when the broker is well again, its queue is read."""
    client.declare("M")
    client.publish(reading(0))
    with Hostile(node, hostile.endless_body) as broker:
        service = start(services, broker.port, "pv")
        wait_for_refusal(broker, service, "announced a message of 4,611,686,018,427,387,904 bytes")
        wait_until(lambda: broker.connections >= 3, 20, "two more tries")
        assert service.memory_kib("VmHWM") < MOST_KIB
        broker.script = hostile.honest
        services.wait_for_rows("M", 1, directory=f"pv-{broker.port}")
        check_printable(service)


def test_words_of_a_broker(node: Node, services: Services) -> None:
    """What a broker says of itself and of us does nothing to who reads it."""
    for script, words in (
        (hostile.blocked(EVIL), "takes nothing now: \\x1b]0;x\\x07\\n\\u202e2J"),
        (hostile.channel_closed(406, EVIL), "406 \\x1b]0;x\\x07\\n\\u202e2J"),
        (hostile.channel_closed(403, EVIL), "\\x1b]0;x\\x07\\n\\u202e2J"),
    ):
        with Hostile(node, script) as broker:
            service = start(services, broker.port, "meter")
            wait_until(lambda service=service, words=words: words in service.output, 20, words)  # type: ignore[misc]
            check_printable(service)
            service.kill()
    with Hostile(node, hostile.product(b"\x1b]0;x\x07\n")) as broker:
        (services.directory / "broker.ini").write_text(f"[broker]\nhost = 127.0.0.1\nport = {broker.port}\n")
        check = services.start("pvsim.tools", "check", "-conf", "broker.ini")
        check.wait(60)
        assert "\\x1b]0;x\\x07\\n" in check.output
        assert check.output.replace("\n", "").isprintable()


def test_fuzzing_broker(node: Node, services: Services, client: Client) -> None:
    """Whatever is changed in what a broker says: a sentence, another try; in the end all is well, memory is flat."""
    client.declare("P")
    with ExitStack() as stack:
        pairs = []
        for kind, number in (("meter", 0), ("meter", 1), ("pv", 2), ("pv", 3)):
            broker = stack.enter_context(Hostile(node, hostile.one_change(f"{number} 0", 0, 24)))
            pairs.append((broker, start(services, broker.port, kind, "P" if kind == "pv" else f"M{number}"), number))
        for case in range(1, CONNECTIONS):
            for body in range(20):
                client.publish(reading(20 * case + body, meter_id="P"), key="P")
            wait_until(lambda case=case: all(broker.connections >= case for broker, *_ in pairs), 60, f"{case} tries")  # type: ignore[misc]
            for broker, _, number in pairs:
                broker.script = hostile.one_change(f"{number} {case}", 0, 24)
        for broker, service, _ in pairs:
            broker.script = hostile.honest
            said = service.output.count("Connected")
            wait_until(lambda service=service, said=said: service.output.count("Connected") > said, 60, service.output)  # type: ignore[misc]
            check_printable(service)
            assert service.is_running
            assert service.memory_kib("VmHWM") < MOST_KIB
        rows = [row for broker, *_ in pairs[2:] for row in services.times("P", f"pv-{broker.port}")]
        assert set(map(int, rows)) or client.count("P")
