"""The admin of charge points and what happens at them: one module a subject, registered by being imported here."""

from __future__ import annotations

from stations.admin.charge_points import ChargePointAdmin
from stations.admin.commands import CommandAdmin
from stations.admin.id_tags import IdTagAdmin
from stations.admin.log import (
    BootAdmin,
    ConnectionAttemptAdmin,
    ConnectorStatusAdmin,
    MeterValueAdmin,
    OcppMessageAdmin,
)
from stations.admin.transactions import TransactionAdmin

__all__ = [
    "BootAdmin",
    "ChargePointAdmin",
    "CommandAdmin",
    "ConnectionAttemptAdmin",
    "ConnectorStatusAdmin",
    "IdTagAdmin",
    "MeterValueAdmin",
    "OcppMessageAdmin",
    "TransactionAdmin",
]
