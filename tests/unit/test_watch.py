"""What `pvsim watch` makes of messages, and how it lays them out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvsim.pv.live import body
from pvsim.tools.watch import screen
from pvsim.tools.watch.board import Board, LiveRow, parse, spark
from pvsim.tools.watch.screen import layout

NOW_S = 1_782_036_000


def line(meter_id: str, age_s: int = 0, load_w: str = "3812.856") -> LiveRow:
    found = parse(body(f"{meter_id},{NOW_S - age_s},{load_w},3.546184,7359.04"))
    assert found
    return found


def test_a_copy_is_read_as_it_was_written() -> None:
    assert line("Meter_0") == ("Meter_0", ["1782036000", "3812.856", "3.546184", "7359.04", "266.672"])


GOOD = body("Meter_0,1,1,1,1").decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "\\",
        "[" * 100_000,
        GOOD.replace("Meter_0", "\x1b[31m"),
        GOOD.replace("Meter_0", "\\u001b[31m"),
        GOOD.replace('"Meter_0"', "7"),
        GOOD.replace('"time_s": 1', '"time_s": "\\u001b[2J"'),
        GOOD.replace('"time_s": 1', '"time_s": "1"'),
        GOOD.replace('"time_s": 1', '"time_s": NaN'),
        GOOD.replace('"time_s": 1', '"time_s": 1e400'),
        GOOD.replace('"time_s": 1', f'"time_s": {"9" * 5000}'),
    ],
)
def test_what_is_no_copy_is_none(text: str) -> None:
    """Above all nothing that a terminal would obey."""
    assert parse(text.encode()) is None


@given(st.binary(max_size=300))
def test_any_bytes(some: bytes) -> None:
    found = parse(some)
    assert found is None or re.fullmatch(r"[\w.-]+", found.meter_id)


def test_meters_stand_in_the_order_of_their_numbers() -> None:
    """And the newest row of each counts; one that is old is marked."""
    board = Board()
    for meter_id, age_s in (("Meter_10", 9), ("Meter_2", 1), ("Meter_2", 0)):
        board.add(line(meter_id, age_s))
    rows, summary = board.table(NOW_S, 50)
    assert [(row.cells[0], row.cells[4], row.is_stale) for row in rows] == [
        ("Meter_2", "0.0", False),
        ("Meter_10", "9.0", True),
    ]
    assert rows[0].cells[1:4] == ("3,813", "3,546", "267")
    assert summary == "2 meters: load 7.626 kW, PV 7.092 kW, grid 0.533 kW"


def test_before_the_first_row_there_are_no_sums() -> None:
    assert Board().table(0.0, 24) == ([], "no rows yet")


def test_what_does_not_fit_is_told() -> None:
    board = Board()
    for number in range(1000):
        board.add(line(f"Meter_{number}"))
    board.ignored = 3
    rows, summary = board.table(NOW_S, 30)
    assert 20 <= len(rows) <= 30
    assert f"{1000 - len(rows)} of them do not fit here" in summary
    assert "1000 meters" in summary
    assert summary.endswith("3 other messages")


def test_a_spark_line_goes_from_the_least_to_the_most() -> None:
    assert spark([0, 7, 3.5, -7]) == "▅█▆▁"
    assert spark([5, 5]) == "▁▁"
    assert spark([]) == ""


def test_columns_are_aligned() -> None:
    board = Board()
    board.add(line("Meter_0", load_w="3.5"))
    board.add(line("M"))
    text = layout(board.titles, board.table(NOW_S, 50)[0])
    assert text[0].startswith("meter    load W   PV W  grid W  age s  grid")
    assert text[2].startswith("Meter_0       4  3,546")


def test_a_board_fits_into_its_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No line is longer, none is below the last one, and a row that is old is red."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "12")
    board = Board()
    for number in range(30):
        board.add(line(f"Meter_{number}"))
    screen.draw(board, "connected to a broker with a name that is longer than a line has room for")
    drawn = capsys.readouterr().out
    plain = re.sub(r"\x1b\[\d*[A-Za-z]", "", drawn)
    assert drawn.count("\x1b[31mMeter_") == 6
    assert plain.count("\n") == 11
    assert max(map(len, plain.split("\n"))) < 40
