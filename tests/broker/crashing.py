"""pvsim-meter that ends by an error: its text holds everything that is known of the broker when a connection is up."""

from __future__ import annotations

from pvsim import meter
from pvsim.broker import transport
from pvsim.meter.service import Service


def crash(service: Service) -> None:
    """What any line of code may do that nobody has foreseen."""
    broker = service._broker
    parameters = transport.connection_parameters(broker.settings, broker.address)
    raise RuntimeError(repr((vars(broker), parameters, parameters.credentials, vars(service))))


if __name__ == "__main__":
    setattr(Service, "on_up", crash)  # noqa: B010
    raise SystemExit(meter.main())
