"""How long the rows of every table are kept: one line a model, and the reason where it is for ever.

Context: a table that nobody thinks of grows until a disk is full. Choice: every model of the installation has a rule
here, looked up by its label; a test walks the models and fails for one without. Consequence: whoever adds a model says
how its rows end. stations/retention.py does what the rules say, each tenant's rows by its own settings.

Days are named by the Tenant's attribute that has them; 0 keeps for ever. Age is counted from our own time of receipt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db.models import Q

from stations.models.certificate import OPEN_REQUEST_STATES
from stations.models.command import OPEN_STATUSES
from tenants.models import JobState

MESSAGES, HISTORY, AUDIT = "message_retention_days", "kept_history_days", "kept_audit_days"


@dataclass(frozen=True, slots=True)
class ByAge:
    """Deleted when older than the tenant's days: the first of `columns` that is not null says how old.

    `only`: which rows may go at all. Rows are gone through in the order of their ids, unless an index finds the old
    ones: `indexed`, by the column itself, `measured`, by charge point and this column of the charge point's own time.
    `counted_as`: the word for the table in reports.
    """

    days: str
    columns: tuple[str, ...]
    only: Q = field(default_factory=Q)
    indexed: bool = False
    measured: str = ""
    counted_as: str = ""


@dataclass(frozen=True, slots=True)
class Expiring:
    """Deleted when the time in `column` is over."""

    column: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Deleted by a function of its own: which, and when."""

    how: str


@dataclass(frozen=True, slots=True)
class GoesWith:
    """Deleted with the row that it belongs to, a model by its label."""

    owner: str


@dataclass(frozen=True, slots=True)
class ForEver:
    """Never deleted by a job."""

    because: str


Rule = ByAge | Expiring | Elsewhere | GoesWith | ForEver

_PEOPLE = ForEver("people make these rows and delete them")
_STATE = ForEver("it is the present state: one row for each thing there is, replaced by the next")

RETENTION: dict[str, Rule] = {
    # The installation's own.
    "admin.LogEntry": ForEver("only platform administrators' changes of accounts, by hand; tenants have the audit log"),
    "auth.Group": _PEOPLE,
    "auth.Group_permissions": GoesWith("auth.Group"),
    "auth.Permission": ForEver("one for each kind of row and verb, made by the software"),
    "auth.User": _PEOPLE,
    "auth.User_groups": GoesWith("auth.User"),
    "auth.User_user_permissions": GoesWith("auth.User"),
    "contenttypes.ContentType": ForEver("one for each kind of row, made by the software"),
    "sessions.Session": Expiring("expire_date"),
    "stations.StrayHandshake": Elsewhere("stations.tasks.forget_strays, 30 days after the last alike; 2,000 at most"),
    "stations.ServerProcess": Elsewhere("connections.forget_dead_processes, a day after its last sign of life"),
    "tenants.Guessing": Elsewhere("tenants.tasks.forget_guessing, 90 days after the last attempt"),
    "tenants.Tenant": _PEOPLE,
    "tenants.WriteProbe": ForEver("a single row, written to see whether the database takes writes"),
    # What people keep.
    "billing.Tariff": _PEOPLE,
    "billing.TariffVersion": ForEver("what was rated by it must be found the same years later"),
    "stations.CertificateAuthority": _PEOPLE,
    "stations.ChargePoint": _PEOPLE,
    "stations.ChargingProfile": _PEOPLE,
    "stations.FirmwareImage": _PEOPLE,
    "stations.IdTag": _PEOPLE,
    "stations.IdTagAlias": GoesWith("stations.IdTag"),
    "stations.IdTagSite": GoesWith("stations.IdTag"),
    "stations.LocalAuthListIdTag": GoesWith("stations.LocalAuthList"),
    "stations.LocalAuthListSite": GoesWith("stations.LocalAuthList"),
    "stations.RootCertificate": _PEOPLE,
    "stations.VendorExtension": _PEOPLE,
    "tenants.ApiKey": _PEOPLE,
    "tenants.ApiKeySite": GoesWith("tenants.ApiKey"),
    "tenants.Membership": _PEOPLE,
    "tenants.MembershipSite": GoesWith("tenants.Membership"),
    "tenants.Site": _PEOPLE,
    # What is so at present.
    "stations.ConfigurationKey": _STATE,
    "stations.Connector": _STATE,
    "stations.InstalledCertificate": _STATE,
    "stations.InstalledProfile": _STATE,
    "stations.LocalAuthList": _STATE,
    "stations.LocalAuthListEntry": _STATE,
    "stations.PasswordChange": ForEver("it goes as soon as its outcome is known; till then two passwords may hold"),
    "stations.RequestNumber": _STATE,
    "stations.ReservationNumber": Elsewhere("retention.purge, all but the newest: it only counts"),
    # What is proved by it.
    "stations.Certificate": ForEver("who could sign in as which charge point; a few a charge point in years"),
    "stations.CertificateRevocation": ForEver("a revocation list must name it until the certificate has expired"),
    "stations.Reservation": ForEver("reservations are charged for; the transaction names the one that it used"),
    "stations.Transaction": ForEver("invoices are made of it"),
    # What came and went.
    "stations.Boot": ByAge(HISTORY, ("at",)),
    "stations.CertificateRequest": ByAge(HISTORY, ("received_at",), ~Q(state__in=OPEN_REQUEST_STATES)),
    "stations.Command": ByAge(HISTORY, ("created_at",), ~Q(status__in=OPEN_STATUSES) & Q(password_change__isnull=True)),
    "stations.CommandBatch": ByAge(HISTORY, ("created_at",), Q(commands__isnull=True), counted_as="command batches"),
    "stations.ConnectionAttempt": ByAge(MESSAGES, ("at",)),
    "stations.ConnectorStatus": ByAge(HISTORY, ("received_at",), measured="at"),
    "stations.DiagnosticsStatus": ByAge(
        HISTORY, ("last_received_at", "received_at"), Q(request__isnull=True), counted_as="diagnostics statuses"
    ),
    "stations.FileUrl": GoesWith("stations.FirmwareUpdate or stations.LogRequest"),
    "stations.FirmwareStatus": ByAge(
        HISTORY, ("last_received_at", "received_at"), Q(update__isnull=True), counted_as="firmware statuses"
    ),
    "stations.FirmwareUpdate": ByAge(HISTORY, ("finished_at", "status_at", "created_at")),
    "stations.LogRequest": ByAge(HISTORY, ("finished_at", "status_at", "created_at"), counted_as="log requests"),
    "stations.MeterValue": Elsewhere("retention.purge and drop_partitions, by meter_value_retention_days"),
    "stations.OcppMessage": Elsewhere("retention.purge and drop_partitions, by message_retention_days"),
    "stations.RefusedIdTag": ByAge(HISTORY, ("last_at",), indexed=True),
    "stations.SecurityEvent": ByAge(MESSAGES, ("received_at",)),
    "stations.UploadedFile": GoesWith("stations.LogRequest"),
    "stations.VendorMessage": ByAge(MESSAGES, ("received_at",)),
    "tenants.AuditEntry": ByAge(AUDIT, ("at",)),
    "tenants.IdempotencyRecord": Expiring("expires_at"),
    "tenants.JobRun": ByAge(HISTORY, ("created_at",), Q(state__in=(JobState.SUCCEEDED, JobState.FAILED))),
}
