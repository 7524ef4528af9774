"""How a case fails: with one sentence that says which expectation was not met."""

from __future__ import annotations


class CaseFailed(Exception):
    """An expectation of the case was not met; the text is one sentence for the report."""


class UsageError(Exception):
    """The run cannot begin: bad options, an unreachable deployment, a key that is not accepted; one sentence."""
