"""What is set aside keeps its proof: the properties that it came with, as data.

As headers of ours they would be obeyed: a broker delivers to whatever CC and BCC name, and acts upon others.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pvsim.broker.pika_private import undecoded

MOST_CHARACTERS = 60_000  # they share a frame with the rest of our headers, and the usual one takes twice as many
_NAMES = (
    "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to",
    "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
)  # fmt: skip


def properties_text(properties: Any) -> str:
    """All properties of a message as a JSON object in ASCII, cut off if it is too long for a frame."""
    found = {name: value for name in _NAMES if (value := getattr(properties, name, None)) is not None}
    if rest := undecoded(properties):
        found["undecoded"] = rest
    try:
        text = json.dumps(_plain(found))
    except RecursionError:
        text = json.dumps({"not shown": "nested too deeply"})
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}... ({len(text)} characters)"


def _plain(value: Any) -> Any:
    """A value of AMQP as one of JSON; what JSON has no form for says what it is."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes | bytearray):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    if isinstance(value, int | float):
        return value
    return {"text": str(value)}
