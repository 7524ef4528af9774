"""Wiring and wire protocol; no models."""
