"""Flag: why a transaction is held back."""

from __future__ import annotations

from django.db import models


class Flag(models.TextChoices):
    """Why a transaction is held back from billing until somebody has looked at it."""

    ORPHAN_STOP = "orphan_stop", "Stop without a start"
    SUPERSEDED = "superseded", "Stop not received: a later transaction began on the connector"
    CLOCK_SUSPECT = "clock_suspect", "The charge point's clock is not to be trusted"
    NEGATIVE_ENERGY = "negative_energy", "Meter stop is below meter start, or no figure at all"
    ENERGY_BEYOND_BELIEF = "energy_beyond_belief", "More energy than can have flowed in the time"
    REGISTER_ROLLED_OVER = "register_rolled_over", "The meter's register began again at zero; that is counted in"
    REGISTER_RESTARTED = "register_restarted", "The meter's register fell within the transaction"
    UNITS_DIFFER = "units_differ", "The register at the start is in kWh, the readings are in Wh: energy is from these"
    ENERGY_FROM_METER_VALUES = "energy_from_meter_values", "No usable meter stop: energy is from the last meter value"
    UNKNOWN_CONNECTOR = "unknown_connector", "Connector 0 or negative"
    CLOSED_BY_OPERATOR = "closed_by_operator", "Closed by an operator, not by the charge point"
    STOP_DIFFERS = "stop_differs", "A repeated StopTransaction had other data; the first was kept"
    ID_TAG_REFUSED = "id_tag_refused", "Started with an id tag that was not accepted"
    DUPLICATE_START = "duplicate_start", "The start of another transaction, repeated in other words"
    STOP_AMBIGUOUS = "stop_ambiguous", "It is not clear which transaction a stop belongs to: see the candidates"
    STOP_DOUBTED = "stop_doubted", "Its StopTransaction named another transaction, or one that it does not fit"
