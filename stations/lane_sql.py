"""The lane's own SQL: what every message needs, in words that never change, and in as few round trips as there can be.

Context: building a query, reading its rows into models and waiting for each answer of the database in turn costs more
than everything else that answering a message takes. While the lane's thread waits, the event loop has the interpreter,
and each wake-up has to win it back.
Choice: constant statements (prepared on PostgreSQL), the look-ups of a batch sent together with its BEGIN, and its
inserts sent together with the COMMIT: two round trips. Consequence: these statements name tables and columns that the
models define; a test compares them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import orjson
from django.db import connection
from django.db.models import Model
from django.db.models.base import ModelState

from stations.bulk import as_arrays
from stations.models import ChargePoint, Connector, IdTag
from stations.models.charge_point import LANE_COLUMNS
from stations.models.transaction import SAME_INSTANT
from tenants.postgresql.arrays import Kind, as_array
from tenants.postgresql.exchange import Statement, Step

Row = TypeVar("Row", bound=Model)

_ONE_OF = " IN (SELECT value FROM json_each(%s))"
_ANY = " = ANY(%s)"


class _Question:
    """A SELECT of rows of one tenant by values of one column, in the words of both databases.

    `sql` ends with the column, which is of `kind`; `times` are the places of the selected times.
    """

    def __init__(self, sql: str, kind: Kind, times: Collection[int] = ()) -> None:
        self.sql, self.kind, self.times = sql, kind, times
        self.statement = Statement(sql + _ANY)


_NAMES = ("id", *LANE_COLUMNS)
_CHARGE_POINTS = _Question(
    f"SELECT {', '.join(_NAMES)} FROM stations_chargepoint WHERE tenant_id = %s AND id",  # noqa: S608
    "plain",
    [index for index, name in enumerate(_NAMES) if name.endswith(("_at", "_until"))],
)
_OWNERS = _Question(
    "SELECT id, charge_point_id, connector_id, started_at, stopped_at FROM stations_transaction"
    " WHERE tenant_id = %s AND id",
    "plain",
    (3, 4),
)
_TAG_NAMES = ("id", "tenant_id", "key", "parent_id_tag", "expiry_date", "blocked", "max_active_transactions")
_OF_TAG = f"{', '.join(f'tag.{name}' for name in _TAG_NAMES)}, allowed.site_id"
_SITES = "LEFT JOIN stations_idtagsite AS allowed ON allowed.id_tag_id = tag.id"
_ID_TAGS = _Question(
    f"SELECT {_OF_TAG} FROM stations_idtag AS tag {_SITES} WHERE tag.tenant_id = %s AND tag.key",  # noqa: S608
    "text",
    [_TAG_NAMES.index("expiry_date")],
)
# By another name: an alias, or what all spellings of a vehicle's MAC address have in common.
_ALIASES = _Question(
    f"SELECT alias.key, {_OF_TAG} FROM stations_idtagalias AS alias JOIN stations_idtag AS tag"  # noqa: S608
    f" ON tag.id = alias.id_tag_id {_SITES} WHERE alias.tenant_id = %s AND alias.key",
    "text",
    [1 + _TAG_NAMES.index("expiry_date")],
)
_ALIKE = _Question(
    f"SELECT tag.alike, {_OF_TAG} FROM stations_idtag AS tag {_SITES} WHERE tag.tenant_id = %s AND tag.alike",  # noqa: S608
    "text",
    [1 + _TAG_NAMES.index("expiry_date")],
)
_CONNECTOR_NAMES = ("id", "tenant_id", "charge_point_id", "connector_id", "status_at", "status_received_at")
_CONNECTORS = _Question(
    f"SELECT {', '.join(_CONNECTOR_NAMES)} FROM stations_connector WHERE tenant_id = %s AND charge_point_id",  # noqa: S608
    "plain",
    [_CONNECTOR_NAMES.index("status_at"), _CONNECTOR_NAMES.index("status_received_at")],
)
# What was opened by this StartTransaction, in whatever words, in the order of StartKey but with two times that it began
# between: what the constraint (stations/models/start_constraint.py) lets in once.
_STARTED = """SELECT id FROM stations_transaction WHERE tenant_id = %s AND orphan_ref = '' AND duplicate_of IS NULL
 AND charge_point_id = {} AND connector_id = {} AND id_tag_key = {} AND started_at > {} AND started_at < {}
 AND meter_start_wh = {}"""
_ASK_STARTS = Statement(
    "SELECT asked.number, known.id,"  # noqa: S608
    " CASE WHEN known.id IS NULL THEN nextval(pg_get_serial_sequence('stations_transaction', 'id')) END"
    " FROM unnest(%s::bigint[], %s::integer[], %s::varchar[], %s::timestamptz[], %s::bigint[]) WITH ORDINALITY"
    " AS asked(place, connector, tag, started, meter, number) LEFT JOIN LATERAL ("
    + _STARTED.format(
        "place", "connector", "tag", "started - interval '1 second'", "started + interval '1 second'", "meter"
    )
    + " ORDER BY id LIMIT 1) AS known ON true"
)
_STARTS = "SELECT asked.key + 1, ({} ORDER BY id LIMIT 1), NULL FROM json_each(%s) AS asked".format(  # noqa: S608
    _STARTED.format(*(f"json_extract(asked.value, '$[{index}]')" for index in range(6)))
)
# The transaction that began last on a connector up to a time: an entry of the index by start.
_BEGUN = """SELECT id FROM stations_transaction WHERE tenant_id = %s AND charge_point_id = {} AND connector_id = {}
 AND started_at <= {} AND orphan_ref = '' AND duplicate_of IS NULL ORDER BY started_at DESC LIMIT 1"""
_ASK_BEGUN = Statement(
    "SELECT asked.number, known.id"  # noqa: S608
    " FROM unnest(%s::bigint[], %s::integer[], %s::timestamptz[]) WITH ORDINALITY"
    " AS asked(place, plug, moment, number) JOIN LATERAL ("
    + _BEGUN.format("place", "plug", "moment")
    + ") AS known ON true"
)
_BEGUN_IN_SQLITE = "SELECT asked.key + 1, ({}) FROM json_each(%s) AS asked".format(  # noqa: S608
    _BEGUN.format(*(f"json_extract(asked.value, '$[{index}]')" for index in range(3)))
)


class Owner(NamedTuple):
    """Whose a transaction is, and when and where it ran; `stopped_at` is None while it does."""

    charge_point_id: int
    connector_id: int
    started_at: datetime
    stopped_at: datetime | None


class Found(NamedTuple):
    """What a look-up found, by id; what does not exist is left out.

    `owners`: of each transaction whose it is; `id_tags` by key; `connectors` of each charge point asked
    about, by number.
    """

    charge_points: dict[int, ChargePoint]
    owners: dict[int, Owner]
    id_tags: dict[str, IdTag]
    connectors: dict[int, dict[int, Connector]]


class StartKey(NamedTuple):
    """What a StartTransaction is recognised by when it is repeated; the meter reading in Wh.

    The tag is without case (`id_tag_key`); times that are less than a second apart are the same.
    """

    charge_point_id: int
    connector_id: int
    id_tag_key: str
    started_at: datetime
    meter_start_wh: int

    @property
    def but_for_the_time(self) -> tuple[int, int, str, int]:
        return self.charge_point_id, self.connector_id, self.id_tag_key, self.meter_start_wh


def with_commit() -> AbstractContextManager[None]:
    """What `insert_rows` is given in this block leaves together with its COMMIT, where the database can do that."""
    # What is asked of it beyond Django's own: tenants/postgresql/base.py.
    database: Any = connection
    return database.with_commit() if connection.vendor == "postgresql" else nullcontext()


def look_up(
    tenant_id: int,
    charge_point_ids: Collection[int] = (),
    transaction_ids: Collection[int] = (),
    id_tag_keys: Collection[str] = (),
    connectors_of: Collection[int] = (),
) -> Found:
    """Rows of the tenant that is open, which row-level security checks, in one round trip.

    A charge point has the columns that answering a message needs (LANE_COLUMNS), as have id tags, with `site_ids`, and
    connectors; another one is read when it is asked for, as with `only()`.
    """
    charge_points, owners, id_tags, connectors = _ask(
        tenant_id,
        ((_CHARGE_POINTS, charge_point_ids), (_OWNERS, transaction_ids), (_ID_TAGS, id_tag_keys),
         (_CONNECTORS, connectors_of)),
    )  # fmt: skip
    alias = connection.alias
    tags: dict[str, IdTag] = {}
    for row in id_tags:
        _add_id_tag(tags, row[2], row)
    numbered: dict[int, dict[int, Connector]] = {charge_point_id: {} for charge_point_id in connectors_of}
    for values in connectors:
        connector = _row_of(Connector, _CONNECTOR_NAMES, values, alias)
        numbered[connector.charge_point_id][connector.connector_id] = connector
    return Found(
        {values[0]: _row_of(ChargePoint, _NAMES, values, alias) for values in charge_points},
        {values[0]: Owner(*values[1:]) for values in owners},
        tags,
        numbered,
    )


def look_up_other_names(
    tenant_id: int, keys: Collection[str], alike: Collection[str]
) -> tuple[dict[str, IdTag], dict[str, list[IdTag]]]:
    """The id tags of which these keys are aliases, by key, and those alike, in one round trip; rows as in `look_up`."""
    aliases, similar = _ask(tenant_id, ((_ALIASES, keys), (_ALIKE, alike)))
    by_alias: dict[str, IdTag] = {}
    for key, *row in aliases:
        _add_id_tag(by_alias, key, row)
    rows: dict[tuple[str, str], IdTag] = {}
    for shared, *row in similar:
        _add_id_tag(rows, (shared, row[2]), row)
    by_alike: dict[str, list[IdTag]] = {}
    for (shared, _), id_tag in sorted(rows.items(), key=lambda found: found[0]):
        by_alike.setdefault(shared, []).append(id_tag)
    return by_alias, by_alike


def _add_id_tag(found: dict[Any, IdTag], place: Any, row: Sequence[Any]) -> None:
    """Put the id tag of `row` (its columns, then one of the sites it is limited to) into `found`, with that site."""
    *values, site_id = row
    tag = found.get(place)
    if tag is None:
        tag = found[place] = _row_of(IdTag, _TAG_NAMES, values, connection.alias)
        tag.site_ids = set()
    if site_id is not None:
        tag.site_ids.add(site_id)


def _ask(tenant_id: int, asked: Sequence[tuple[_Question, Collection[Any]]]) -> list[Any]:
    """The rows of each question; none where nothing is asked about."""
    if connection.vendor == "postgresql":
        database: Any = connection
        tenant = str(tenant_id)
        steps: list[Step] = [
            (question.statement, (tenant, as_array(question.kind, values))) for question, values in asked if values
        ]
        answers = iter(database.ask(*steps))
        return [next(answers) if values else () for _, values in asked]
    found = []
    with connection.cursor() as cursor:
        for question, values in asked:
            if values:
                cursor.execute(question.sql + _ONE_OF, [tenant_id, orjson.dumps(list(values)).decode()])
            found.append([_in_utc(row, question.times) for row in cursor.fetchall()] if values else [])
    return found


def _in_utc(row: tuple[Any, ...], times: Collection[int]) -> tuple[Any, ...]:
    """A row from SQLite, which keeps times in UTC without saying so."""
    values = list(row)
    for index in times:
        if values[index] is not None:
            values[index] = values[index].replace(tzinfo=UTC)
    return tuple(values)


def look_up_starts(tenant_id: int, keys: Sequence[StartKey]) -> tuple[dict[StartKey, int], dict[StartKey, int]]:
    """The ids of the transactions that these requests have opened, and ids to be given to those that are new.

    SQLite hands out an id with its row only, so the second is empty there. PostgreSQL takes none for a repetition: a
    charge point that repeats itself for months must not use up the numbers.
    """
    if connection.vendor == "postgresql":
        database: Any = connection
        kinds: tuple[Kind, ...] = ("plain", "plain", "varchar", "time", "plain")
        (rows,) = database.ask((_ASK_STARTS, (*as_arrays(kinds, keys), str(tenant_id))))
    else:
        adapt = connection.ops.adapt_datetimefield_value
        # As text, a time that is later is greater, with and without a fraction.
        asked = [
            (*key[:3], adapt(key.started_at - SAME_INSTANT), adapt(key.started_at + SAME_INSTANT), key.meter_start_wh)
            for key in keys
        ]
        with connection.cursor() as cursor:
            cursor.execute(_STARTS, [tenant_id, orjson.dumps(asked).decode()])
            rows = cursor.fetchall()
    known = {keys[number - 1]: row_id for number, row_id, _ in rows if row_id is not None}
    return known, {keys[number - 1]: new_id for number, _, new_id in rows if new_id is not None}


def look_up_begun(tenant_id: int, asked: Sequence[tuple[int, int, datetime]]) -> dict[tuple[int, int, datetime], int]:
    """Of each charge point, connector and time the id of the transaction that began there last up to then, if any."""
    if connection.vendor == "postgresql":
        database: Any = connection
        kinds: tuple[Kind, ...] = ("plain", "plain", "time")
        (rows,) = database.ask((_ASK_BEGUN, (*as_arrays(kinds, asked), str(tenant_id))))
    else:
        adapt = connection.ops.adapt_datetimefield_value
        with connection.cursor() as cursor:
            questions = [(place, plug, adapt(moment)) for place, plug, moment in asked]
            cursor.execute(_BEGUN_IN_SQLITE, [tenant_id, orjson.dumps(questions).decode()])
            rows = cursor.fetchall()
    return {asked[number - 1]: row_id for number, row_id in rows if row_id is not None}


def _row_of(model: type[Row], names: Sequence[str], values: Sequence[Any], alias: str) -> Row:
    """The instance of a row, as `Model.from_db` would make it of the same columns, for a tenth of the time."""
    row = model.__new__(model)
    state = row._state = ModelState()
    state.adding, state.db = False, alias
    row.__dict__.update(zip(names, values, strict=True))
    return row
