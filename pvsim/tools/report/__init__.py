"""`pvsim report`: the energy of each meter and day, from day files.

A row counts for one interval, from its instant on; the interval is what lies between most rows of a file. Where rows
are missing, their energy is missing, too: gaps are told and not filled. Load and PV are sums of what the rows say;
import and export are summed row by row, as an energy meter at the grid would count them.
"""

from pvsim.tools.report.command import add_parser

__all__ = ["add_parser"]
