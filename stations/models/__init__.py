"""The rows of a charge point's life, one module per aggregate."""

from stations.models.certificate import (
    Certificate,
    CertificateAuthority,
    CertificateRequest,
    CertificateRevocation,
    InstalledCertificate,
    RootCertificate,
)
from stations.models.charge_point import Boot, ChargePoint
from stations.models.charging_profile import ChargingProfile, InstalledProfile
from stations.models.command import Command, CommandBatch
from stations.models.configuration import ConfigurationKey
from stations.models.connection import ConnectionAttempt, ServerProcess, StrayHandshake
from stations.models.connector import Connector, ConnectorStatus
from stations.models.file_exchange import FileUrl, UploadedFile
from stations.models.firmware import DiagnosticsStatus, FirmwareImage, FirmwareStatus, FirmwareUpdate, LogRequest
from stations.models.id_tag import IdTag, IdTagAlias, IdTagSite
from stations.models.local_auth_list import (
    LocalAuthList,
    LocalAuthListEntry,
    LocalAuthListIdTag,
    LocalAuthListSite,
)
from stations.models.message import OcppMessage
from stations.models.meter_value import MeterValue
from stations.models.password_change import PasswordChange
from stations.models.refused_id_tag import RefusedIdTag
from stations.models.request_number import RequestNumber
from stations.models.reservation import Reservation, ReservationNumber
from stations.models.security_event import SecurityEvent
from stations.models.transaction import Transaction
from stations.models.vendor_message import VendorExtension, VendorMessage

__all__ = [
    "Boot",
    "Certificate",
    "CertificateAuthority",
    "CertificateRequest",
    "CertificateRevocation",
    "ChargePoint",
    "ChargingProfile",
    "Command",
    "CommandBatch",
    "ConfigurationKey",
    "ConnectionAttempt",
    "Connector",
    "ConnectorStatus",
    "DiagnosticsStatus",
    "FileUrl",
    "FirmwareImage",
    "FirmwareStatus",
    "FirmwareUpdate",
    "IdTag",
    "IdTagAlias",
    "IdTagSite",
    "InstalledCertificate",
    "InstalledProfile",
    "LocalAuthList",
    "LocalAuthListEntry",
    "LocalAuthListIdTag",
    "LocalAuthListSite",
    "LogRequest",
    "MeterValue",
    "OcppMessage",
    "RefusedIdTag",
    "RequestNumber",
    "PasswordChange",
    "Reservation",
    "ReservationNumber",
    "RootCertificate",
    "SecurityEvent",
    "ServerProcess",
    "StrayHandshake",
    "Transaction",
    "UploadedFile",
    "VendorExtension",
    "VendorMessage",
]
