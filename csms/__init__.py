"""Wiring and wire protocol; no models."""

__version__ = "0.1.0"
