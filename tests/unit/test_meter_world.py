"""A whole meter service on the broker of world.py: how it begins and ends when the clock is not within its span."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pvsim.broker import arguments
from pvsim.config import BrokerSettings, MeterSettings
from pvsim.errors import UsageError
from pvsim.meter import Options, service
from pvsim.meter.timeline import Timeline
from tests.unit.world import Rabbit, SimulatedLoop, new_rabbit

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
Run = Callable[..., SimulatedLoop]


@pytest.fixture
def rabbit() -> Iterator[Rabbit]:
    """A broker."""
    with new_rabbit() as rabbit:
        yield rabbit


@pytest.fixture
def run(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Run:
    """Run meters of a timeline for a minute from some time on, perhaps with a progress file."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    caplog.set_level("INFO")
    host: Any = SimpleNamespace(wake_fd=0, metrics_file=None, stop_requested=False)
    host.ready = host.alive = host.stopping = host.drain_wake = lambda: None
    host.status = lambda _text: None
    clock = SimpleNamespace(monotonic=rabbit.monotonic, strftime=time.strftime, localtime=time.gmtime)
    monkeypatch.setattr(service, "time", clock)

    def run(timeline: Timeline, later_s: float = 0, progress: Path | None = None, meters: int = 1) -> SimulatedLoop:
        rabbit.now_s += later_s
        loop = rabbit.loop()
        monkeypatch.setattr(service, "Loop", lambda: loop)
        settings = {f"M_{number}": MeterSettings(backlog_ns=None) for number in range(meters)}
        options = Options(BrokerSettings(), settings, progress, timeline)
        service.Service(options, host, lambda: int(rabbit.now_s * SECOND)).run()
        rabbit.live(60)
        return loop

    return run


def test_an_end_in_the_past(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Without a beginning, and without a progress to go on from, nothing is asked for: that is an error."""
    with pytest.raises(UsageError, match=r"^--to is in the past; give --from, too\.$"):
        run(Timeline(end_ns=NOW))
    assert caplog.messages == []


def test_an_end_that_has_passed_meanwhile(run: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A meter that has a progress ends well, and nobody's clock was ahead."""
    timeline = Timeline(end_ns=NOW + 10 * SECOND)
    assert run(timeline, progress=tmp_path / "progress.json").is_stopped
    (tmp_path / "later").mkdir()
    shutil.copy(tmp_path / "progress.json", tmp_path / "later")  # the lock of the first one is this process's
    caplog.clear()
    assert run(timeline, later_s=3600, progress=tmp_path / "later/progress.json").is_stopped
    assert "All readings asked for are confirmed, 0 of them by this run." in caplog.messages
    assert "It goes on" not in caplog.text


def test_a_beginning_that_is_still_to_come(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """It is told to the second."""
    assert not run(Timeline(NOW + 86400 * SECOND, NOW + 2 * 86400 * SECOND)).is_stopped
    assert "It begins at 2023-11-15 22:13:20." in caplog.messages


def test_more_than_may_be_unconfirmed(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred meters have twice as many readings to send at once: each has its turn, and all are sent."""
    assert run(Timeline(NOW - 1500 * SECOND, NOW), meters=100).is_stopped
    assert "All readings asked for are confirmed, 150000 of them by this run." in caplog.messages


def test_a_queue_that_cannot_be_declared(run: Run, rabbit: Rabbit, caplog: pytest.LogCaptureFixture) -> None:
    """It costs the connection once: the other meters send, and it does as soon as it can be declared."""
    rabbit.undeclarable.add("M_3")
    loop = run(Timeline(NOW - 100 * SECOND), meters=20)
    assert [message for message in caplog.messages if "if this goes on, restart the broker" in message]
    main = rabbit.lines[0]
    rabbit.live(200)
    assert main in rabbit.lines
    held = {name: len(box.ready) for name, box in rabbit.boxes.items()}
    assert held.keys() == {f"M_{number}" for number in range(20)} - {"M_3"}
    assert min(held.values()) > 200, held
    rabbit.undeclarable.clear()
    rabbit.live(35)
    assert "All queues can be used again." in caplog.messages
    assert len(rabbit.boxes["M_3"].ready) > 0
    assert not loop.is_stopped


def test_many_doubtful_queues(run: Run, rabbit: Rabbit) -> None:
    """A connection is lost with eight: they are tried one by one on the channel that first messages leave for it."""
    rabbit.channel_max = 10
    for number in range(1, 20):
        rabbit.declare(f"M_{number}", arguments(BrokerSettings()))
    rabbit.undeclarable.add("M_0")
    run(Timeline(NOW - 100 * SECOND), meters=20)
    assert {name for name, box in rabbit.boxes.items() if box.ready} == {f"M_{number}" for number in range(1, 20)}


def test_as_many_queues_without_an_answer_as_channels(run: Run, rabbit: Rabbit) -> None:
    """They have all channels of the second connection; the other meters send over the next one."""
    rabbit.channel_max = 4
    for number in range(20):
        rabbit.declare(f"M_{number}", arguments(BrokerSettings()))
        rabbit.set_dead(f"M_{number}", number < 3)
    run(Timeline(NOW - 100 * SECOND), meters=20)
    assert {name for name, box in rabbit.boxes.items() if not box.ready} == {"M_0", "M_1", "M_2"}
