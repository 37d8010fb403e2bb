"""What a service counts, in one place: its status line and the text that Prometheus reads are both made from it.

Names and units follow Prometheus' conventions. Each sample has the label `unit`, because node_exporter's textfile
collector reads the files of all units together; for the same reason a name means, and says, the same in all of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

PERIOD_S = 15.0  # from one writing of the file to the next


class Metric:
    """One family of samples: its name, its type, and what it says of itself."""

    kind = "gauge"

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.value: float = 0

    def samples(self) -> Iterable[tuple[str, Mapping[str, str], float]]:
        """What comes behind the name, labels, and the value of each sample."""
        return [("", {}, self.value)]

    def lines(self, unit: str) -> Iterator[str]:
        """The family in Prometheus' text format."""
        yield f"# HELP {self.name} {self.text}"
        yield f"# TYPE {self.name} {self.kind}"
        for suffix, labels, value in self.samples():
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in {"unit": unit, **labels}.items())
            yield f"{self.name}{suffix}{{{shown}}} {value!r}"


class Gauge(Metric):
    """A value that goes up and down."""


class Counter(Metric):
    """A value that only grows while the service runs."""

    kind = "counter"


class Gauges(Metric):
    """A value for each word of a short list."""

    def __init__(self, name: str, text: str, label: str, words: Sequence[str]) -> None:
        super().__init__(name, text)
        self._label = label
        self.values: dict[str, float] = dict.fromkeys(words, 0)

    def samples(self) -> Iterable[tuple[str, Mapping[str, str], float]]:
        return [("", {self._label: word}, value) for word, value in self.values.items()]


class Histogram(Metric):
    """How often a value was up to each of some bounds."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        super().__init__(name, text)
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._sum = 0.0
        self._count = 0

    def observe(self, value: float) -> None:
        """One more value."""
        self._sum += value
        self._count += 1
        for at, bound in enumerate(self._bounds):
            if value <= bound:
                self._counts[at] += 1

    def samples(self) -> Iterable[tuple[str, Mapping[str, str], float]]:
        for bound, count in zip(self._bounds, self._counts, strict=True):
            yield "_bucket", {"le": repr(float(bound))}, count
        yield "_bucket", {"le": "+Inf"}, self._count
        yield "_sum", {}, self._sum
        yield "_count", {}, self._count


class Figures:
    """What both kinds of services count; each kind adds its own."""

    def __init__(self, reasons: Sequence[str]) -> None:
        """`reasons`: why a meter may wait."""
        self.meters = Gauge("pvsim_meters", "Meters of this service.")
        self.connected = Gauge("pvsim_connected", "1 if there is a connection to the broker, else 0.")
        self.reconnects = Counter("pvsim_reconnects_total", "Connections to the broker after the first one.")
        self.waiting = Gauges("pvsim_meters_waiting", "Meters that wait, by the reason.", "reason", reasons)

    def text(self, unit: str) -> str:
        """All of it in Prometheus' text format; `unit` names the service."""
        metrics = [each for each in vars(self).values() if isinstance(each, Metric)]
        return "".join(f"{line}\n" for metric in metrics for line in metric.lines(unit))


class MetricsFile:
    """The file that Prometheus' node_exporter reads, named after the unit; it is whole at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trouble = ""

    @classmethod
    def at(cls, text: str) -> MetricsFile:
        """For a command line; a relative name keeps its meaning if the working directory changes."""
        return cls(Path(text).absolute())

    def write(self, figures: Figures) -> None:
        """Replace what it says; what goes wrong is logged, and holds nobody up."""
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            with part.open("w", encoding="utf-8") as stream:
                os.fchmod(stream.fileno(), 0o644)  # who reads it is in no group of ours
                stream.write(figures.text(self.path.stem))
            part.replace(self.path)
        except OSError as error:
            self._say(f"Cannot write metrics to {self.path}: {error.strerror}.")
        else:
            self._say("")

    def remove(self) -> None:
        """The service has ended: its last figures are not to look like today's."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.error("%s Trying again; nothing else depends on it.", trouble)
        elif self._trouble and not trouble:
            log.info("Metrics are written to %s again.", self.path)
        self._trouble = trouble


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
