"""Several statements to PostgreSQL and all of their results back, in one round trip.

Context: a lane answers thousands of messages a second on a connection of its own. Every time its thread waits for the
server it gives up the interpreter and has to win it back from the event loop, and a cursor of psycopg costs more than
the few rows it brings.
Choice: libpq's pipeline mode by hand: everything is sent, then the thread waits once. Statements are constant and
prepared, once a connection. The tenant scope and BEGIN travel with the first of them, COMMIT with the last.
Consequence: nothing of psycopg but libpq itself, its errors and its loaders takes part; what the server gives back
is text.
Source: PostgreSQL manual, "Pipeline Mode" and "Asynchronous Command Processing" of libpq.
"""

from __future__ import annotations

import itertools
import select
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

# A cached plan that no longer fits, and a prepared statement that is not there, or there already.
_STALE = frozenset({"0A000", "26000", "42P05"})
_numbers = itertools.count()


class Statement:
    """SQL whose text never changes, with `%s` for each parameter."""

    __slots__ = ("name", "numbered", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        parts = text.split("%s")
        self.numbered = "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)).encode() + parts[-1].encode()
        self.name = f"csms_{next(_numbers)}"


# Its parameters: text, bytes in the binary form of their type, or NULL.
Step = tuple[Statement, Sequence[str | bytes | None]]


def exchange(
    connection: psycopg.Connection[Any],
    steps: Sequence[Step],
    *,
    before: Sequence[bytes] = (),
    after: Sequence[bytes] = (),
) -> list[PGresult]:
    """Run plain commands `before`, then `steps`, then plain commands `after`; the results of `steps`.

    Nothing of what comes after an error is carried out. Errors: those of psycopg, the first one that happened.
    """
    prepared: set[Statement] = connection.__dict__.setdefault("csms_prepared", set())
    generation: int = connection.__dict__.get("csms_generation", 0)
    with connection.lock:
        pgconn = connection.pgconn
        pgconn.enter_pipeline_mode()
        try:
            for command in before:
                pgconn.send_query_params(command, None)
            # One result for each thing sent: the statement it prepares, the step it is, or neither.
            sent: list[Statement | int | None] = [None] * len(before)
            for number, (statement, parameters) in enumerate(steps):
                # The generation changes when the connection's statements have become useless.
                name = f"{statement.name}_{generation}".encode()
                if statement not in prepared and statement not in sent:
                    pgconn.send_prepare(name, statement.numbered)
                    sent.append(statement)
                values = [value.encode() if isinstance(value, str) else value for value in parameters]
                formats = [Format.BINARY if isinstance(value, bytes) else Format.TEXT for value in parameters]
                pgconn.send_query_prepared(name, values, formats)
                sent.append(number)
            for command in after:
                pgconn.send_query_params(command, None)
            sent += [None] * len(after)
            pgconn.pipeline_sync()
            results = _results(pgconn)
        finally:
            if pgconn.status != ConnStatus.BAD:
                pgconn.exit_pipeline_mode()
    for what, result in zip(sent, results, strict=False):
        if result.status == ExecStatus.FATAL_ERROR:
            error = psycopg.errors.error_from_result(result)
            if error.sqlstate in _STALE:
                prepared.clear()
                connection.__dict__["csms_generation"] = generation + 1
            raise error
        if isinstance(what, Statement):
            prepared.add(what)
    if len(results) != len(sent):
        raise psycopg.OperationalError("the connection was lost")
    return [result for what, result in zip(sent, results, strict=True) if isinstance(what, int)]


def rows_of(connection: psycopg.Connection[Any], result: PGresult) -> list[tuple[Any, ...]]:
    """The rows of a result, in the types of psycopg itself; times are in UTC.

    Django's own loader of times is written in Python, and takes as long as all the other columns together.
    """
    transformer: Any = connection.__dict__.get("csms_transformer")
    if transformer is None:
        transformer = connection.__dict__["csms_transformer"] = Transformer()
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


def _results(pgconn: PGconn) -> list[PGresult]:
    """Everything up to the end of the pipeline; fewer results than statements when the connection dies meanwhile."""
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN | select.POLLOUT)
    while pgconn.flush():
        # The server may be unable to read on before its results are taken.
        if any(event & ~select.POLLOUT for _, event in waiting.poll()):
            pgconn.consume_input()
    waiting.modify(pgconn.socket, select.POLLIN)
    results: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            waiting.poll()
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            # The end of one statement's results; after a lost connection it would come for ever.
            if pgconn.status == ConnStatus.BAD:
                return results
        elif result.status == ExecStatus.PIPELINE_SYNC:
            return results
        else:
            results.append(result)
