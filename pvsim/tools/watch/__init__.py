"""`pvsim watch`: the rows as they become durable, from anywhere that reaches the broker.

What is shown are the live copies that PV services publish; nobody else misses what is seen here. On a terminal it is a
table that refreshes, elsewhere lines of CSV or JSON. What is no live copy is counted, and never shown as it came.
"""

from pvsim.tools.watch.command import add_parser

__all__ = ["add_parser"]
