"""How fast pvsim is: one table, with each target, and what the same work takes in two plainer ways.

    sh tests/run.sh bench [--json] [--long] [PART ...]

Everything is real: a RabbitMQ node of its own with durable queues, the services as processes, every confirm and every
fsync. After each run `pvsim verify` has to find every row, or the bench ends with status 1. Parts are the functions
below that return results; --long has those runs that take many minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pvsim.dayfile import DayFile, DayFiles
from pvsim.models import load, solar
from pvsim.reading import block
from pvsim.row import format_block
from pvsim.tools.nest import Nest
from pvsim.tools.node import Node
from tests.bench.measure import Usage, ready_seconds, usage
from tests.bench.timed_pv import STATE
from tests.broker.conftest import Service, Services, wait_until

HERE = Path(__file__).parent
START_S = 1_767_225_600  # 2026-01-01T00:00:00Z
MONTH_S = 31 * 86_400
FULL_S = 20 * 3_600
LONGEST_S = 1_800.0
MOST_ONE_BY_ONE = 5_000  # meters at a reading a second, of which RabbitMQ on two cores takes each by itself
# As many files as Debian's unit of RabbitMQ allows: 3.10 counts three for each queue, and opens few of them.
NODE = "[{rabbit, [{file_handles_high_watermark, 65536}]}]."
# What README recommends. Every 512 MB, RabbitMQ moves its log into a file of each queue, and begins by reading that
# file's table of contents: of 4,096 entries, unless told otherwise.
SMALL_SEGMENTS = "raft.segment_max_entries = 512"


class Result(NamedTuple):
    """A line of the table. `first`, `plain`: the figure of a baseline. `sign`: 1 if more is better, -1 if less is."""

    what: str
    figure: float
    unit: str
    sign: int
    target: float | None = None
    first: float | None = None
    plain: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the figure reaches its target, None without one."""
        return None if self.target is None else self.sign * self.figure >= self.sign * self.target

    def ratio(self, baseline: float | None) -> float | None:
        """How many times better than a baseline."""
        return None if not baseline else (self.figure / baseline) ** self.sign


class Live(NamedTuple):
    """The age of the rows of one live meter, s."""

    median_s: float
    p99_s: float


class Bench:
    """A node, and what the parts share."""

    def __init__(self, node: Node, nest: Nest, options: argparse.Namespace) -> None:
        self.node = node
        self.options = options
        self._nest = nest
        self._runs = 0
        self._rates: dict[str, float] = {}

    def on(self, node: Node) -> Bench:
        """The same on another node."""
        other = Bench(node, self._nest, self.options)
        other._runs = self._runs = self._runs + 1_000
        return other

    def services(self) -> Services:
        """For services in a new directory, on a node without queues."""
        self.node.ctl("eval", '[rabbit_amqqueue:delete(Q, false, false, <<"bench">>) || Q <- rabbit_amqqueue:list()].')
        self._runs += 1
        directory = self._nest.directory / f"run-{self._runs}"
        directory.mkdir()
        return Services(self._nest, directory)

    def rate(self, way: str) -> float:
        """Readings/s of a baseline, measured now: beside what is compared with it, so that a busy machine is fair."""
        say(f"baseline: {way}")
        self._rates[way] = 3_000 / self._baseline(way, 3_000)["seconds"]
        return self._rates[way]

    def last_rate(self, way: str) -> float:
        """The same as measured last."""
        return self._rates.get(way) or self.rate(way)

    def live(self, way: str) -> Live:
        """How old the rows of one live meter are with a baseline, measured now."""
        say(f"baseline: {way}, live")
        found = self._baseline(way, 100, "0.1")
        return Live(found["median_s"], found["p99_s"])

    def _baseline(self, way: str, count: int, *interval: str) -> dict[str, float]:
        services = self.services()
        arguments = [way, self.node.host, str(self.node.port), "Meter_0", str(count), *interval]
        consumer = services.start("tests.bench.baseline", "consume", *arguments)
        self.wait_for_consumers(1)
        services.start("tests.bench.baseline", "publish", *arguments)
        assert consumer.wait(120) == 0, consumer.output
        result: dict[str, float] = json.loads(consumer.output.splitlines()[-1])
        return result

    def wait_for_consumers(self, count: int) -> None:
        """Wait until so many queues are consumed."""

        def consumed() -> int:
            time.sleep(1)  # to ask costs a core
            return int(self.node.ctl("eval", "ets:info(consumer_created, size)."))

        wait_until(lambda: consumed() >= count, 600, f"{count} consumers")


class State(NamedTuple):
    """Durable rows, meters that have one of an instant after the start, and when the last became so, ns (epoch)."""

    rows: int
    meters: int
    time_ns: int


class Recording:
    """A PV service that records some meters, watched."""

    def __init__(self, bench: Bench, services: Services, ids: str, count: int, *options: str) -> None:
        self.services = services
        self._state = services.directory / "state"
        self._state.unlink(missing_ok=True)  # one before this one may have left it
        self.pv = services.start(
            "tests.bench.timed_pv",
            *services._configure(bench.node, ""),
            "-ids",
            ids,
            *options,
            env={"PVSIM_BENCH": str(self._state)},
        )
        if count:
            bench.wait_for_consumers(count)

    @property
    def state(self) -> State:
        """How far it is."""
        content = self._state.read_bytes()[: STATE.size] if self._state.exists() else b""
        return State(*STATE.unpack(content)) if len(content) == STATE.size else State(0, 0, 0)

    def wait_for(self, rows: int, meter: Service) -> None:
        """Wait for so many rows."""

        def is_done() -> bool:
            assert meter.is_running or meter.process.returncode == 0, meter.output
            return self.state.rows >= rows

        wait_until(is_done, LONGEST_S, f"{rows} rows")

    def wait_until_live(self, meters: int, began_s: float, interval_s: float = 1, linger: int = 0) -> None:
        """Wait until each meter has rows, and they are not late any more; in a fleet that is too large, they remain so.

        `began_s`: when the meters were started, s since the epoch.
        """
        latest_s = began_s + 60 + meters / 50

        def is_live() -> bool:
            state, now_s = self.state, time.time()
            due = meters * (now_s - began_s - 2 - linger) / interval_s
            return state.meters == meters and (state.rows >= due > 0 or now_s > latest_s)

        wait_until(is_live, LONGEST_S, "the end of the start")

    def ages(self) -> dict[int, Counter[int]]:
        """After its end: for each second, how many rows were durable how many µs after their reading's instant."""
        content = json.loads(self._state.read_bytes()[STATE.size :])
        return {
            int(second): Counter({int(us): count for us, count in ages.items()}) for second, ages in content.items()
        }

    def verify(self, *span: str) -> float:
        """`pvsim verify` of all files has nothing to say; returns the seconds that it took."""
        files = sorted(self.services.directory.glob("*-????-??-??.csv"))
        began, size = time.monotonic(), 2_000
        for at in range(0, len(files), size):
            tool = self.services.start("pvsim.tools", "verify", *span, *(each.name for each in files[at : at + size]))
            assert tool.wait(LONGEST_S) == 0, tool.output[-2_000:]
        return time.monotonic() - began


def say(text: str) -> None:
    """What goes on, for whoever waits."""
    print(f"… {text}", file=sys.stderr, flush=True)


def ids_of(count: int) -> str:
    return "Meter_0" if count == 1 else f"Meter_0..{count - 1}"


class Moment(NamedTuple):
    """How far it has come: durable rows, ns since the epoch, and what each process has used of the CPU."""

    rows: int
    time_ns: int
    cpu_s: dict[str, float]

    def seconds(self, end: Moment) -> float:
        """From this moment to another."""
        return (end.time_ns - self.time_ns) / 1e9

    def cpu_us(self, end: Moment) -> str:
        """What a reading costs from this moment to another, for people."""
        each = 1e6 / max(1, end.rows - self.rows)
        used = (f"{name} {(end.cpu_s[name] - cpu_s) * each:.1f}" for name, cpu_s in self.cpu_s.items())
        return "CPU µs a reading: " + ", ".join(used)


def publish(bench: Bench, recording: Recording, meters: int, start_s: int, readings: int) -> tuple[Moment, Moment]:
    """Let so many meters publish so many readings each; when the command was given, and the last row durable."""
    rows = recording.state.rows
    began = Moment(rows, time.time_ns(), _cpu_s(bench, recording))
    span = "--from", str(start_s), "--to", str(start_s + readings)
    meter = recording.services.meter(bench.node, "-ids", ids_of(meters), *span)
    recording.wait_for(rows + meters * readings, meter)
    assert meter.wait() == 0, meter.output
    state = recording.state
    return began, Moment(state.rows, state.time_ns, _cpu_s(bench, recording))


def run_history(bench: Bench, meters: int, readings: int) -> tuple[Moment, Moment, float]:
    """The same with a PV service of its own, and the seconds of `pvsim verify`."""
    recording = Recording(bench, bench.services(), ids_of(meters), meters)
    began, ended = publish(bench, recording, meters, START_S, readings)
    assert recording.pv.stop() == 0, recording.pv.output
    return began, ended, recording.verify("--from", str(START_S), "--to", str(START_S + readings))


def _cpu_s(bench: Bench, recording: Recording) -> dict[str, float]:
    """What each process has used; meters, once they are waited for, as this one's children."""
    assert bench.node._server
    pids = {"broker": bench.node._server.pid, "pv": recording.pv.process.pid}
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {name: usage(pid).cpu_s for name, pid in pids.items()} | {"meter": children.ru_utime + children.ru_stime}


def history(bench: Bench) -> Iterator[Result]:
    """The past of ten meters, as fast as it goes, and of one; three times, with the plain way before each."""
    for meters, readings in ((10, 200_000), (1, 2_000_000)):
        pairs = []
        for _ in range(3):
            plain = bench.rate("plain")
            say(f"history: {meters} meters, {readings:,} readings each")
            began, ended, _ = run_history(bench, meters, readings)
            pairs.append((meters * readings / began.seconds(ended), plain))
        rates = sorted(rate for rate, _ in pairs)
        note = f"{rates[0]:,.0f} … {rates[-1]:,.0f}; {began.cpu_us(ended)}"
        what = f"history of {meters} meter{'s' * (meters > 1)}"
        plains = statistics.median(plain for _, plain in pairs)
        yield Result(what, rates[1], "readings/s", 1, 500_000, bench.last_rate("first"), plains, note)
        yield Result(f"{what}, beside the plain way", _ratio(pairs), "×", 1, 700)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Of figures and those of what they are compared with, measured in turns: the ratio in the middle."""
    return statistics.median(figure / other for figure, other in pairs)


def month(bench: Bench) -> Iterator[Result]:
    """A month of one meter, from the command to the last durable row, and `pvsim verify` of it."""
    say("month: 2,678,400 readings")
    began, ended, verified_s = run_history(bench, 1, MONTH_S)
    first, plain = (MONTH_S / bench.last_rate(way) for way in ("first", "plain"))
    yield Result("a month of one meter", began.seconds(ended), "s", -1, None, first, plain, began.cpu_us(ended))
    yield Result("pvsim verify of it", MONTH_S / verified_s, "rows/s", 1, 600_000)


def growth(bench: Bench) -> Iterator[Result]:
    """More and more meters: from the command to a first row of each, in a new file; then the time per reading."""
    for meters in (1, 10, 100, 1_000, *([10_000] if bench.options.long else [])):
        readings = max(1_000, 1_000_000 // meters)  # so messages are full
        say(f"growth: {meters} meters, {readings:,} readings each")
        recording = Recording(bench, bench.services(), ids_of(meters), meters)
        what = f"{meters:,} meter{'s' * (meters > 1)}"
        began, ended = publish(bench, recording, meters, START_S - 1, 1)
        yield Result(f"{what}, command → a row of each", began.seconds(ended), "s", -1)
        began, ended = publish(bench, recording, meters, START_S, readings)
        us = began.seconds(ended) * 1e6 / (meters * readings)
        yield Result(
            f"{what}, {readings:,} readings each: a reading", us, "µs", -1, None, None, None, began.cpu_us(ended)
        )
        assert recording.pv.stop(timeout=60) == 0, recording.pv.output
        recording.verify("--from", str(START_S - 1), "--to", str(START_S + readings))


def rows(bench: Bench) -> Iterator[Result]:
    """Time to open a file that holds more and more rows, and per row that is appended by itself, without a sync."""
    say("rows")
    directory = bench.services().directory
    for count in (0, 1_000, 86_000):
        meter_id, day = f"Meter_{count}", date(2026, 1, 1)
        readings = block(range(START_S * 10**9, (START_S + count + 400) * 10**9, 10**9), [3_812_856] * (count + 400))
        lines = format_block(meter_id, readings, [1_234_567] * len(readings.times_ns))
        file = DayFile(directory, meter_id, day)
        file.append(readings.times_ns[:count], lines[:count])
        file.sync()
        file.close()
        began = time.perf_counter()
        file = DayFile(directory, meter_id, day)
        yield Result(f"opening a file of {count:,} rows", (time.perf_counter() - began) * 1e3, "ms", -1)
        began = time.perf_counter()
        for number in range(count, count + 400):
            file.append(readings.times_ns[number : number + 1], lines[number : number + 1])
        seconds = time.perf_counter() - began
        file.close()
        yield Result(f"a row to a file of {count:,} rows", seconds / 400 * 1e6, "µs", -1)


def run_live(bench: Bench, meters: int, seconds: int, interval: str, linger: int) -> tuple[Counter[int], str]:
    """The ages of the rows in µs, and a note."""
    services = bench.services()
    (services.directory / "simulation.ini").write_text(f"[meter]\nlinger = {linger}\n" if linger else "")
    recording = Recording(bench, services, ids_of(meters), meters)
    began_s = time.time()
    meter = services.meter(bench.node, "-ids", ids_of(meters), "--interval", interval, "--state-dir", ".")
    recording.wait_until_live(meters, began_s, float(interval), linger)
    time.sleep(5 + linger)
    assert bench.node._server
    pids = {"broker": bench.node._server.pid, "meter": meter.process.pid, "pv": recording.pv.process.pid}
    start_s, before = int(time.time()) + 1, {name: usage(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    end_s, after = int(time.time()) - 1 - linger, {name: usage(pid) for name, pid in pids.items()}
    time.sleep(3 + linger)
    assert meter.stop(timeout=60) == 0, meter.output
    wait_until(lambda: time.time_ns() - recording.state.time_ns > 2e9, LONGEST_S, "an end of the rows")
    assert recording.pv.stop(timeout=60) == 0, recording.pv.output
    recording.verify("--from", str(start_s), "--to", str(end_s), "--interval", interval)
    ages: Counter[int] = Counter()
    for second, counts in recording.ages().items():
        if start_s <= second < end_s:
            ages.update(counts)
    expected = meters * round((end_s - start_s) / float(interval))
    assert ages.total() == expected, f"{ages.total()} ages, not {expected}"
    return ages, "; ".join(f"{name} {text(before[name], after[name], seconds)}" for name in pids)


def text(before: Usage, after: Usage, seconds: float) -> str:
    cores = after.since(before).cpu_s / seconds
    return f"{cores:.2f} cores {before.rss_kb / 1024:.0f} → {after.rss_kb / 1024:.0f} MB"


def percentile_s(ages_us: Counter[int], share: float) -> float:
    """The age in s that this share of rows does not exceed."""
    left = share * ages_us.total()
    for age_us in sorted(ages_us):
        left -= ages_us[age_us]
        if left <= 0:
            break
    return age_us / 1e6


def latency(bench: Bench) -> Iterator[Result]:
    """One live meter, ten readings a second: how long after its instant a reading is a durable row."""
    first, pairs, all_ages = bench.live("first"), [], Counter[int]()
    for _ in range(3):
        plain = bench.live("plain")
        say("latency: one live meter")
        ages, note = run_live(bench, 1, bench.options.seconds or 12, "0.1", 0)
        all_ages += ages
        pairs.append((percentile_s(ages, 0.5), plain.median_s))
    what = "one live meter, instant → row, "
    yield Result(f"{what}median", percentile_s(all_ages, 0.5), "s", -1, None, first.median_s, plain.median_s, note)
    yield Result(f"{what}beside the plain way", _ratio(pairs), "×", -1, 1.0)
    yield Result(f"{what}p99", percentile_s(all_ages, 0.99), "s", -1, None, first.p99_s, plain.p99_s)


class Fleet(NamedTuple):
    """So many meters, of how many seconds each gathers readings, and what RabbitMQ is told."""

    meters: int
    linger: int
    conf: str


def live(bench: Bench) -> Iterator[Result]:
    """Fleets at a reading a second and meter. The baselines: how many meters at most they could serve."""
    options, conf = bench.options, "" if bench.options.as_shipped else SMALL_SEGMENTS
    fleets = [Fleet(1_000, 0, conf), Fleet(2_000, 5, conf)]
    if options.meters:
        fleets = [Fleet(options.meters, options.linger, conf)]
    elif options.long:
        fleets = [Fleet(5_000, 0, ""), Fleet(10_000, 5, conf)]
    rates = [bench.last_rate(way) for way in ("first", "plain")]
    for fleet in fleets:
        if fleet.conf == conf:
            yield from _live(bench, fleet, rates)
        else:
            with Node(conf=fleet.conf, advanced=NODE) as node:
                yield from _live(bench.on(node), fleet, rates)


def _live(bench: Bench, fleet: Fleet, rates: Sequence[float]) -> Iterator[Result]:
    meters, linger, conf = fleet
    seconds = bench.options.seconds or (600 if bench.options.long else 30)
    say(f"live: {meters:,} meters for {seconds} s, linger {linger}")
    ages, note = run_live(bench, meters, seconds, "1", linger)
    what = (
        f"{meters:,} live meters{f', linger {linger}' if linger else ''}{'' if conf else ', as shipped'}, {seconds} s"
    )
    rate = ages.total() / (seconds - 2 - linger)
    yield Result(f"{what}: readings", rate, "readings/s", 1, None, rates[0], rates[1], note)
    yield Result(f"{what}: median", percentile_s(ages, 0.5), "s", -1)
    yield Result(f"{what}: p99", percentile_s(ages, 0.99), "s", -1, 5.0 if linger else 2.0)


class Cost(NamedTuple):
    """µs of CPU that a PV service needed for a row, and how many live copies it sent for each."""

    row_us: float
    copies: float


def copies(bench: Bench) -> Iterator[Result]:
    """What the live copy costs: the same fleet, recorded with it, without, with and without; CPU of the PV service."""
    count = bench.options.meters or (5_000 if bench.options.long else 1_000)
    seconds = bench.options.seconds or 60
    services = bench.services()
    meter = services.meter(bench.node, "-ids", ids_of(count), "--state-dir", ".")
    costs = [_copies(bench, services, count, seconds, live) for live in ("yes", "no") * 2]
    assert meter.stop(timeout=60) == 0, meter.output
    pairs = list(zip(costs[::2], costs[1::2], strict=True))
    # Messages of a busy fleet have two readings, and the newest is copied; figures are written every 15 s.
    assert all(with_copies.copies > 0.3 and not without.copies for with_copies, without in pairs), pairs
    more = [100 * (with_copies.row_us / without.row_us - 1) for with_copies, without in pairs]
    note = "; ".join(f"{yes.row_us:.1f} ({yes.copies:.2f} copies) and {no.row_us:.1f} µs a row" for yes, no in pairs)
    note += f"; load {os.getloadavg()[0]:.1f}"
    what = f"live copies of {count:,} meters, {seconds} s: more CPU of the PV service"
    yield Result(what, statistics.mean(more), "%", -1, 5, None, None, note)


def _copies(bench: Bench, services: Services, count: int, seconds: int, live: str) -> Cost:
    """What a row costs, once the PV service has caught up."""
    say(f"copies: {count:,} meters for {seconds} s, live = {live}")
    (services.directory / "simulation.ini").write_text(f"[pv]\nlive = {live}\n")
    began_s = time.time()
    recording = Recording(bench, services, ids_of(count), count, "--metrics-file", f"{live}.prom")
    wait_until(lambda: recording.state.meters == count, LONGEST_S, "a row of each meter")
    time.sleep(max(20, (time.time() - began_s) / 2))  # what has waited is written
    pid, figures = recording.pv.process.pid, services.directory / f"{live}.prom"
    rows, sent, before = recording.state.rows, _sent(figures), usage(pid)
    time.sleep(seconds)
    used, rows, sent = usage(pid).since(before), recording.state.rows - rows, _sent(figures) - sent
    assert 0.9 < rows / (count * seconds) < 1.1, f"{rows:,} rows of {count:,} meters in {seconds} s"
    assert recording.pv.stop(timeout=60) == 0, recording.pv.output
    return Cost(used.cpu_s * 1e6 / rows, sent / rows)


def _sent(figures: Path) -> float:
    """The live copies that a PV service says it has sent."""
    (sent,) = re.findall(r"(?m)^pvsim_live_copies_total\{.*\} (\S+)$", figures.read_text())
    return float(sent)


def restart(bench: Bench) -> Iterator[Result]:
    """A PV service of many meters that runs is restarted: from the start of the new process until rows flow again.

    Its files of today hold 20 hours, and its queues are consumed as fast as they fill. It is told to stop, and started
    when it has ended. Rows flow again when each meter has a durable one of an instant after that start; so half an
    interval of the meters, or of their linger, is in the figure. With --long there are 10,000 such files, 43 GB, and
    as in `live`, such a fleet gathers readings for 5 s.
    """
    count = bench.options.meters or (10_000 if bench.options.long else 1_000)
    linger = bench.options.linger or (5 if count > MOST_ONE_BY_ONE else 0)
    say(f"restart: {count:,} files of {FULL_S:,} rows")
    services = bench.services()
    zone, midnight_s = _evening()
    (services.directory / "simulation.ini").write_text(f"[pv]\ntimezone = {zone}\n[meter]\nlinger = {linger}\n")
    fill(services.directory, count, midnight_s, ZoneInfo(zone))
    recording = Recording(bench, services, ids_of(count), count)
    began_s = time.time()
    meter = services.meter(bench.node, "-ids", ids_of(count), "--state-dir", ".")
    recording.wait_until_live(count, began_s, linger=linger)
    time.sleep(5 + linger)
    flow_s, began_s = int(time.time()) - 1 - linger, time.monotonic()
    assert recording.pv.stop(timeout=60) == 0, recording.pv.output
    stopped_s, began_s = time.monotonic() - began_s, time.monotonic()
    recording = Recording(bench, services, ids_of(count), 0)
    wait_until(lambda: recording.state.meters == count, LONGEST_S, "a new row of each meter")
    took_s = time.monotonic() - began_s
    read = int(Path(f"/proc/{recording.pv.process.pid}/io").read_text().split()[1])
    time.sleep(5 + linger)
    end_s = int(time.time()) - 1 - linger
    assert meter.stop(timeout=60) == recording.pv.stop(timeout=60) == 0
    span = "--from", str(midnight_s), "--to", str(end_s), "--stopped", f"{midnight_s + FULL_S}..{flow_s}"
    recording.verify(*span, "--timezone", zone)
    note = f"{stopped_s:.1f} s to stop before; linger {linger}; {read / count / 1000:,.1f} kB read a meter"
    what = f"PV service of {count:,} full files restarted, start → a new row of each"
    yield Result(what, took_s, "s", -1, 15, None, None, note)


def fill(directory: Path, count: int, midnight_s: int, zone: ZoneInfo) -> None:
    """Day files of so many meters, as the services write them, with FULL_S rows each."""
    files = DayFiles(directory, zone, count)
    times_ns = range(midnight_s * 10**9, (midnight_s + FULL_S) * 10**9, 10**9)
    for number in range(count):
        meter_id = f"Meter_{number}"
        readings = block(times_ns, load.model("random", 0, meter_id)(times_ns))
        power = solar.model("random", 0, meter_id, peak_kw=Decimal(4))
        files.write(meter_id, times_ns, format_block(meter_id, readings, power(times_ns)))
        if number % 100 == 99 or number == count - 1:
            assert files.commit() == {}
    files.close()


def _evening() -> tuple[str, int]:
    """A time zone in which it is between 20:30 and 21:30 now, and when its day began."""
    now_s = int(time.time())
    ahead_h = round((FULL_S + 3_600 - now_s % 86_400) / 3_600)
    ahead_h -= 24 * (ahead_h > 12)
    name = f"Etc/GMT{-ahead_h:+d}"  # POSIX counts to the west
    return name, (now_s + ahead_h * 3_600) // 86_400 * 86_400 - ahead_h * 3_600


def start(bench: Bench) -> Iterator[Result]:
    """From the start of a process until it tells systemd that it is ready."""
    say("start")
    services = bench.services()
    for name, ids in (("meter", "-nb 1"), ("pv", "-ids Meter_0")):
        command = [sys.executable, "-m", f"pvsim.{name}", *services._configure(bench.node, ""), *ids.split()]
        took = sorted(ready_seconds(command, services.directory) for _ in range(7))
        yield Result(f"start of pvsim-{name} → READY", took[3], "s", -1, 0.5)


def memory(bench: Bench) -> Iterator[Result]:
    """What a service has in memory, its share of what it shares included, with one meter and with many."""
    for count in (1, 1_000, *([10_000] if bench.options.long else [])):
        say(f"memory: {count} meters")
        services = bench.services()
        (services.directory / "simulation.ini").write_text("[meter]\nlinger = 5\n" if count > 1 else "")
        recording = Recording(bench, services, ids_of(count), count)
        meter = services.meter(bench.node, "-ids", ids_of(count), "--state-dir", ".")
        wait_until(lambda: recording.state.rows >= 15 * count, LONGEST_S, "rows")  # noqa: B023 - called at once
        used = {name: usage(each.process.pid) for name, each in (("meter", meter), ("pv", recording.pv))}
        assert meter.stop(timeout=60) == recording.pv.stop(timeout=60) == 0
        for name, each in used.items():
            what = f"memory of pvsim-{name}, {count:,} meter{'s' * (count > 1)} (PSS)"
            target = 20 if (name, count) == ("pv", 1) else None
            yield Result(what, each.pss_kb / 1024, "MB", -1, target, None, None, f"RSS {each.rss_kb / 1024:.0f} MB")


def kill(bench: Bench) -> Iterator[Result]:
    """The broker is killed again and again: what is lost or twice ends the bench; and how soon rows come again."""
    say("kill: 200 meters, the broker killed again and again")
    with Node() as node:
        bench = bench.on(node)
        services = bench.services()
        recording = Recording(bench, services, ids_of(200), 200)
        meter = services.meter(node, "-ids", ids_of(200), "--state-dir", ".")
        wait_until(lambda: recording.state.rows >= 1_000, 120, "rows")
        start_s = int(time.time())
        took = []
        for _ in range(10 if bench.options.long else 3):
            time.sleep(5)
            node.kill()
            node.start()
            began_ns = time.time_ns()
            wait_until(lambda began=began_ns: recording.state.time_ns > began, 120, "a commit")  # type: ignore[misc]
            took.append((recording.state.time_ns - began_ns) / 1e9)
        time.sleep(10)
        end_s = int(time.time()) - 5
        assert meter.stop() == recording.pv.stop(timeout=30) == 0
        recording.verify("--from", str(start_s), "--to", str(end_s))
    yield Result("broker killed: its return → rows flow", max(took), "s", -1, 5, None, None, "0 lost, 0 twice")


def broker(bench: Bench) -> Iterator[Result]:
    """What the broker alone allows: a C client, durable quorum queue, confirms, acknowledgements."""
    say("broker: a C client")
    services = bench.services()
    program = services.directory / "broker"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "broker.c", "-lrabbitmq"], check=True)
    for count, size, readings in ((100_000, 90, 1), (2_000, 75_000, 1_000)):
        arguments = '[{<<"x-queue-type">>, longstr, <<"quorum">>}]'
        queue = f"size-{size}"
        bench.node.ctl(
            "eval",
            f'rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>), true, false, {arguments}, none, '
            '<<"bench">>), ok.',
        )
        for what in ("publish", "consume"):
            command = [program, what, bench.node.host, str(bench.node.port), queue, str(count), str(size)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rate = count / float(done.stdout)
            note = f"{rate * readings:,.0f} readings/s" if readings > 1 else ""
            yield Result(f"broker alone, C: {what}, {size:,} bytes", rate, "messages/s", 1, None, None, None, note)


PARTS = {
    part.__name__: part
    for part in (broker, history, month, live, latency, copies, start, restart, memory, kill, growth, rows)
}


def table(results: Sequence[Result]) -> str:
    """The results, for people."""
    lines = [["", "figure", "target", "", "first way", "×", "plain way", "×", ""]]
    for each in results:
        met = {None: "", True: "met", False: "MISSED"}[each.is_met]
        baselines = [cell for value in (each.first, each.plain) for cell in (number(value), number(each.ratio(value)))]
        lines.append([each.what, f"{number(each.figure)} {each.unit}", number(each.target), met, *baselines, each.note])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def number(value: float | None) -> str:
    """Three digits of a number."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine(node: Node) -> dict[str, Any]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "rabbitmq": node.ctl("eval", "io:format(rabbit_misc:version()).").split("ok")[0].strip(),
        "load": os.getloadavg()[0],
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests/run.sh bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--long", action="store_true", help="live fleets of 5,000 and 10,000 for ten minutes, 10,000 meters elsewhere"
    )
    parser.add_argument("--meters", type=int, help="so many live meters, instead of the two fleets")
    parser.add_argument("--linger", type=int, default=0, help="seconds of which those gather readings")
    parser.add_argument("--as-shipped", action="store_true", help=f"RabbitMQ without {SMALL_SEGMENTS!r}")
    parser.add_argument("--seconds", type=int, help="so long for live, latency and copies")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 if a target is missed."""
    options = parse(argv)
    results: list[Result] = []
    conf = "" if options.as_shipped else SMALL_SEGMENTS
    with Node(conf=conf, advanced=NODE) as node, Nest("pvsim-bench-") as nest:
        about = machine(node)
        bench = Bench(node, nest, options)
        for name in options.parts or PARTS:
            for result in PARTS[name](bench):
                say(f"{result.what}: {number(result.figure)} {result.unit}")
                results.append(result)
    if options.json:
        rows = [each._asdict() | {"is_met": each.is_met, "ratio": each.ratio(each.plain)} for each in results]
        print(json.dumps({"machine": about, "results": rows}, indent=1))
    else:
        print("\n" + "; ".join(f"{name}: {value}" for name, value in about.items()) + "\n")
        print(table(results))
    return int(any(each.is_met is False for each in results))


if __name__ == "__main__":
    raise SystemExit(main())
