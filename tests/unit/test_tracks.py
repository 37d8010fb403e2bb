"""Progress that cannot be saved is said as it begins, as it ends, and in the status in between."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pvsim.config import Address, BrokerSettings, MeterSettings
from pvsim.meter import Options, service
from pvsim.meter.progressfiles import ProgressFile
from pvsim.meter.timeline import Timeline
from pvsim.meter.tracks import Tracks
from tests.unit.test_dayfile_disk import file_size_limit


def test_trouble_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same trouble is one line, another one is another; that it is over is a line, too."""
    caplog.set_level("INFO")
    path = tmp_path / "progress.json"
    tracks = Tracks(ProgressFile(path, ["Meter_0"]), Timeline(), 0)
    tracks.save()
    assert tracks.trouble == ""
    with file_size_limit(5):
        for _ in range(3):
            tracks.save()
            assert tracks.trouble == (
                f"Cannot save the progress in {path}: File too large; raise the limit on file sizes."
            )
    path.with_suffix(".part").unlink()
    path.with_suffix(".part").mkdir()
    for _ in range(3):
        tracks.save()
        assert tracks.trouble.endswith("progress.part is in the way: it is a link, or no file; move it away.")
    first, second = caplog.messages
    assert first.endswith(": File too large; raise the limit on file sizes. Trying again.")
    assert second == f"{tracks.trouble} Trying again."
    path.with_suffix(".part").rmdir()
    tracks.save()
    tracks.save()
    assert tracks.trouble == ""
    assert caplog.messages[2:] == ["Saves the progress again."]


def test_trouble_is_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it lasts; the broker of this meter does not run."""
    monkeypatch.setattr(service, "SAVE_S", 0.02)
    monkeypatch.setattr(service, "TICK_S", 0.02)
    path, (wake, waker) = tmp_path / "progress.json", os.pipe()
    statuses: list[str] = []
    host: Any = SimpleNamespace(wake_fd=wake, metrics_file=None, stop_requested=False)
    host.ready = host.alive = host.stopping = lambda: None
    host.drain_wake = lambda: os.read(wake, 1)

    def status(text: str) -> None:
        statuses.append(text)
        if path.is_dir():
            path.rmdir()
        elif "Cannot save" not in text and not host.stop_requested:
            host.stop_requested = True
            os.write(waker, b"x")

    host.status = status
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        broker = BrokerSettings((Address("127.0.0.1", unused.getsockname()[1]),))
        meter = service.Service(Options(broker, {"Meter_0": MeterSettings()}, path, Timeline()), host)
        path.mkdir()
        meter.run()
    wanted = (
        f"Meter_0, 0 readings confirmed, Cannot save the progress in {path}: Is a directory; move that directory away."
    )
    assert statuses[0].startswith(f"{wanted}; ")
    assert "Cannot save" not in statuses[-1]
    assert path.is_file()
    os.close(wake)
    os.close(waker)
