"""The rows of a charge point's life, one module per aggregate."""

from stations.models.charge_point import Boot, ChargePoint
from stations.models.command import Command, CommandBatch
from stations.models.configuration import ConfigurationKey
from stations.models.connection import ConnectionAttempt, ServerProcess
from stations.models.connector import Connector, ConnectorStatus
from stations.models.id_tag import IdTag, IdTagSite
from stations.models.message import OcppMessage
from stations.models.meter_value import MeterValue
from stations.models.transaction import Transaction

__all__ = [
    "Boot",
    "ChargePoint",
    "Command",
    "CommandBatch",
    "ConfigurationKey",
    "ConnectionAttempt",
    "Connector",
    "ConnectorStatus",
    "IdTag",
    "IdTagSite",
    "MeterValue",
    "OcppMessage",
    "ServerProcess",
    "Transaction",
]
