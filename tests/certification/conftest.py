"""The set-up every case needs: one charge point with a password, two connectors, and a token of every state."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.certification.case import Case, Tokens
from tests.conftest import Csms


@pytest.fixture
def tokens(csms: Csms) -> Tokens:
    return Tokens.register(csms)


@pytest.fixture
def registered(csms: Csms, tokens: Tokens) -> Case:
    """The case before its charge point has connected."""
    return Case(csms, csms.charge_point(), tokens)


@pytest.fixture
async def case(registered: Case) -> AsyncIterator[Case]:
    """The case with its charge point connected; fails at the end if the server sent anything that nobody asked for."""
    await registered.cp.connect()
    yield registered
    await registered.finish()
