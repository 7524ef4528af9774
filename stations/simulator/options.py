"""What a fleet is asked to do."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_ID_TAG = "SIM-TAG"


@dataclass(frozen=True, kw_only=True)
class FleetOptions:
    """Options of a run.

    `url` is the endpoint, `ws://HOST:PORT/ocpp/TENANT/`; the identity is appended, percent-encoded. Identities are the
    given ones, else those of `credentials` (the first `stations` of them), else `prefix` followed by 0001, 0002, and so
    on. `speed` is a time lapse: the pauses of the scenarios, charging included, pass that many times as
    fast, while timestamps, heartbeats, sample intervals and the energy that flows keep to the clock on the wall: what a
    session has charged is what its power gives in its time. `duration_seconds` and
    `transactions` (rounds of the scenario per station) end the run; without them it goes on until stopped. `validate`
    checks every message against the schemas, which costs about 0.4 ms each. `patience_seconds` is how long a station
    tries to reach a server that does not answer at all.
    Errors: ValueError with a sentence when an option makes no sense.
    """

    url: str
    stations: int | None = None
    prefix: str = "SIM"
    identities: tuple[str, ...] = ()
    password: str | None = None
    credentials: Mapping[str, str] = field(default_factory=dict)
    connectors: int = 2
    scenarios: tuple[str, ...] = ("mixed",)
    id_tags: tuple[str, ...] = (DEFAULT_ID_TAG,)
    sample_interval_seconds: float = 10.0
    speed: float = 1.0
    charging_minutes: tuple[float, float] = (20.0, 60.0)
    duration_seconds: float | None = None
    transactions: int | None = None
    ramp_seconds: float = 0.0
    seed: int | None = None
    insecure: bool = False
    ca_file: str | None = None
    milliseconds: bool = True
    validate: bool = True
    call_timeout_seconds: float = 30.0
    patience_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("ws://", "wss://")):
            raise ValueError(f"The URL must begin with ws:// or wss://, not {self.url!r}.")
        if self.stations is not None and self.stations < 1:
            raise ValueError("There must be at least one station.")
        if not 1 <= self.connectors <= 100:
            raise ValueError("A station has 1 to 100 connectors.")
        if self.speed <= 0:
            raise ValueError("The speed must be above 0.")
        if self.sample_interval_seconds < 0 or self.ramp_seconds < 0:
            raise ValueError("Intervals must not be negative.")
        if not 0 < self.charging_minutes[0] <= self.charging_minutes[1]:
            raise ValueError("Charging minutes are a smaller and a larger number above 0.")
        if self.transactions is not None and self.transactions < 1:
            raise ValueError("The number of transactions must be at least 1.")
        if not self.id_tags or not self.scenarios:
            raise ValueError("At least one idTag and one scenario are needed.")
        if too_long := [tag for tag in self.id_tags if not 1 <= len(tag) <= 20]:
            raise ValueError(f"An idTag has 1 to 20 characters, not {too_long[0]!r}.")

    def all_identities(self) -> list[str]:
        """Return the identities of the fleet, in the order they connect."""
        if self.identities:
            return list(self.identities)
        if self.credentials:
            return list(self.credentials)[: self.stations]
        return [f"{self.prefix}{number:04d}" for number in range(1, (self.stations or 1) + 1)]

    def password_for(self, identity: str) -> str | None:
        """Return a station's HTTP Basic password, or None to connect without credentials."""
        return self.credentials.get(identity, self.password)

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return one context for all stations, or None for ws://.

        Errors: ValueError when the CA file cannot be read.
        """
        if not self.url.startswith("wss://"):
            return None
        if self.ca_file and not Path(self.ca_file).is_file():
            raise ValueError(f"There is no CA file {self.ca_file}.")
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise ValueError(f"{self.ca_file} is not a list of PEM certificates.") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
