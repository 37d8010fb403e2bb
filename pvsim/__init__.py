"""Simulated electricity meters and PV systems that run as real Linux services."""

__version__ = "0.1.0"
