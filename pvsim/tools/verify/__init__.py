"""`pvsim verify`: recompute day files, and say what is missing, repeated, out of order, wrong or torn.

Every row is a function of seed, meter id and instant, so the line that each row should be is computed from
its instant alone, and compared as text; only lines that differ are looked at closely. A file
does not tell what else it should hold: instants are expected from a meter's first row to its last, over all of
its files that are given, or as --from and --to say. A meter that was told to stop leaves a gap of more than
90 s, so only such a gap may be a stop; --stopped or the meter's progress file has to say whether it is.

Faults on purpose are functions of the instant, too: what they do is expected, and counted apart. With a wrong clock, a
row's time is not that of its reading, so rows are known by the instant of the reading; and what is late counts as of
the instant with which it is sent.
"""

from pvsim.tools.verify.command import add_parser

__all__ = ["add_parser"]
