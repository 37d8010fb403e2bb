"""Whose turn it is to be tried, and how long to wait before."""

from __future__ import annotations

from collections.abc import Sequence

from pvsim.config import Address


def back_off(attempt: int, longest_s: float, chance: float) -> float:
    """Seconds to wait before try `attempt` (from 1): half as long again each time, spread by `chance` 0 … 1."""
    return min(longest_s, 0.5 * 1.5 ** min(attempt - 1, 50)) * (0.5 + chance / 2)


class Rota:
    """Whose turn it is to be tried: all addresses one after the other, beginning with any of them.

    `chance`, from 0 up to 1, says with which: so many services spread over the nodes of a cluster.
    """

    def __init__(self, addresses: Sequence[Address], chance: float) -> None:
        first = int(chance * len(addresses))
        self._addresses = [*addresses[first:], *addresses[:first]]
        self._failures = 0

    @property
    def address(self) -> Address:
        """The one to try now."""
        return self._addresses[0]

    def fail(self, longest_s: float, chance: float) -> float:
        """On to the next: seconds to wait before, more from round to round, and little within a round."""
        self._addresses.append(self._addresses.pop(0))
        self._failures += 1
        rounds, rest = divmod(self._failures, len(self._addresses))
        return back_off(1 if rest else rounds, longest_s, chance)

    def succeed(self) -> None:
        """All is well: what fails from now on has not failed before."""
        self._failures = 0
