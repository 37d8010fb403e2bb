"""What is promised, with the thing that each promise speaks of really broken."""

from __future__ import annotations

import fcntl
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import pika
import pytest

from pvsim import broker
from pvsim.config import BrokerSettings
from pvsim.row import HEADER
from pvsim.tools.node import Node
from tests.allowed import require
from tests.broker import shell
from tests.broker.conftest import Service, Services, held, wait_for_queue, wait_until
from tests.broker.witness import ROUNDS, lost_by, witnesses


def gaps(instants: list[float], step: float = 1) -> list[tuple[float, float]]:
    """The pairs of successive instants that are not one step apart."""
    return [(a, b) for a, b in pairwise(instants) if round((b - a) / step) != 1]


def test_broker_killed(own_node: Node, services: Services) -> None:
    """kill -9 of the broker, right after the queue has taken its first message and later: no gap, no row twice."""
    meter = services.meter(own_node, "--state-dir", ".")
    wait_for_queue(own_node, "Meter_0")
    pv = services.pv(own_node, "-ids", "Meter_0")
    wait_until(lambda: services.times("Meter_0"), 20, "the first row")
    for _ in range(3):
        own_node.kill()
        own_node.start()
        count = len(services.times("Meter_0"))
        services.wait_for_rows("Meter_0", count + 3)
    time.sleep(1)
    assert meter.stop() == pv.stop() == 0
    assert gaps(services.times("Meter_0")) == []
    services.verify()


@pytest.mark.timeout(600 + 60 * ROUNDS)
def test_settled(own_node: Node) -> None:
    """kill -9 of the broker: it comes back with what it had confirmed."""
    lost: list[str] = []
    for number in range(ROUNDS):
        lost += lost_by(witnesses(own_node, number), own_node, own_node)
    assert not lost


def test_broker_killed_as_the_queue_is_declared(own_node: Node, services: Services) -> None:
    """A queue that 3.10 leaves dead has taken nothing yet: deleted as is told, all of its readings follow."""
    meter = services.meter(own_node, "--state-dir", ".")
    wait_for_queue(own_node, "Meter_0")
    declared = time.time()
    own_node.kill()
    own_node.start()
    services.pv(own_node, "-ids", "Meter_0")
    mend = re.compile(r"rabbitmqctl (delete_queue) (Meter_0)")
    wait_until(lambda: services.times("Meter_0") or mend.search(meter.output), 40, f"rows or a mend: {meter.output}")
    if told := mend.search(meter.output):
        assert services.times("Meter_0") == []
        shell.ctl(own_node, *told.groups())
    instants = services.wait_for_rows("Meter_0", 5, timeout=60)
    assert gaps(instants) == []
    assert instants[0] <= declared + 1


def test_meter_killed(node: Node, services: Services) -> None:
    """kill -9 of the meter: the readings of the time that it was down follow."""
    meter = services.meter(node, "--state-dir", ".")
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 2)
    meter.kill()
    time.sleep(3)
    services.meter(node, "--state-dir", ".")
    assert gaps(services.wait_for_rows("Meter_0", 8)) == []


def test_meter_told_to_stop(node: Node, services: Services) -> None:
    """Started two minutes after its stop, a meter has delivered up to the stop, and makes nothing for between."""
    meter = services.meter(node, "--state-dir", ".")
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 3)
    assert meter.stop() == 0
    stopped = time.time()
    set_clock(services.directory / "clock", 120)
    services.meter(node, "--state-dir", ".", env=faked_clock(services.directory / "clock"))
    instants = services.wait_for_rows("Meter_0", len(services.times("Meter_0")) + 4)
    before = [instant for instant in instants if instant <= stopped]
    after = [instant for instant in instants if instant > stopped]
    assert gaps(before) == gaps(after) == []
    assert stopped - 2 < before[-1] <= stopped
    assert stopped + 120 < after[0] < stopped + 124


def test_restart(node: Node, services: Services) -> None:
    """A restart counts as no stop: the readings of the time between follow."""
    meter = services.meter(node, "--state-dir", ".")
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 2)
    meter.stop()
    time.sleep(4)
    services.meter(node, "--state-dir", ".")
    assert gaps(services.wait_for_rows("Meter_0", 9)) == []


def test_queue_deleted(node: Node, services: Services) -> None:
    """A queue that is gone, with what nobody had consumed: declared again, and all of it sent again."""
    meter = services.meter(node)
    wait_for_queue(node, "Meter_0")
    declared = time.time()
    wait_until(lambda: held(node, "Meter_0") >= 2, 20, "messages")
    shell.ctl(node, "delete_queue", "Meter_0")
    wait_until(lambda: "is gone" in meter.output, 10, "the meter to notice")
    services.pv(node, "-ids", "Meter_0")
    instants = services.wait_for_rows("Meter_0", 5)
    assert gaps(instants) == []
    assert instants[0] <= declared + 1


def test_queue_deleted_under_the_consumer(node: Node, services: Services) -> None:
    """A PV service whose queue is deleted declares it again and goes on."""
    services.meter(node)
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 2)
    shell.ctl(node, "delete_queue", "Meter_0")
    assert gaps(services.wait_for_rows("Meter_0", 6)) == []


def test_queue_declared_anew_at_once(node: Node, services: Services) -> None:
    """The same where it is declared before the broker has told the consumer that it was deleted."""
    services.meter(node, "--interval", "0.1")
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 20)
    connection = pika.BlockingConnection(pika.ConnectionParameters(node.host, node.port))
    channel = connection.channel()
    channel.queue_delete("Meter_0")
    channel.queue_declare("Meter_0", durable=True, arguments=broker.arguments(BrokerSettings()))
    connection.close()
    count = len(services.times("Meter_0"))
    services.wait_for_rows("Meter_0", count + 100, timeout=60)


_CANCEL = """
{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"Meter_0">>)),
[ra:process_command(amqqueue:get_pid(Q), rabbit_fifo:make_checkout({element(2, C), element(1, C)}, cancel, #{}))
 || C <- rabbit_amqqueue:consumers(Q)].
"""


def test_a_lost_consumer(node: Node, services: Services) -> None:
    """The broker loses a consumer and does not say so: it is noticed, and nothing is lost."""
    services.meter(node)
    pv = services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 3)
    shell.ctl(node, "eval", _CANCEL)
    count = len(services.times("Meter_0"))
    assert gaps(services.wait_for_rows("Meter_0", count + 5, timeout=90)) == []
    assert "the queue Meter_0 has lost its consumer" in pv.output


def test_full_queue(node: Node, services: Services) -> None:
    """A full queue refuses: the meter stays behind, holds nothing, and catches up in few messages."""
    conf = "max_queue_length = 3\n"
    meter = services.meter(node, "--interval", "0.1", conf=conf)
    wait_until(lambda: "is full" in meter.output, 15, "a refusal")
    time.sleep(3)
    assert int(shell.ctl(node, "list_queues", "--no-table-headers", "messages").split()[0]) <= 4
    services.pv(node, "-ids", "Meter_0", conf=conf)
    instants = services.wait_for_rows("Meter_0", 60)
    assert gaps(instants, 0.1) == []
    wait_until(lambda: "has room again" in meter.output, 15, "the queue to have room")


def test_pv_killed(node: Node, services: Services) -> None:
    """kill -9 of the PV service, again and again: each reading has its row once, no row is torn."""
    services.meter(node, "--interval", "0.01")
    for _ in range(6):
        pv = services.pv(node, "-ids", "Meter_0")
        count = len(services.times("Meter_0"))
        services.wait_for_rows("Meter_0", count + 100)
        pv.kill()
    services.pv(node, "-ids", "Meter_0")
    instants = services.wait_for_rows("Meter_0", len(services.times("Meter_0")) + 100)
    assert gaps(instants, 0.01) == []


def test_torn_line(node: Node, services: Services) -> None:
    """A torn last line is cut off and logged, and its row comes again."""
    services.meter(node)
    pv = services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 2)
    pv.kill()
    (path,) = services.directory.glob("Meter_0-*.csv")
    with path.open("a") as file:
        file.write("Meter_0,17")
    pv = services.pv(node, "-ids", "Meter_0")
    assert gaps(services.wait_for_rows("Meter_0", 5)) == []
    assert "Meter_0,17" in pv.output


@pytest.fixture
def foreign_file(services: Services) -> Path:
    """Today's and tomorrow's day file of Meter_0 are somebody else's."""
    for day in (0, 1):
        name = time.strftime("Meter_0-%F.csv", time.localtime(time.time() + 86400 * day))
        (services.directory / name).write_text("time,power\n1,2\n")
    return services.directory / time.strftime("Meter_0-%F.csv")


def test_foreign_file(node: Node, services: Services, foreign_file: Path) -> None:
    """A file with another header is left alone, the messages stay in the queue, other meters go on."""
    services.meter(node, "-nb", "2")
    pv = services.pv(node, "-ids", "Meter_0", "Meter_1")
    services.wait_for_rows("Meter_1", 4)
    assert foreign_file.read_text() == "time,power\n1,2\n"
    assert pv.output.count("not a day file") == 1
    for path in services.directory.glob("Meter_0-*.csv"):
        path.unlink()
    assert gaps(services.wait_for_rows("Meter_0", 6)) == []


def test_locked_file(node: Node, services: Services) -> None:
    """A file that another process holds is left alone until it lets go."""
    path = services.directory / time.strftime("Meter_0-%F.csv")
    path.write_text(f"{HEADER}\n")
    with path.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        services.meter(node)
        pv = services.pv(node, "-ids", "Meter_0")
        wait_until(lambda: "another process" in pv.output, 10, "a sentence")
        assert path.read_text() == f"{HEADER}\n"
    assert gaps(services.wait_for_rows("Meter_0", 3)) == []


def test_readers_lock_nobody_out(node: Node, services: Services) -> None:
    """Who may read the files of the services may lock them, and neither meter nor PV service takes notice."""
    names = time.strftime("Meter_0-%F.csv"), "progress.lock", "progress.json"
    (services.directory / names[0]).write_text(f"{HEADER}\n")
    (services.directory / names[1]).touch()
    with ExitStack() as stack:
        for name in names[:2]:
            held = stack.enter_context((services.directory / name).open())
            fcntl.flock(held, fcntl.LOCK_EX)
        services.meter(node, "--state-dir", ".")
        services.pv(node, "-ids", "Meter_0")
        assert gaps(services.wait_for_rows("Meter_0", 3)) == []
    second = services.meter(node, "--state-dir", ".")
    assert second.wait() == 1
    assert "Another process publishes these meters" in second.output


@pytest.mark.parametrize("name", ["progress.part", "progress.lock", "Meter_0-%F.csv"])
def test_links_are_not_followed(name: str, node: Node, services: Services) -> None:
    """A directory may be somebody else's, who has put links where files are to be written: what they name stays."""
    target = services.directory / "precious"
    target.write_text("{}")
    theirs = services.directory / "theirs"
    theirs.mkdir()
    for each in {time.strftime(name, time.localtime(time.time() + ahead_s)) for ahead_s in (0, 86_400)}:
        theirs.joinpath(each).symlink_to(target)
    meter = services.meter(node, "--state-dir", "theirs")
    pv = services.pv(node, "-ids", "Meter_0", "--output-dir", "theirs")
    wait_until(lambda: "Cannot" in meter.output + pv.output, 20, "a sentence")
    assert "link" in meter.output + pv.output
    assert target.read_text() == "{}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for a few hundred rows."""
    require("mount")
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_full_disk(node: Node, services: Services, small_disk: Path) -> None:
    """A full disk: nothing is lost, no half row, the status says it, and work goes on when there is room."""
    services.meter(node, "-nb", "2", "--interval", "0.02")
    pv = services.pv(node, "-ids", "Meter_0..1", "--output-dir", str(small_disk))
    wait_until(lambda: "No space left" in pv.output, 40, "the disk to be full")
    time.sleep(2)
    for path in small_disk.glob("*.csv"):
        assert path.read_text().endswith("\n")
    count = len(services.times("Meter_0", "small"))
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    wait_until(lambda: len(services.times("Meter_0", "small")) > count + 200, 40, "rows again")
    assert pv.stop() == 0
    for meter_id in ("Meter_0", "Meter_1"):
        assert gaps(services.times(meter_id, "small"), 0.02) == []
    assert pv.output.count("No space left") <= 4


@pytest.fixture
def backlog(node: Node, services: Services) -> int:
    """So many messages of Meter_0, a reading each, wait in its queue."""
    (services.directory / "simulation.ini").write_text("[meter]\nbatch = 1\ninterval = 0.002\n")
    meter = services.meter(node)
    wait_until(lambda: held(node, "Meter_0") >= 1500, 60, "a backlog")
    assert meter.stop() == 0
    return held(node, "Meter_0")


def test_order_over_a_full_disk(node: Node, services: Services, small_disk: Path, backlog: int) -> None:
    """What is delivered while a meter waits for room goes back to its place: the rows are in order."""
    pv = services.pv(node, "-ids", "Meter_0", "--output-dir", str(small_disk))
    wait_until(lambda: "No space left" in pv.output, 40, "the disk to be full")
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    assert gaps(services.wait_for_rows("Meter_0", backlog, timeout=60, directory="small"), 0.002) == []


def test_stopped_in_a_stream(node: Node, services: Services) -> None:
    """Told to stop with much still coming, it stops well, and the next one goes on without a gap."""
    services.meter(node, "-nb", "4", "--interval", "0.001")
    for more in (100, 2_000, 2_000):
        count = len(services.times("Meter_3"))
        pv = services.pv(node, "-ids", "Meter_0..3")
        services.wait_for_rows("Meter_3", count + more)
        assert pv.stop() == 0
        assert "Traceback" not in pv.output
    services.pv(node, "-ids", "Meter_0..3")
    assert gaps(services.wait_for_rows("Meter_3", len(services.times("Meter_3")) + 2_000), 0.001) == []


def test_read_only_disk(node: Node, services: Services, small_disk: Path) -> None:
    """A disk that turns read-only and back: the same."""
    services.meter(node, "--interval", "0.1")
    pv = services.pv(node, "-ids", "Meter_0", "--output-dir", str(small_disk))
    wait_until(lambda: len(services.times("Meter_0", "small")) > 3, 20, "rows")
    assert subprocess.run(["mount", "-o", "remount,ro", small_disk], check=False).returncode, "a writer keeps it busy"
    pv.kill()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    pv = services.pv(node, "-ids", "Meter_0", "--output-dir", str(small_disk))
    wait_until(lambda: "Read-only file system" in pv.output, 10, "a sentence")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    count = len(services.times("Meter_0", "small"))
    wait_until(lambda: len(services.times("Meter_0", "small")) > count + 20, 20, "rows again")
    assert gaps(services.times("Meter_0", "small"), 0.1) == []


def test_suspended_meter(node: Node, services: Services) -> None:
    """A meter that is frozen makes up for the time when it goes on."""
    meter = services.meter(node)
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 2)
    meter.process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    meter.process.send_signal(signal.SIGCONT)
    assert gaps(services.wait_for_rows("Meter_0", 9)) == []


def test_broker_hangs(own_node: Node, services: Services) -> None:
    """A broker that answers nothing for longer than the heartbeat allows: no gap, nothing twice."""
    conf = "heartbeat = 2\n"
    meter = services.meter(own_node, conf=conf)
    pv = services.pv(own_node, "-ids", "Meter_0", conf=conf)
    services.wait_for_rows("Meter_0", 2)
    own_node.pause()
    wait_until(lambda: "did not answer" in meter.output and "did not answer" in pv.output, 30, "both to notice")
    own_node.resume()
    count = len(services.times("Meter_0"))
    assert gaps(services.wait_for_rows("Meter_0", count + 12, timeout=60)) == []


def test_clock_steps(node: Node, services: Services) -> None:
    """A clock that is set an hour forward and back again: each instant once, none missing."""
    clock = services.directory / "clock"
    set_clock(clock, 0)
    meter = services.meter(node, env=faked_clock(clock))
    services.pv(node, "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 2)
    set_clock(clock, 3600)
    instants = services.wait_for_rows("Meter_0", 3600)
    assert gaps(instants) == []
    set_clock(clock, 0)
    time.sleep(3)
    ahead = services.times("Meter_0")
    set_clock(clock, 3610)
    instants = services.wait_for_rows("Meter_0", len(ahead) + 3)
    assert gaps(instants) == []
    assert meter.is_running


def set_clock(path: Path, ahead_s: int) -> None:
    """Set the clock of a service so far ahead of ours, or behind."""
    part = path.with_suffix(".part")
    part.write_text(f"{ahead_s:+}s\n")
    part.replace(path)


def faked_clock(path: Path) -> dict[str, str]:
    """The environment of a process whose clock is what `set_clock` says, at any moment."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    assert found, "libfaketime is not installed; run: apt install faketime"
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(path),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_standby(node: Node, services: Services) -> None:
    """A second PV service waits, and takes over when the first is killed; no reading is lost."""
    services.meter(node, "--interval", "0.1")
    for name in ("one", "two"):
        (services.directory / name).mkdir()
    first = services.pv(node, "-ids", "Meter_0", "--output-dir", "one")
    wait_until(lambda: services.times("Meter_0", "one"), 10, "rows of the first")
    second = services.pv(node, "-ids", "Meter_0", "--output-dir", "two")
    wait_until(lambda: "waiting to take over" in second.output, 10, "the second to wait")
    time.sleep(2)
    assert services.times("Meter_0", "two") == []
    first.kill()
    wait_until(lambda: services.times("Meter_0", "two"), 10, "rows of the second")
    assert "Takes over Meter_0" in second.output
    time.sleep(1)
    both = {*services.times("Meter_0", "one"), *services.times("Meter_0", "two")}
    assert gaps(sorted(both), 0.1) == []
    services.verify("--interval", "0.1", files="one/*.csv two/*.csv")


def test_stopped_with_another_on_standby(node: Node, services: Services) -> None:
    """What the first had not read when it was told to stop comes to the second before all that is later."""
    services.meter(node, "--interval", "0.005")
    for name in ("one", "two"):
        (services.directory / name).mkdir()
    first = services.pv(node, "-ids", "Meter_0", "--output-dir", "one")
    wait_until(lambda: services.times("Meter_0", "one"), 10, "rows of the first")
    second = services.pv(node, "-ids", "Meter_0", "--output-dir", "two")
    wait_until(lambda: "waiting to take over" in second.output, 10, "the second to wait")
    first.process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    first.process.send_signal(signal.SIGTERM)
    first.process.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    wait_until(lambda: len(services.times("Meter_0", "two")) > 200, 20, "rows of the second")
    assert gaps(services.times("Meter_0", "two"), 0.005) == []
    assert gaps(sorted({*services.times("Meter_0", "one"), *services.times("Meter_0", "two")}), 0.005) == []


def test_broker_forgets(own_node: Node, services: Services) -> None:
    """A broker that comes back without what it confirmed in its last seconds: the meter sends that again."""
    meter = services.meter(own_node)
    wait_for_queue(own_node, "Meter_0")
    time.sleep(2)
    own_node.kill()
    data, earlier = own_node.directory / "data", own_node.directory / "earlier"
    shutil.copytree(data, earlier)
    own_node.start()
    wait_until(lambda: meter.output.count("Connected") == 2, 20, "the meter to be back")
    time.sleep(3)
    own_node.kill()
    shutil.rmtree(data)
    earlier.rename(data)
    own_node.start()
    services.pv(own_node, "-ids", "Meter_0")
    wait_until(lambda: services.times("Meter_0")[-1:] > [time.time() - 2], 30, "the row of now")
    assert gaps(sorted(services.times("Meter_0"))) == []


def test_standby_in_the_same_directory(node: Node, services: Services) -> None:
    """Whoever loses its connection lets go of its files, so that the other PV service can take over."""
    shell.ctl(node, "add_user", "first", "secret")
    shell.ctl(node, "set_permissions", "first", ".*", ".*", ".*")
    first = services.pv(node, "-ids", "Meter_0", conf="username = first\npassword = secret\n")
    wait_until(lambda: "Connected" in first.output, 10, "a connection")
    services.meter(node, "--interval", "0.1")
    services.wait_for_rows("Meter_0", 3)
    connection = shell.ctl(node, "list_connections", "user", "pid").split("first")[1].split()[0]
    second = services.pv(node, "-ids", "Meter_0")
    wait_until(lambda: "waiting to take over" in second.output, 10, "the second to wait")
    shell.ctl(node, "change_password", "first", "another")
    shell.ctl(node, "close_connection", connection, "test")
    wait_until(lambda: "Refused login" in first.output, 10, "the first to be refused")
    count = len(services.times("Meter_0"))
    assert gaps(services.wait_for_rows("Meter_0", count + 20, timeout=10), 0.1) == []
    assert "Takes over Meter_0" in second.output
    assert first.is_running


def test_back_off(services: Services) -> None:
    """A broker that hangs up on everybody is tried again and again, less and less often, with one line in the log."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        conf = f"[broker]\nhost = 127.0.0.1\nport = {server.getsockname()[1]}\n"
        (services.directory / "hangs_up.ini").write_text(conf)
        meter = services.start("pvsim.meter", "-conf", "hangs_up.ini")
        tries: list[float] = []
        while not tries or time.monotonic() < tries[0] + 8:
            with suppress(TimeoutError):
                server.accept()[0].close()
                tries.append(time.monotonic())
    waits = [b - a for a, b in pairwise(tries)]
    assert 3 <= len(waits) <= 12
    assert waits[-1] > 2 * waits[0]
    assert meter.output.count("\n") == 2, meter.output
    assert meter.stop() == 0


CALL = re.compile(r"(?:\d+ +)?(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>\d+)")


def traced(node: Node, services: Services, module: str, *arguments: str) -> tuple[Service, Path]:
    """A service of a node under strace, and the file where its system calls come to stand."""
    require("trace")
    trace = services.directory / "trace"
    (services.directory / "traced.ini").write_text(f"[broker]\nhost = {node.host}\nport = {node.port}\n")
    calls = "trace=write,sendto,fsync,fdatasync,rename"
    before = ("strace", "-f", "-y", "-s", "20000", "-e", calls, "-e", "signal=none", "-o", str(trace))
    return services.start(module, "-conf", "traced.ini", *arguments, before=before), trace


def calls(trace: Path) -> list[tuple[str, str]]:
    """Names and arguments of the system calls that succeeded, in their order."""
    return [(match["name"], match["arguments"]) for match in map(CALL.match, trace.read_text().splitlines()) if match]


def test_durable_before_acknowledged(node: Node, services: Services) -> None:
    """What a power cut would show: no acknowledgement leaves before the rows, and a new file's name, are synced."""
    services.meter(node, "--interval", "0.1")
    pv, trace = traced(node, services, "pvsim.pv", "-ids", "Meter_0")
    services.wait_for_rows("Meter_0", 80)  # the first twenty come in one message
    pv.kill()
    unsynced: set[str] = set()
    acknowledgements = 0
    for name, arguments in calls(trace):
        path = arguments.partition("<")[2].partition(">")[0]
        if name == "write" and path.endswith(".csv"):
            unsynced |= {path, str(services.directory)} if HEADER in arguments else {path}
        elif name in ("fsync", "fdatasync"):
            unsynced.discard(path)
        elif name == "sendto" and r"\0<\0P" in arguments:  # AMQP 0-9-1: class 60, method 80, which is basic.ack
            assert not unsynced
            acknowledgements += 1
    assert acknowledgements > 5


def test_durable_progress(node: Node, services: Services) -> None:
    """What a power cut would show: the progress is synced before it gets its name, and its name after that."""
    meter, trace = traced(node, services, "pvsim.meter", "--state-dir", ".")
    wait_until(lambda: trace.exists() and sum(name == "rename" for name, _ in calls(trace)) > 1, 20, "saved progress")
    meter.kill()
    order = [
        (name, Path(arguments.partition("<")[2].partition(">")[0]).name)
        for name, arguments in calls(trace)
        if name in ("fsync", "rename")
    ]
    step = [("fsync", "progress.part"), ("rename", ""), ("fsync", services.directory.name)]
    assert order[:6] == 2 * step
