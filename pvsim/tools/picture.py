"""Pictures of --plot, drawn by matplotlib where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pvsim.errors import ConfigError, PvsimError


def canvas(count: int) -> tuple[Any, list[Any]]:
    """A figure, and the axes of so many meters below each other; PvsimError without matplotlib."""
    try:
        from matplotlib import use

        use("Agg")  # needs no screen
        from matplotlib.figure import Figure
    except ImportError:
        raise PvsimError("--plot needs matplotlib; install it with: sudo apt install python3-matplotlib") from None
    figure = Figure(figsize=(16, 3.5 * count), layout="constrained")
    return figure, list(figure.subplots(count, squeeze=False)[:, 0])


def save(figure: Any, path: Path, example: str) -> None:
    """Write it; ConfigError if that cannot be done."""
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot draw to {path}: {error}; give a file such as {example}.") from None
