"""Recorded profiles: the text of a CSV file becomes instants and powers, or one sentence that says why it cannot.

Files come from anywhere, so nothing is guessed: what can be read in two ways that give different values is an error
that names both, and the key that decides. Text in, numbers out; who opens the file is no business of these files.

`head` finds the header and what separates its cells, `columns` the columns, `said` what is said around the data;
`looks` knows what looks like a time; `times` and `numbers` read the two columns, each with one way for the whole file;
`units` knows what a column counts; `body` walks through the lines, by blocks where all is plain and line by line where
not; `meters` and `steps` look at what changes from row to row; `clocks` knows time zones, and the hours that they leave
out or have twice; `series` makes powers of energies, and one year of a typical one.
"""

from __future__ import annotations

from pvsim.profiles.bad import BadProfile
from pvsim.profiles.body import read
from pvsim.profiles.wishes import Wishes

__all__ = ["BadProfile", "Wishes", "read"]
