"""How far many day files have come, without reading them."""

from __future__ import annotations

from pathlib import Path


def have_come(directory: Path, late: list[str], instant_s: float) -> bool:
    """Whether all of these meters have a row of an instant or a later one; those that have leave the list's end."""
    newest = {path.name[:-15]: path for path in sorted(directory.glob("*.csv"))}
    while late and late[-1] in newest and last_s(newest[late[-1]]) >= instant_s:
        late.pop()
    return not late


def last_s(path: Path) -> float:
    """The instant of the last row of a day file, 0 if there is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 300))
        *lines, _ = file.read().split(b"\n")
    column = lines[-1].split(b",")[1] if lines else b""
    return 0.0 if column in (b"", b"time_s") else float(column)
