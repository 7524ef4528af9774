"""A database that is away, busy or takes no writes is no failure of ours: 503, and when to ask again."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

RETRY_AFTER_SECONDS = 5
AWAY = "The database cannot be reached."
TAKES_NO_WRITES = "The database takes no writes at the moment."
# Errors of PostgreSQL by code: a standby or a read-only session (InternalError to Django), and a full disk.
_NO_WRITES = frozenset({"25006", "53100"})
# What SQLite says of a file or a disk that cannot be written.
_NO_WRITES_OF_SQLITE = ("readonly database", "disk is full")


def takes_no_writes(error: BaseException | None) -> bool:
    """Whether an error of Django's says that the database writes nothing; reading may go on."""
    if error is None:
        return False
    if getattr(error.__cause__, "sqlstate", None) in _NO_WRITES:
        return True
    return isinstance(error, OperationalError) and any(words in str(error) for words in _NO_WRITES_OF_SQLITE)


def somebody_else_writes(error: BaseException) -> bool:
    """Whether an error of Django's says that a lock could not be had in time."""
    return getattr(error.__cause__, "sqlstate", None) == "55P03" or "database is locked" in str(error)


def sentence_of(error: BaseException | None) -> str | None:
    """What to say to whoever is answered 503 because of `error`; None when it is not the database's."""
    if takes_no_writes(error):
        return TAKES_NO_WRITES
    return AWAY if isinstance(error, OperationalError | InterfaceError) else None
