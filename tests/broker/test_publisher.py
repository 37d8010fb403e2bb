"""A publisher that may write to one exchange, and is not to be trusted: it can do no more than waste its own time."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika
import pika.exceptions
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pvsim.errors import NotAReading
from pvsim.ids import REJECTED
from pvsim.reading import MAX_DAYS, decode
from pvsim.tools.node import Node
from tests.broker.client import PERSISTENT, Client, connected, publish
from tests.broker.conftest import Service, Services, held, wait_for_queue, wait_until, wait_until_acknowledged

MESSAGES = int(os.environ.get("PVSIM_MESSAGES", "300"))
START_S = 1_750_000_000
EXCHANGE, KEY = "amq.direct", "to M"


def reading(number: int, meter_id: str = "M") -> bytes:
    """The body of a good message."""
    return json.dumps({"meter_id": meter_id, "value": 1.5, "time_s": START_S + number}).encode()


class Publisher:
    """Publishes to the exchange alone, and knows that the broker has taken it."""

    def __init__(self, connection: Any) -> None:
        self._channel = connection.channel()
        self._channel.confirm_delivery()

    def publish(self, body: bytes, properties: Any = PERSISTENT) -> None:
        """One message."""
        publish(self._channel, EXCHANGE, KEY, body, properties)

    def bind(self) -> None:
        """What an administrator has done for it."""
        self._channel.queue_bind("M", EXCHANGE, KEY)


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    """Somebody who may do everything."""
    with connected(node) as client:
        yield client


@pytest.fixture
def publisher(node: Node) -> Iterator[Publisher]:
    """Who is not to be trusted."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(node.host, node.port, heartbeat=0))
    try:
        yield Publisher(connection)
    finally:
        connection.close()


def start(node: Node, services: Services, publisher: Publisher, *ids: str) -> Service:
    """A PV service of M, and perhaps of others, in the directory `files`."""
    (services.directory / "files").mkdir(exist_ok=True)
    pv = services.pv(node, "-ids", "M", *ids, "--output-dir", "files")
    for queue in "M", *ids:
        wait_for_queue(node, queue)
    publisher.bind()
    return pv


def wait_for_set_aside(node: Node, count: int, timeout: float = 40) -> None:
    """Wait until so many messages are set aside."""
    wait_until(lambda: held(node, REJECTED) >= count, timeout, f"{count} messages to be set aside")


def check_end(node: Node, pv: Service) -> None:
    """The service has run all the time, and stops well; nothing is left in its queue."""
    wait_until_acknowledged(node, "M")
    assert pv.is_running
    assert pv.stop() == 0
    assert "Traceback" not in pv.output


def test_many_days(node: Node, services: Services, publisher: Publisher) -> None:
    """A body with a reading of each of 79,380 days makes no files, and another meter's rows come in time meanwhile."""
    pv = start(node, services, publisher, "Beside")
    meter = services.meter(node, "-ids", "Beside")
    services.wait_for_rows("Beside", 2, directory="files")
    line = '{"meter_id": "M", "value": 1.0, "time_s": %d}'
    with Lateness(services, "Beside") as lateness:
        for _ in range(5):
            publisher.publish("\n".join(line % (86_400 * day) for day in range(79_380)).encode())
        publisher.publish("\n".join(line % (86_400 * day) for day in range(MAX_DAYS)).encode())
        wait_for_set_aside(node, 5)
        services.wait_for_rows("M", MAX_DAYS, directory="files")
        time.sleep(1)
    assert len(list((services.directory / "files").glob("M-*.csv"))) == MAX_DAYS
    assert lateness.most_s < 3
    assert meter.is_running
    check_end(node, pv)


def test_window_of_time(node: Node, services: Services, publisher: Publisher, client: Client) -> None:
    """With time_window, a time too far from now is set aside with the reason; without it, any time has its row."""
    (services.directory / "simulation.ini").write_text("[pv]\ntime_window = 3600\n[pv Free]\ntime_window =\n")
    pv = start(node, services, publisher, "Free")
    now = int(time.time()) - START_S
    for number in now - 3700, now - 3500, now + 3500, now + 3700, 0:
        publisher.publish(reading(number))
        client.publish(reading(number, "Free"), key="Free")
    services.wait_for_rows("Free", 5, directory="files")
    wait_for_set_aside(node, 3)
    assert services.times("M", "files") == [START_S + now - 3500, START_S + now + 3500]
    for properties, body in client.take(REJECTED, 3):
        time_s = json.loads(body)["time_s"]
        assert properties.headers["x-pvsim-reason"] == f"time_s {time_s} is more than 3600 s from now, the time_window"
    check_end(node, pv)


# What AMQP 0-9-1 has


class Lateness:
    """Watches, for `with`, how old the newest row of a meter with a reading a second ever is: `most_s`."""

    def __init__(self, services: Services, meter_id: str) -> None:
        self.most_s = 0.0
        self._path = services.directory / "files"
        self._meter_id = meter_id
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.1):
            with suppress(IndexError, ValueError):  # at midnight
                *_, last, _ = max(self._path.glob(f"{self._meter_id}-*.csv")).read_text().split("\n")
                self.most_s = max(self.most_s, time.time() - float(last.split(",")[1]))


NAMES = st.sampled_from(["x-delay", "x-death", "x-match", "x-pvsim-queue", "x-pvsim-properties", "x-stream-offset"])
SHORT = st.text(max_size=60)
OTHERS = SHORT.filter(lambda name: name not in ("CC", "BCC"))  # RabbitMQ refuses those with anything but a list
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=200)
    | st.binary(max_size=200)
    | st.decimals(-(10**6), 10**6, places=2)
    | st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SHORT, inner, max_size=4), max_leaves=12
)
QUEUES = st.lists(st.sampled_from(["Beside", "M", REJECTED, "amq.direct", ""]), max_size=5)
HEADERS = st.dictionaries(NAMES | OTHERS, VALUES, max_size=5) | st.builds(
    lambda headers, queues: {**headers, "CC": queues}, st.dictionaries(OTHERS, VALUES, max_size=2), QUEUES
)
PROPERTIES = st.builds(
    pika.BasicProperties,
    content_type=st.none() | SHORT,
    content_encoding=st.none() | SHORT,
    headers=st.none() | HEADERS,
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=st.none() | st.integers(0, 255),
    correlation_id=st.none() | SHORT,
    reply_to=st.none() | SHORT,
    expiration=st.sampled_from([None, "600000"]),
    message_id=st.none() | SHORT,
    timestamp=st.none() | st.integers(0, 2**63),
    type=st.none() | SHORT,
    user_id=st.sampled_from([None, "guest"]),
    app_id=st.none() | SHORT,
    cluster_id=st.none() | SHORT,
)
_OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "meter_id": st.sampled_from(["M", "Beside", REJECTED, "../M", "M\n", ""]),
        "value": st.integers() | st.floats() | st.text(max_size=5),
        "time_s": st.integers(START_S, START_S + 300_000) | st.floats() | st.integers(),
        "more": VALUES.map(repr),
    },
)
_GOOD = st.builds(reading, st.integers(0, 300_000))
_FILL, _SIZES = st.sampled_from([b" ", b"x"]), st.integers(0, 300_000)
BODIES = (
    st.binary(max_size=2_000)
    | st.lists(_OBJECTS, max_size=5).map(lambda each: "\n".join(map(json.dumps, each)).encode())
    | st.lists(_GOOD, min_size=1, max_size=20).map(b"\n".join)
    | st.builds(
        lambda start, byte, size: start + byte * size, _GOOD, st.binary(min_size=1, max_size=1), st.integers(0, 300_000)
    )
    | st.builds(reading, st.integers(0, 9), st.just("Beside"))
)


def test_fuzzing_publisher(node: Node, services: Services, publisher: Publisher, client: Client) -> None:
    """All properties, headers and bodies: rows of its own meter or set aside, each message; nobody else notices."""
    pv = start(node, services, publisher, "Beside")
    meter = services.meter(node, "-ids", "Beside")
    services.wait_for_rows("Beside", 3, directory="files")
    rubbish: Counter[bytes] = Counter()
    rows: set[tuple[Decimal, Decimal]] = set()
    settled_kib = pv.memory_kib("VmHWM")

    @settings(
        max_examples=MESSAGES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(BODIES, PROPERTIES)
    def send(body: bytes, properties: Any) -> None:
        with suppress(pika.exceptions.UnroutableError):
            publisher.publish(body, properties)
        try:
            rows.update((Decimal(each.time_ns).scaleb(-9), each.power_w) for each in decode(body, "M"))
        except NotAReading:
            rubbish[body] += 1

    with Lateness(services, "Beside") as lateness:
        send()
        wait_until_acknowledged(node, "M")
    assert lateness.most_s < 3  # a reading each second, and 2 s
    assert held(node, REJECTED) == rubbish.total()
    assert client.bodies(REJECTED) == rubbish
    assert {(Decimal(row[1]), Decimal(row[2])) for row in services.rows("M", "files")} == rows
    assert pv.memory_kib("VmHWM") < settled_kib + 40 * 1024
    meter.stop()
    check_end(node, pv)
    assert services.verify(files="files/Beside-*.csv")["rows"] >= 3
    assert {path.name.rsplit("-", 3)[0] for path in (services.directory / "files").iterdir()} == {"M", "Beside"}
