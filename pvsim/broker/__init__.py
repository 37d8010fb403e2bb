"""The broker, as the services see it. Only this package imports pika, whose errors become ours at its edge."""

from pvsim.broker.admission import YOUNG_S
from pvsim.broker.connection import Broker, Owner
from pvsim.broker.consuming import Delivery
from pvsim.broker.live import Copy, LiveLink
from pvsim.broker.outcome import CONFIRMED, REFUSED, REPLACED, SILENT, TOO_LARGE, UNMARKED, UNROUTABLE
from pvsim.broker.queues import OTHER_ARGUMENTS, Queue, arguments, rejected_arguments
from pvsim.broker.transport import Loop
from pvsim.broker.turn import Rota, back_off

__all__ = [
    "CONFIRMED", "OTHER_ARGUMENTS", "REFUSED", "REPLACED", "SILENT", "TOO_LARGE", "UNMARKED", "UNROUTABLE", "YOUNG_S",
    "Broker", "Copy", "Delivery", "LiveLink", "Loop", "Owner", "Queue", "Rota", "arguments", "back_off",
    "rejected_arguments",
]  # fmt: skip
