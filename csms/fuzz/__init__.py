"""Fuzzing over live sockets: generated frames against a server of its own, and the promises that must hold for all."""
