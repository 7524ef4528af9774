"""The two tenants of tests/stations/api, for what is tested of the API beside its charge points."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache

from tests.stations.api.conftest import a, b

__all__ = ["a", "b"]


@pytest.fixture(autouse=True)
def _no_rates_left_over() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()
