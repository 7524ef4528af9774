"""The admin of charge points and what happens at them: one module a subject, registered by being imported here."""

from __future__ import annotations

from stations.admin.certificate_lists import (
    CertificateAdmin,
    CertificateAuthorityAdmin,
    CertificateRequestAdmin,
    RootCertificateAdmin,
)
from stations.admin.charge_points import ChargePointAdmin
from stations.admin.charging_profiles import ChargingProfileAdmin
from stations.admin.commands import CommandAdmin
from stations.admin.diagnostics import LogRequestAdmin
from stations.admin.firmware import FirmwareImageAdmin, FirmwareUpdateAdmin
from stations.admin.id_tags import IdTagAdmin
from stations.admin.local_auth_lists import LocalAuthListAdmin
from stations.admin.log import (
    BootAdmin,
    ConnectionAttemptAdmin,
    ConnectorStatusAdmin,
    MeterValueAdmin,
    OcppMessageAdmin,
    StrayHandshakeAdmin,
)
from stations.admin.refused_id_tags import RefusedIdTagAdmin
from stations.admin.reservations import ReservationAdmin
from stations.admin.security_events import SecurityEventAdmin
from stations.admin.transactions import TransactionAdmin
from stations.admin.vendor_messages import VendorExtensionAdmin, VendorMessageAdmin

__all__ = [
    "BootAdmin",
    "CertificateAdmin",
    "CertificateAuthorityAdmin",
    "CertificateRequestAdmin",
    "ChargePointAdmin",
    "ChargingProfileAdmin",
    "CommandAdmin",
    "ConnectionAttemptAdmin",
    "ConnectorStatusAdmin",
    "FirmwareImageAdmin",
    "FirmwareUpdateAdmin",
    "IdTagAdmin",
    "LocalAuthListAdmin",
    "LogRequestAdmin",
    "MeterValueAdmin",
    "OcppMessageAdmin",
    "RefusedIdTagAdmin",
    "ReservationAdmin",
    "RootCertificateAdmin",
    "SecurityEventAdmin",
    "StrayHandshakeAdmin",
    "TransactionAdmin",
    "VendorExtensionAdmin",
    "VendorMessageAdmin",
]
