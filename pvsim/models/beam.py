"""How much of the beam of a cloudless sky the clouds leave, by the clear-sky index and the height of the sun.

What they leave of all light is the index; what is not beam comes from the sky.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp

SHARE_STEPS = 20  # of the index, from 0 to 1
_THIN_CLOUD = 0.06  # optical depth, straight up, of what hides a low sun where the index is that of a clear sky
_CLEAR, _USUAL_MASS = 0.75, 1.5  # clearness index of a cloudless sky, and air mass, of the usual hour that Erbs is for
_MASS_STEPS, _MOST_MASS = 20, 12.0


def _diffuse_share(clearness: float) -> float:
    """Erbs, Klein, Duffie, Solar Energy 28 (1982) 293."""
    if clearness <= 0.22:
        return 1 - 0.09 * clearness
    if clearness > 0.8:
        return 0.165
    return 0.9511 - 0.1604 * clearness + 4.388 * clearness**2 - 16.638 * clearness**3 + 12.336 * clearness**4


def beam_shares(mass: float) -> tuple[float, ...]:
    """How much of the beam of a cloudless sky is left where all light is so many SHARE_STEPS of its.

    From the diffuse share of Erbs, relative to that of a cloudless sky, at a usual height of the sun; and from there by
    the law of Beer, as the way through a cloud is the longer the lower the sun: a thin cloud hides a low sun. `mass`:
    the relative air mass.
    """
    return _beam_shares(round(min(_MOST_MASS, mass) * _MASS_STEPS))


@lru_cache(maxsize=256)
def _beam_shares(mass_steps: int) -> tuple[float, ...]:
    longer, clear_beam = mass_steps / _MASS_STEPS / _USUAL_MASS, 1 - _diffuse_share(_CLEAR)
    parts = [step / SHARE_STEPS for step in range(SHARE_STEPS + 1)]
    seen = exp(-_THIN_CLOUD * max(0.0, mass_steps / _MASS_STEPS - _USUAL_MASS))
    return tuple(round(seen * (part * (1 - _diffuse_share(part * _CLEAR)) / clear_beam) ** longer, 6) for part in parts)


def beam_share(index: float, shares: tuple[float, ...]) -> float:
    """How much of the beam is left under a clear-sky index; `shares` are those of `beam_shares`.

    Where clouds brighten the sky beyond 1, the beam is that of a clear sky, and what is more is diffuse.
    """
    if index >= 1:
        return shares[-1]
    steps = index * SHARE_STEPS
    place = int(steps)
    low = shares[place]
    return low + (shares[place + 1] - low) * (steps - place)
