"""Meter and PV service as one writes them at first, to compare with. They share no code with pvsim.

    baseline.py publish|consume first|plain HOST PORT QUEUE COUNT [INTERVAL]

first: a blocking connection, the queue declared before each message, no confirms, automatic acknowledgement, a
csv.DictWriter that is flushed after each row. plain: pvsim's guarantees, one message at a time: each is confirmed
before the next is sent, each row is synced before its message is acknowledged. With an INTERVAL, readings are sent in
real time. The consumer prints a JSON object: seconds until the last row, and how old the rows' readings were.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika

FIELDS = ["meter_id", "time_s", "meter_power_value_w", "pv_power_value_kw", "sum_meter_pv_w"]


def declare(channel: Any, way: str, queue: str) -> None:
    arguments = {"x-queue-type": "quorum"} if way == "plain" else None
    channel.queue_declare(queue, durable=way == "plain", arguments=arguments)


def reading(queue: str, time_s: float) -> bytes:
    return json.dumps({"meter_id": queue, "value": random.uniform(0, 9000), "time_s": time_s}).encode()


def publish(channel: Any, way: str, queue: str, count: int, interval_s: float) -> None:
    """Send `count` readings, in real time or as fast as it goes."""
    declare(channel, way, queue)
    if way == "plain":
        channel.confirm_delivery()
    start_s = time.time() // 1 + 1
    for number in range(count):
        time_s = start_s + number * interval_s
        time.sleep(max(0.0, time_s - time.time()) if interval_s else 0.0)
        if way == "first":
            declare(channel, way, queue)
            channel.basic_publish("", queue, reading(queue, time_s))
        else:
            channel.basic_publish("", queue, reading(queue, time_s), pika.BasicProperties(delivery_mode=2), True)


def consume(channel: Any, way: str, queue: str, count: int, _interval_s: float) -> None:
    """Write `count` rows."""
    declare(channel, way, queue)
    if way == "plain":
        channel.basic_qos(prefetch_count=64)
    ages_s: list[float] = []
    with Path(f"{queue}.csv").open("w") as file:
        channel.basic_consume(queue, writer(file, way, ages_s, count), auto_ack=way == "first")
        began = time.monotonic()
        channel.start_consuming()
    ages_s.sort()
    took = {"seconds": time.monotonic() - began, "median_s": ages_s[count // 2], "p99_s": ages_s[count * 99 // 100]}
    print(json.dumps(took))


def writer(file: Any, way: str, ages_s: list[float], count: int) -> Callable[..., None]:
    rows = csv.DictWriter(file, FIELDS)
    rows.writeheader()

    def on_message(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        message = json.loads(body)
        pv_kw = random.uniform(0, 4)
        values = [message["meter_id"], message["time_s"], message["value"], pv_kw, message["value"] + 1000 * pv_kw]
        rows.writerow(dict(zip(FIELDS, values, strict=True)))
        file.flush()
        if way == "plain":
            os.fsync(file.fileno())
            channel.basic_ack(method.delivery_tag)
        ages_s.append(time.time() - message["time_s"])
        if len(ages_s) == count:
            channel.stop_consuming()

    return on_message


def main() -> None:
    """The command."""
    role, way, host, port, queue, count, *interval = sys.argv[1:]
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
    work = {"publish": publish, "consume": consume}[role]
    work(connection.channel(), way, queue, int(count), float(*interval or ["0"]))
    connection.close()


if __name__ == "__main__":
    main()
