"""A real RabbitMQ, real services beside it, and Debian's amqp-tools as a client that shares no code with us."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pvsim.errors import PvsimError
from pvsim.tools.nest import Nest, kill
from pvsim.tools.node import Node
from pvsim.tools.verify.report import KINDS
from tests.broker import shell
from tests.broker.certificates import Authority
from tests.broker.told import Told

CHECKOUT = Path(__file__).parents[2]
LOGINS = "auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\nssl_cert_login_from = common_name\n"
PATIENCE = 4  # times as long as on a quiet machine, for one that is busy with something else
T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """The first true answer of `predicate`; fails, saying `what` did not happen, after `timeout` seconds or more.

    `timeout` is what a quiet machine takes at most. A test that is about a time measures it.
    """
    deadline = time.monotonic() + PATIENCE * timeout
    while not (answer := predicate()):
        assert time.monotonic() < deadline, f"not within {PATIENCE * timeout} s: {what}"
        time.sleep(0.1)
    return answer


def held(node: Node, queue: str) -> int:
    """How many messages a queue holds, those that are delivered and not acknowledged too; 0 if there is none.

    Exact, and so not to be had before the queue has a leader: a little after the start of a node.
    """
    counts: list[int] = []

    def is_counted() -> bool:
        with suppress(PvsimError):
            counts.append(shell.held(node, queue))
        return bool(counts)

    wait_until(is_counted, 60, f"a leader of the queue {queue}")
    return counts[0]


def wait_for_queue(node: Node, queue: str, timeout: float = 10) -> None:
    """Wait until there is such a queue."""
    wait_until(lambda: queue in shell.queues(node), timeout, f"the queue {queue}")


def wait_until_acknowledged(node: Node, *queues: str) -> None:
    """Wait until these hold nothing, not even what is delivered."""
    wait_until(lambda: not any(held(node, queue) for queue in queues), 60, "all to be acknowledged")


def processes_of(directory: Path) -> dict[int, str]:
    """The processes whose environment or command line names a directory, with their command lines."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is somebody else's
            command = (process / "cmdline").read_bytes()
            if str(directory).encode() in command + (process / "environ").read_bytes():
                found[int(process.name)] = command.decode("utf-8", "replace").replace("\0", " ")
    return found


class Service:
    """A service that was started as a user starts it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.started = time.time()

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """What it has printed, on stderr for the most part."""
        return self.log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 10) -> int:
        """Send a signal, and wait for the end; returns the exit status."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 10) -> int:
        """Wait until it has ended; returns the exit status."""
        wait_until(
            lambda: not self.is_running, timeout, f"the end of {self.process.args!r}, which said:\n{self.output}"
        )
        return self.process.wait()

    def memory_kib(self, key: str = "VmRSS") -> int:
        """VmRSS (what it has in memory now) or VmHWM (the most that it ever had)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"^{key}:\s+(\d+) kB$", status, re.MULTILINE)
        assert match
        return int(match[1])

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        kill(self.process)


class Services:
    """Starts services from the checkout, in a directory where they find their broker.ini and write their day files."""

    def __init__(self, nest: Nest, directory: Path) -> None:
        self.directory = directory
        self._nest = nest
        self._started: list[Service] = []

    def meter(self, node: Node, *arguments: str, conf: str = "", env: Mapping[str, str] | None = None) -> Service:
        """`pvsim-meter -conf broker.ini ARGUMENTS`; `conf`: further lines of broker.ini."""
        return self.start("pvsim.meter", *self._configure(node, conf), *arguments, env=env)

    def pv(
        self,
        node: Node,
        *arguments: str,
        conf: str = "",
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Service:
        """`pvsim-pv -conf broker.ini ARGUMENTS`; `conf`: further lines of broker.ini."""
        return self.start("pvsim.pv", *self._configure(node, conf), *arguments, before=before, env=env)

    def start(
        self, module: str, *arguments: str, before: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> Service:
        """Any command of ours, run as it is; `before`: a command that runs it."""
        log = self.directory / f"{module}-{len(self._started)}.log"
        command = [*before, sys.executable, "-m", module, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **(env or {})}
        self._started.append(Service(self._nest.spawn(command, environment, log, self.directory), log))
        return self._started[-1]

    def verify(self, *options: str, files: str = "*-????-??-??.csv", timeout: float = 120) -> dict[str, Any]:
        """What `pvsim verify` finds in day files of which it has nothing bad to say, in total."""
        found = self.examine(*options, files=files, timeout=timeout)
        wrong = {kind: found["total"][kind] for kind in KINDS if found["total"][kind]}
        bad = [(each["meter_id"], each["gaps"][:3], each["problems"][:3]) for each in found["files"]]
        assert not wrong, f"{wrong}: {[each for each in bad if each[1] or each[2]]}"
        assert found["status"] == 0
        total: dict[str, Any] = found["total"]
        return total

    def examine(self, *options: str, files: str = "*-????-??-??.csv", timeout: float = 120) -> dict[str, Any]:
        """What `pvsim verify` finds in the files of these patterns, and its exit `status`."""
        names = [str(path) for pattern in files.split() for path in sorted(self.directory.glob(pattern))]
        tool = self.start("pvsim.tools", "verify", "--json", *options, *names)
        status = tool.wait(timeout)
        assert status in (0, 1), tool.output[-2000:]
        found: dict[str, Any] = {**json.loads(tool.output), "status": status}
        return found

    def all_output(self) -> str:
        """What all of them have printed."""
        return "".join(service.output for service in self._started)

    def last_words(self) -> str:
        """The end of what each of them has printed."""
        return "\n".join(f"-- {service.log.name}\n{service.output[-3000:]}" for service in self._started)

    def _configure(self, node: Node, conf: str) -> tuple[str, str]:
        broker_ini = f"[broker]\nhost = {node.host}\nport = {node.port}\n{conf}"
        (self.directory / "broker.ini").write_text(broker_ini)
        return "-conf", "broker.ini"

    def rows(self, meter_id: str, directory: str = ".") -> list[list[str]]:
        """The whole rows of a meter's day files in a directory below ours, each split into its columns."""
        found = []
        for path in sorted((self.directory / directory).glob(f"{meter_id}-????-??-??.csv")):
            *lines, _ = path.read_text().split("\n")
            found += [line.split(",") for line in lines[1:]]
        return found

    def times(self, meter_id: str, directory: str = ".") -> list[float]:
        """The instants of these rows, in the order of the file."""
        return [float(row[1]) for row in self.rows(meter_id, directory)]

    def wait_for_rows(self, meter_id: str, count: int, timeout: float = 30, directory: str = ".") -> list[float]:
        """The instants of a meter's rows, once there are so many."""
        what = f"{count} rows of {meter_id}"
        wait_until(lambda: len(self.times(meter_id, directory)) >= count, timeout, what)
        return self.times(meter_id, directory)


class Amqp:
    """Debian's amqp-tools against a node."""

    def __init__(self, node: Node, timeout: float = 20) -> None:
        assert shutil.which("amqp-get"), "amqp-tools are not installed; run: apt install amqp-tools"
        self._url = f"amqp://guest:guest@{node.host}:{node.port}"
        self._timeout = timeout

    def declare(self, queue: str, durable: bool = True) -> None:
        """Declare a classic queue."""
        self._run("amqp-declare-queue", "-q", queue, *(["-d"] if durable else []))

    def publish(self, queue: str, body: bytes, *, content_type: str = "application/json") -> None:
        """Publish a persistent message to a queue, without waiting for a confirm."""
        self._run("amqp-publish", "-p", "-C", content_type, "-r", queue, body=body)

    def get(self, queue: str) -> bytes | None:
        """The body of the first message, which is taken; None if there is none."""
        done = self._run("amqp-get", "-q", queue, ok=2)
        return None if done.returncode else done.stdout

    def consume(self, queue: str) -> bytes:
        """The body of the first message, as a consumer: RabbitMQ refuses basic.get on quorum queues like ours (405)."""
        return self._run("amqp-consume", "-q", queue, "-c", "1", "cat").stdout

    def _run(self, tool: str, *arguments: str, body: bytes = b"", ok: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [tool, "-u", self._url, *arguments], input=body, capture_output=True, timeout=self._timeout
        )
        assert done.returncode in (0, ok), f"{done.args}: {done.stderr.decode()}"
        return done


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what takes longest begin first, so that no processor is idle in the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who has signed the certificate of `node`."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def shared_node(authority: Authority) -> Iterator[Node]:
    """A running node for all tests of a worker, with whatever they left on it. It speaks TLS, too."""
    tls = authority.furnish(authority.directory / "tls", ["localhost"])
    with Node(tls=tls, plugins=["rabbitmq_auth_mechanism_ssl"], conf=LOGINS) as node:
        yield node


@pytest.fixture
def node(shared_node: Node) -> Node:
    """A running node without queues, not to be stopped."""
    shell.await_quiet(shared_node)
    shell.delete_queues(shared_node)
    return shared_node


@pytest.fixture(scope="session")
def breakable_node() -> Iterator[Node]:
    """A node for all tests of a worker that break it."""
    with Node() as node:
        yield node


@pytest.fixture
def own_node(breakable_node: Node) -> Node:
    """A running node, as new, for this test alone, which may do with it what it likes, but for its configuration."""
    shell.make_new(breakable_node)
    return breakable_node


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Starts services in `tmp_path`."""
    with Nest("pvsim-tests-") as nest:
        started = Services(nest, tmp_path)
        yield started
        print(started.last_words())  # which pytest shows if the test has failed


@pytest.fixture
def told(services: Services) -> Iterator[Told]:
    """Hears what services say that are started with `env=at(told)`."""
    told = Told(services.directory)
    yield told
    told.close()


@pytest.fixture
def amqp(node: Node) -> Amqp:
    """Debian's amqp-tools against `node`; for another one: `Amqp(own_node)`."""
    return Amqp(node)
