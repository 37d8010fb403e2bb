#!/usr/bin/python3
"""The energy of each meter and day, with pandas (python3-pandas), as `pvsim report` has it:

    energy-pandas.py /var/lib/pvsim/Meter_0-*.csv

A row counts for the time that lies between most rows. Where rows are missing, their energy is missing, too.
"""

import sys

import pandas


def energy(path: str) -> "pandas.Series[float]":
    """kWh of one day file."""
    rows = pandas.read_csv(path)
    hours = rows.time_s.diff().mode()[0] / 3600
    load_kw, pv_kw = rows.meter_power_value_w / 1000, rows.pv_power_value_kw
    grid_kw = load_kw - pv_kw
    powers = {"load": load_kw, "pv": pv_kw, "import": grid_kw.clip(lower=0), "export": (-grid_kw).clip(lower=0)}
    return pandas.DataFrame(powers).sum() * hours


print(pandas.DataFrame({path: energy(path) for path in sys.argv[1:]}).T.to_string(float_format="%.3f"))
