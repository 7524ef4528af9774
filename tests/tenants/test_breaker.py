"""The breaker by itself: who waits, who is refused, and who notices that the database is back."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool, PoolTimeout

from tenants.postgresql.breaker import Away, Breaker, patience
from tests.servers import wait_until

AWAY = "connection refused"
FULL = "FATAL:  sorry, too many clients already"


class Server:
    """A server that answers as told, without one."""

    def __init__(self, failure: str | None = None) -> None:
        self.failure = failure
        self.pools_ended = 0
        self.pool = dead_end()

    def connect(self) -> Any:
        if self.failure is not None:
            raise psycopg.OperationalError(self.failure)
        return self

    def close(self) -> None:
        """A connection of the probe."""

    def end_pool(self) -> None:
        self.pools_ended += 1
        self.pool.close(timeout=0)


def dead_end() -> ConnectionPool[Any]:
    """A pool whose connections never come."""

    class NeverConnects(psycopg.Connection[Any]):
        @classmethod
        def connect(cls, *args: Any, **kwargs: Any) -> Any:
            raise psycopg.OperationalError(AWAY)

    return ConnectionPool(min_size=0, max_size=1, open=False, timeout=1.0, connection_class=NeverConnects)


@pytest.fixture
def server() -> Server:
    return Server()


def breaker_of(server: Server) -> Breaker:
    return Breaker(server.connect, server.end_pool)


def seconds_of(action: Any) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def test_refused_while_away_and_at_once_from_then_on(server: Server) -> None:
    server.failure = AWAY
    breaker = breaker_of(server)

    def ask() -> None:
        with pytest.raises(Away), patience(time.monotonic() + 30):
            breaker.check_out(lambda: server.pool)

    assert seconds_of(ask) < 1.5
    assert breaker.is_open
    assert seconds_of(ask) < 0.1
    assert server.pools_ended >= 1
    server.failure = None
    wait_until(lambda: not breaker.is_open, timeout_seconds=2.5)


def test_all_who_wait_are_told_together(server: Server) -> None:
    server.failure = AWAY
    breaker = breaker_of(server)
    told: list[type[BaseException]] = []

    def ask() -> None:
        try:
            with patience(time.monotonic() + 30):
                breaker.check_out(lambda: server.pool)
        except psycopg.OperationalError as error:
            told.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert told == [Away] * 8


@pytest.mark.parametrize("failure", [None, FULL])
def test_server_that_is_there_is_waited_for_to_the_end_of_patience(server: Server, failure: str | None) -> None:
    server.failure = failure
    breaker = breaker_of(server)

    def ask() -> None:
        with pytest.raises(PoolTimeout), patience(time.monotonic() + 1.2):
            breaker.check_out(lambda: server.pool)

    assert 1.2 <= seconds_of(ask) < 5
    assert not breaker.is_open


def test_without_a_word_the_pool_says_how_long(server: Server) -> None:
    breaker = breaker_of(server)

    def ask() -> None:
        with pytest.raises(PoolTimeout):
            breaker.check_out(lambda: server.pool)

    assert 1.0 <= seconds_of(ask) < 5
