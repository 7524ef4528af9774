"""What the calls of one transaction share.

Context: a lane answers many calls in one transaction (stations/dispatch.py). A look-up or an insert a call would cost
more than the call itself.
Choice: the batch looks up once what its calls will need and collects what they write; `flush` writes each kind in one
statement. Consequence: a profile function never inserts a meter value, a status or a log row itself; it adds it here,
and reads charge points, id tags, connectors, transactions and open commands through here. What asks the database
itself about rows that a call before may have written calls `flush_facts` first. Outside a lane (a test, a shell)
`open_batch` makes one of its own, flushed at its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Model

from stations import lane_sql
from stations.bulk import insert_rows, update_rows
from stations.effects import Effects
from stations.id_tag_spellings import alike, mac_of
from stations.lane_sql import Owner
from stations.models import (
    Boot,
    ChargePoint,
    ConfigurationKey,
    Connector,
    ConnectorStatus,
    IdTag,
    MeterValue,
    OcppMessage,
    RefusedIdTag,
    SecurityEvent,
    VendorExtension,
    VendorMessage,
)
from stations.open_commands import OpenCommands
from stations.transaction_rows import LastReading, TransactionRows
from tenants.models import Tenant
from tenants.scope import current_tenant_id

_current: ContextVar[Batch | None] = ContextVar("stations.batch", default=None)

MESSAGE_COLUMNS = (
    "tenant_id", "charge_point_id", "incoming", "message_type", "action", "message_id", "payload", "received_at",
    "latency_ms", "error",
)  # fmt: skip
METER_VALUE_COLUMNS = (
    "tenant_id", "charge_point_id", "connector_id", "transaction_id", "transaction_ref", "matched_by", "timestamp",
    "received_at", "energy_wh", "power_w", "soc_percent", "sampled_value", "digest",
)  # fmt: skip
STATUS_COLUMNS = (
    "tenant_id", "charge_point_id", "connector_id", "status", "error_code", "info", "vendor_id", "vendor_error_code",
    "at", "received_at",
)  # fmt: skip
SECURITY_EVENT_COLUMNS = (
    "tenant_id", "charge_point_id", "source", "type", "tech_info", "critical", "timestamp", "received_at", "identity",
    "address", "times", "last_at", "acknowledged_by", "digest",
)  # fmt: skip
# What a repetition replaces comes last.
REFUSED_COLUMNS = (
    "tenant_id", "charge_point_id", "key", "first_at", "times", "id_tag", "status", "reason", "action", "last_at",
)  # fmt: skip
VENDOR_MESSAGE_COLUMNS = (
    "tenant_id", "charge_point_id", "vendor_id", "message_id", "data", "status", "response", "received_at",
)  # fmt: skip
BOOT_COLUMNS = ("tenant_id", "charge_point_id", "at", "payload", "status")
DEPARTURE_COLUMNS = ("connected", "connection_owner", "disconnected_at")
# What a ChangeConfiguration that was taken says of its key, at once and after the next boot.
DESIRED_COLUMNS = ("desired_value", "desired_at", "reboot_required")
TAKEN_COLUMNS = (*DESIRED_COLUMNS, "value", "known")
CONNECTOR_COLUMNS = (
    "status",
    "error_code",
    "info",
    "vendor_id",
    "vendor_error_code",
    "status_at",
    "status_received_at",
)


def secret_keys_of_open_batch(tenant_id: int) -> frozenset[str] | None:
    """Batch.secret_keys of the batch that is open, if it is one of this tenant."""
    batch = _current.get()
    return batch.secret_keys if batch is not None and batch.tenant_id == tenant_id else None


@contextmanager
def open_batch() -> Iterator[Batch]:
    """The batch that is open, else a new one that is flushed when the block ends without an error."""
    batch = _current.get()
    if batch is not None:
        yield batch
        return
    batch = Batch(current_tenant_id())
    token = _current.set(batch)
    try:
        yield batch
        batch.flush()
    finally:
        _current.reset(token)


def flush_open_batch() -> None:
    """Have the database know what the open batch has collected so far, before a query; nothing to do outside one."""
    batch = _current.get()
    if batch is not None:
        batch.flush_facts()


class Batch:
    """Rows looked up once and rows to write, for one tenant and one database transaction."""

    def __init__(self, tenant_id: int) -> None:
        self.tenant_id = tenant_id
        self._secret_keys: frozenset[str] | None = None
        self.transactions = TransactionRows(tenant_id)
        self.commands = OpenCommands()
        self.effects = Effects(self.commands)
        self._id_tags: dict[str, IdTag | None] = {}
        self._autocharge: bool | None = None
        self._extensions: dict[str, VendorExtension] | None = None
        self._owners: dict[int, Owner | None] = {}
        self._connectors: dict[int, dict[int, Connector]] = {}
        self._changed_connectors: dict[tuple[int, int], Connector] = {}
        self._configuration: dict[tuple[int, str], ConfigurationKey] = {}
        self._departures: dict[int, tuple[Any, ...]] = {}
        self._meter_values: list[tuple[Any, ...]] = []
        self._metered: set[int | None] = set()
        # Of each transaction the newest row with an energy, whether or not it is written already.
        self._latest: dict[int | None, tuple[Any, ...]] = {}
        self._stop_tolerance: timedelta | None = None
        self._statuses: list[tuple[Any, ...]] = []
        self._boots: list[tuple[Any, ...]] = []
        self._updates: dict[tuple[type[Model], tuple[str, ...]], dict[int, Model]] = {}
        self._security_events: list[tuple[Any, ...]] = []
        self._refused: dict[tuple[int, str], list[Any]] = {}
        self._vendor_messages: list[tuple[Any, ...]] = []
        self._messages: list[tuple[Any, ...]] = []

    # --- looked up once ----------------------------------------------------------------------------------------------
    def id_tag(self, id_tag: str) -> IdTag | None:
        key = id_tag.upper()
        if key not in self._id_tags:
            self.put_id_tags([key], lane_sql.look_up(self.tenant_id, id_tag_keys=[key]).id_tags)
        return self._id_tags[key]

    def put_id_tags(self, keys: Iterable[str], id_tags: Mapping[str, IdTag]) -> None:
        """Learn id tags from a look-up made already; what is missing may be there by another name."""
        self._id_tags |= dict.fromkeys(keys) | dict(id_tags)
        missing = {key for key in keys if key not in id_tags}
        if missing:
            self._id_tags |= self._by_other_names(missing)

    def _by_other_names(self, keys: Collection[str]) -> dict[str, IdTag]:
        """The id tags that these keys stand for: as aliases, or as a vehicle's MAC address in another spelling."""
        macs = {key: mac for key in keys if (mac := mac_of(key))}
        found, similar = lane_sql.look_up_other_names(self.tenant_id, keys, {alike(mac) for mac in macs.values()})
        for key, mac in macs.items():
            same = [tag for tag in similar.get(alike(mac), ()) if mac_of(tag.key) == mac]
            if same and key not in found and self.autocharge_enabled:
                found[key] = same[0]
        return found

    @property
    def autocharge_enabled(self) -> bool:
        """Whether the tenant lets vehicles charge by their MAC address, however it is written."""
        if self._autocharge is None:
            enabled = Tenant.objects.filter(pk=self.tenant_id).values_list("autocharge_enabled", flat=True)
            self._autocharge = bool(enabled.first())
        return self._autocharge

    def vendor_extension(self, vendor_id: str) -> VendorExtension | None:
        """The entry of this vendorId, if the tenant has switched it on; looked up once for all of them."""
        if self._extensions is None:
            self._extensions = {row.key: row for row in VendorExtension.objects.filter(enabled=True)}
        return self._extensions.get(vendor_id.upper())

    def put_owners(self, ids: Iterable[int], owners: Mapping[int, Owner]) -> None:
        """Learn whose these transactions are from a look-up made already; what is missing does not exist."""
        self._owners |= dict.fromkeys(ids) | dict(owners)

    def owner(self, transaction_id: int) -> Owner | None:
        """Whose the transaction of this id is, as it is now; None when there is none."""
        tx = self.transactions.known(transaction_id)
        if tx is not None:
            return Owner(tx.charge_point_id, tx.connector_id, tx.started_at, tx.stopped_at)
        if transaction_id not in self._owners:
            self.put_owners([transaction_id], lane_sql.look_up(self.tenant_id, transaction_ids=[transaction_id]).owners)
        return self._owners[transaction_id]

    def last_reading(self, transaction_id: int) -> LastReading | None:
        """The newest reading of the transaction's energy register, by arrival; None without one."""
        row = self._latest.get(transaction_id)
        if row is None:
            return self.transactions.last_reading(transaction_id)
        values = dict(zip(METER_VALUE_COLUMNS, row, strict=True))
        return LastReading(values["timestamp"], Decimal(values["energy_wh"]), not values["matched_by"])

    @property
    def secret_keys(self) -> frozenset[str]:
        """The configuration keys that the tenant has declared secret, in lower case; looked up once."""
        if self._secret_keys is None:
            self._secret_keys = Tenant.objects.only("secret_configuration_keys").get(pk=self.tenant_id).secret_keys
        return self._secret_keys

    def put_tenant(self, tenant: Tenant) -> None:
        """The batch's tenant, where it has been looked up anyway."""
        self._secret_keys = tenant.secret_keys

    @property
    def stop_tolerance(self) -> timedelta:
        """How far the times of a stop and of its repetition may be apart at this tenant."""
        if self._stop_tolerance is None:
            seconds = Tenant.objects.values_list("stop_tolerance_seconds", flat=True).get(pk=self.tenant_id)
            self._stop_tolerance = timedelta(seconds=seconds)
        return self._stop_tolerance

    def connector(self, charge_point_id: int, connector_id: int) -> Connector | None:
        if charge_point_id not in self._connectors:
            self.put_connectors(lane_sql.look_up(self.tenant_id, connectors_of=[charge_point_id]).connectors)
        return self._connectors[charge_point_id].get(connector_id)

    def only_connector(self, charge_point_id: int) -> int:
        """The number of the charge point's connector if it has one; 0 when it has several, or none is known."""
        self.connector(charge_point_id, 0)
        numbers = [number for number in self._connectors[charge_point_id] if number > 0]
        return numbers[0] if len(numbers) == 1 else 0

    def put_connectors(self, connectors: Mapping[int, dict[int, Connector]]) -> None:
        """Learn all connectors of these charge points from a look-up made already."""
        self._connectors |= connectors

    # --- written at the end ------------------------------------------------------------------------------------------
    def add_meter_value(self, *values: Any) -> None:
        """One row in the order of METER_VALUE_COLUMNS after tenant_id."""
        row = (self.tenant_id, *values)
        self._meter_values.append(row)
        self._metered.add(values[2])
        if values[7] is not None:
            self._latest[values[2]] = row

    def add_message(self, *values: Any) -> None:
        """One row in the order of MESSAGE_COLUMNS after tenant_id."""
        self._messages.append((self.tenant_id, *values))

    def add_status(self, *values: Any) -> None:
        """One row of history in the order of STATUS_COLUMNS after tenant_id."""
        self._statuses.append((self.tenant_id, *values))

    def add_boot(self, *values: Any) -> None:
        """One row in the order of BOOT_COLUMNS after tenant_id."""
        self._boots.append((self.tenant_id, *values))

    def update(self, row: Model, columns: tuple[str, ...]) -> None:
        """Write these columns of a row that exists; with the values that it has at flush."""
        self._updates.setdefault((type(row), columns), {})[row.pk] = row

    def add_security_event(self, *values: Any) -> None:
        """One row in the order of SECURITY_EVENT_COLUMNS after tenant_id; one that is there already stays as it is."""
        self._security_events.append((self.tenant_id, *values))

    def add_refused_id_tag(
        self, charge_point_id: int, id_tag: str, status: str, reason: str, action: str, now: datetime
    ) -> None:
        """Count a card that was refused; the row of this charge point and card says when it was first and last."""
        key = id_tag.upper()[:255]
        row = self._refused.setdefault((charge_point_id, key), [key, now, 0])
        row[2] += 1
        row[3:] = (id_tag[:255], status, reason, action, now)

    def add_vendor_message(self, *values: Any) -> None:
        """One row in the order of VENDOR_MESSAGE_COLUMNS after tenant_id."""
        self._vendor_messages.append((self.tenant_id, *values))

    def put_connector(self, connector: Connector) -> None:
        """Make `connector` the row of its charge point and number; written at flush, inserted if new."""
        self._connectors[connector.charge_point_id][connector.connector_id] = connector
        self._changed_connectors[connector.charge_point_id, connector.connector_id] = connector

    def put_configuration_key(self, row: ConfigurationKey) -> None:
        """Keep what `row` says of the value wanted, and, unless a reboot is required, of the present one."""
        if (row.charge_point_id, row.key) in self._configuration:
            self._write_configuration()
        self._configuration[row.charge_point_id, row.key] = row

    def put_departure(self, charge_point_id: int, generation: int, at: datetime) -> None:
        """The connection of `generation` ended at `at`; written unless there is a newer one by then."""
        self._departures[charge_point_id] = (charge_point_id, False, "", at, generation)

    def flush_readings_of(self, transaction_id: int) -> None:
        """Write the meter values collected so far, if any of them is one of this transaction."""
        if transaction_id in self._metered:
            self._flush_meter_values()

    def _flush_meter_values(self) -> None:
        insert_rows(MeterValue, METER_VALUE_COLUMNS, self._meter_values)
        self._meter_values, self._metered = [], set()

    def flush_facts(self) -> None:
        """Write everything but the message log: what a rollback takes away again."""
        self.transactions.write()
        self.commands.write()
        for (model, columns), rows in self._updates.items():
            # In the order of the key, so that two lanes that meet on a row wait instead of deadlocking.
            changed = [(pk, *(getattr(row, column) for column in columns)) for pk, row in sorted(rows.items())]
            update_rows(model, columns, changed)
        insert_rows(Boot, BOOT_COLUMNS, self._boots)
        self._flush_meter_values()
        insert_rows(ConnectorStatus, STATUS_COLUMNS, self._statuses)
        insert_rows(SecurityEvent, SECURITY_EVENT_COLUMNS, self._security_events)
        # In the order of the key, so that two lanes that meet on a row wait instead of deadlocking.
        changed_connectors = [
            (self.tenant_id, *key, *(getattr(connector, column) for column in CONNECTOR_COLUMNS))
            for key, connector in sorted(self._changed_connectors.items())
        ]
        columns = ("tenant_id", "charge_point_id", "connector_id", *CONNECTOR_COLUMNS)
        insert_rows(Connector, columns, changed_connectors, replace=CONNECTOR_COLUMNS)
        insert_rows(VendorMessage, VENDOR_MESSAGE_COLUMNS, self._vendor_messages)
        self._statuses, self._security_events, self._changed_connectors = [], [], {}
        self._vendor_messages = []
        self._write_refused()
        self._boots, self._updates = [], {}
        self._write_configuration()
        departures = [row for _, row in sorted(self._departures.items())]
        update_rows(ChargePoint, DEPARTURE_COLUMNS, departures, unless_changed=("connection_generation",))
        self._departures = {}

    def _write_refused(self) -> None:
        if not self._refused:
            return
        rows = [(self.tenant_id, place[0], *row) for place, row in sorted(self._refused.items())]
        RefusedIdTag.objects.make_room({place[0] for place in self._refused})
        insert_rows(RefusedIdTag, REFUSED_COLUMNS, rows, replace=REFUSED_COLUMNS[5:], add=("times",))
        self._refused = {}

    def _write_configuration(self) -> None:
        rows = [row for _, row in sorted(self._configuration.items())]
        self._configuration = {}
        for later, columns in ((False, TAKEN_COLUMNS), (True, DESIRED_COLUMNS)):
            chosen = [row for row in rows if row.reboot_required is later]
            if chosen:
                ConfigurationKey.objects.bulk_create(
                    chosen, update_conflicts=True, update_fields=list(columns), unique_fields=["charge_point", "key"]
                )

    def flush(self) -> None:
        """Write everything collected, one statement a kind."""
        self.flush_facts()
        insert_rows(OcppMessage, MESSAGE_COLUMNS, self._messages)
        self._messages = []
