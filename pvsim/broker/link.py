"""The main connection itself: opened, lost, and opened again, with one node of the broker after the other."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol

from pvsim.broker import pika_private
from pvsim.broker.transport import Loop, connection_parameters
from pvsim.broker.trouble import Trouble, blocked_reason, explain
from pvsim.broker.turn import Rota
from pvsim.config import Address, BrokerSettings
from pvsim.errors import ConfigError

log = logging.getLogger("pvsim.broker")

UNENCRYPTED = (
    "Password and readings go to the broker at %s unencrypted; set tls = yes in %s, unless the whole network is yours."
)
_LONGEST_WAIT_S = 30.0
_REFUSED_WAIT_S = 4.0  # to be refused costs nothing, so that is tried more often
_GOODBYE_S = 1.0
STABLE_S = 3.0  # a connection that does not live longer is one more failed try


def is_local(ours: str, theirs: str) -> bool:
    """Whether a connection between these addresses stays on this machine."""
    return ours == theirs or theirs == "::1" or theirs.startswith(("127.", "::ffff:127."))


class Phase(Enum):
    """Where the connection is."""

    DOWN = auto()  # it is being opened, or waits for the next try
    UP = auto()
    DROPPING = auto()  # we end it; there will be another
    ENDED = auto()  # closed for good


class User(Protocol):
    """Whoever uses the connection."""

    def on_open(self, connection: Any) -> None:
        """There is one: open channels, then say that it is `up`."""

    def on_lost(self, reason: Exception) -> None:
        """It is gone, or could not be opened."""

    def on_blocked_changed(self) -> None:
        """The broker takes no messages for now, or takes them again."""


class Link:
    """One connection that comes back by itself.

    Half of its fields are memory from one connection to the next: whose turn it is, and what has been said already.
    """

    def __init__(self, settings: BrokerSettings, loop: Loop, user: User) -> None:
        self._settings = settings
        self._loop = loop
        self._user = user
        self._rota = Rota(settings.addresses, random.random())
        self._phase = Phase.DOWN
        self.connection: Any = None
        self.address = self._rota.address
        self.trouble = f"connecting to the broker at {self.address}"  # for people
        self._logged: dict[Address, str] = {}
        self._is_warned = False  # that the connection is not encrypted
        self._up_since_s: float | None = None
        self.blocked = ""  # why the broker takes no messages now
        self.is_flapping = False  # the last connection lived no longer than a moment
        self._on_end: Callable[[], None] = lambda: None

    @property
    def is_up(self) -> bool:
        """Whether anything can be asked of the broker."""
        return self._phase is Phase.UP

    @property
    def is_ended(self) -> bool:
        """Whether it is closed for good."""
        return self._phase is Phase.ENDED

    def up(self) -> None:
        """The channels are open."""
        if self._phase is Phase.DOWN:
            self._phase = Phase.UP
        self.trouble, self._up_since_s = "", time.monotonic()

    def connect(self) -> None:
        """Try the node whose turn it is."""
        self.address = self._rota.address
        try:
            parameters = connection_parameters(self._settings, self.address)
        except ConfigError as error:  # a file that could be read when the service was started
            self._on_lost(None, error)
            return
        guard = self._loop.guard
        self.connection = pika_private.Connection(
            self._loop,
            parameters,
            on_open_callback=guard(self._on_open),
            on_open_error_callback=guard(self._on_lost),
            on_close_callback=guard(self._on_lost),
        )

    def drop(self, reason: Exception) -> None:
        """End the connection without a good-bye: a broker that is stuck would never answer it.

        pika tells each channel the reason; what closed one of them is not to look as if it had closed them all.
        """
        if self.connection.is_open and self._phase in (Phase.DOWN, Phase.UP):
            self._phase = Phase.DROPPING
            pika_private.terminate(self.connection, reason)

    def close(self, done: Callable[[], None]) -> None:
        """End it for good, then call `done`."""
        self._phase, self._on_end = Phase.ENDED, done
        if self.connection and self.connection.is_open:
            self._loop.later(_GOODBYE_S, done)
            pika_private.close(self.connection)
        else:  # pika chokes on closing what is not open yet
            done()

    def _on_open(self, connection: Any) -> None:
        self._warn_of_eavesdroppers(connection)
        guard = self._loop.guard
        connection.add_on_connection_blocked_callback(guard(lambda _, frame: self._set_blocked(blocked_reason(frame))))
        connection.add_on_connection_unblocked_callback(guard(lambda *_: self._set_blocked("")))
        self._user.on_open(connection)

    def _set_blocked(self, reason: str) -> None:
        self.blocked = reason
        self._user.on_blocked_changed()

    def _warn_of_eavesdroppers(self, connection: Any) -> None:
        """The password has gone out with the first words; that is said once, and not where nobody can listen."""
        if not self._settings.tls and not self._is_warned and not is_local(*pika_private.ends(connection)):
            self._is_warned = True
            log.warning(UNENCRYPTED, self.address, self._settings.source)

    def _on_lost(self, connection: Any, reason: Exception) -> None:
        self.blocked = ""
        if self.is_ended:
            self._user.on_lost(reason)
            self._on_end()
            return
        self._phase = Phase.DOWN
        self._judge()
        self._user.on_lost(reason)
        self._retry(explain(reason, self._settings, self.address, pika_private.received(connection)))

    def _judge(self) -> None:
        """A connection that lived has put right what was wrong before."""
        lived_s = time.monotonic() - self._up_since_s if self._up_since_s is not None else 0.0
        self._up_since_s = None
        self.is_flapping = 0 < lived_s <= STABLE_S
        if lived_s > STABLE_S:
            self._rota.succeed()
            self._logged.clear()

    def _retry(self, trouble: Trouble) -> None:
        wait_s = self._rota.fail(_REFUSED_WAIT_S if trouble.is_cheap else _LONGEST_WAIT_S, random.random())
        where = f" at {self._rota.address}" if len(self._settings.addresses) > 1 else ""
        self.trouble = f"{trouble.sentence} Next try in {wait_s:.0f} s{where}." if wait_s >= 1 else trouble.sentence
        if trouble.sentence != self._logged.get(self.address):
            log.warning("%s Trying again until it works.", trouble.sentence)
            self._logged[self.address] = trouble.sentence
        self._loop.later(wait_s, self.connect)
