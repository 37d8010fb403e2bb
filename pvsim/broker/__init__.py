"""The broker, as the services see it. Only this package imports pika, whose errors become ours at its edge."""

from pvsim.broker.connection import Broker, Delivery, Loop, Owner, Turn, back_off
from pvsim.broker.live import Copy, LiveLink
from pvsim.broker.publishing import CONFIRMED, REFUSED, UNROUTABLE
from pvsim.broker.queues import OTHER_ARGUMENTS, Queue, arguments, rejected_arguments

__all__ = [
    "CONFIRMED",
    "OTHER_ARGUMENTS",
    "REFUSED",
    "UNROUTABLE",
    "Broker",
    "Copy",
    "Delivery",
    "LiveLink",
    "Loop",
    "Owner",
    "Queue",
    "Turn",
    "arguments",
    "back_off",
    "rejected_arguments",
]
