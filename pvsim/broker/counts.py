"""What has gone over the connections of a `Broker`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Since it was made; `refused`: messages that the broker has not taken, set aside ones included."""

    connections: int = 0
    published_bytes: int = 0
    received_bytes: int = 0
    refused: int = 0
