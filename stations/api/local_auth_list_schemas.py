"""The shapes of the answers about local authorization lists, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from stations import local_auth_lists
from stations.api import schemas
from stations.local_auth_entries import ADD, CHANGE, REMOVE
from stations.local_auth_lists import ListState
from stations.models.local_auth_list import ListSource
from tenants.api.schema import component, obj

ID_TAG_INFO_OR_NULL = schemas.described(schemas.OBJECT_OR_NULL, "The idTagInfo as on the wire.")
_SUMMARY: dict[str, dict[str, Any]] = {
    "charge_point": schemas.TEXT,
    "status": schemas.enum(*ListState.values),
    "source_kind": {"enum": [*ListSource.values, None]},
    "desired_at": schemas.TIME_OR_NULL,
    "desired_length": schemas.described(schemas.INTEGER, "Entries that are wanted."),
    "sync_automatically": schemas.described(schemas.BOOLEAN, "Differences are sent without being asked for."),
    "send_full": schemas.described(schemas.BOOLEAN, "A difference cannot be relied on: send the full list."),
    "installed": schemas.described(
        obj(
            version=schemas.described(schemas.INTEGER_OR_NULL, "Null while unknown, 0 for an empty list."),
            length=schemas.INTEGER,
            complete=schemas.described(schemas.BOOLEAN, "Every entry is known."),
            at=schemas.TIME_OR_NULL,
            command=schemas.described(schemas.INTEGER_OR_NULL, "The one that the charge point accepted."),
        ),
        "What we believe is on the charge point.",
    ),
    "reported_version": schemas.described(schemas.INTEGER_OR_NULL, "-1: not supported, 0: empty."),
    "reported_at": schemas.TIME_OR_NULL,
    "outcome": schemas.described(schemas.TEXT_OR_NULL, "How the newest SendLocalList that was sent ended."),
    "outcome_at": schemas.TIME_OR_NULL,
}
_SOURCE: dict[str, dict[str, Any]] = {
    name: schemas.described(schemas.array(schemas.TEXT), text)
    for name, text in (
        ("id_tags", "Chosen by hand."),
        ("groups", "Every tag of one of these groups that may charge here."),
        ("sites", "Every tag allowed at one of these sites, by slug; none means the site of the charge point."),
    )
}
SUMMARY = component("LocalAuthListSummary", obj(optional=(), **_SUMMARY))
LOCAL_AUTH_LIST = component(
    "LocalAuthList",
    obj(
        optional=(),
        **_SUMMARY,
        source={"oneOf": [*(obj(optional=(), **{name: schema}) for name, schema in _SOURCE.items()), {"type": "null"}]},
        differences=obj(added=schemas.INTEGER, changed=schemas.INTEGER, removed=schemas.INTEGER),
        next_version=schemas.INTEGER,
        limits=schemas.described(
            obj(
                list_length=schemas.INTEGER_OR_NULL,
                request_length=schemas.INTEGER_OR_NULL,
                enabled=schemas.BOOLEAN_OR_NULL,
                supported=schemas.BOOLEAN_OR_NULL,
            ),
            "As the charge point reported in its configuration; null where it did not.",
        ),
        warnings=schemas.array(obj(code=schemas.TEXT, detail=schemas.TEXT)),
    ),
)
ENTRY = component(
    "LocalAuthListEntry",
    obj(
        id_tag=schemas.TEXT,
        desired=ID_TAG_INFO_OR_NULL,
        installed=ID_TAG_INFO_OR_NULL,
        change={"enum": [ADD, CHANGE, REMOVE, None]},
    ),
)
SYNC = component(
    "LocalAuthListSync",
    obj(
        charge_point=schemas.TEXT,
        update_type={"enum": [local_auth_lists.FULL, local_auth_lists.DIFFERENTIAL, None]},
        repeated=schemas.described(schemas.BOOLEAN, "The commands were queued before and still lead to the list."),
        batch=schemas.INTEGER_OR_NULL,
        commands=schemas.described(schemas.array(schemas.COMMAND), "In the order of sending; none if nothing differs."),
    ),
)
SYNC_MANY = component(
    "LocalAuthListBulk",
    obj(
        batch=schemas.INTEGER_OR_NULL,
        results=schemas.array(
            obj(
                charge_point=schemas.TEXT,
                commands=schemas.described(schemas.array(schemas.INTEGER), "Their ids, in the order of sending."),
                error={"oneOf": [obj(code=schemas.TEXT, detail=schemas.TEXT), {"type": "null"}]},
            )
        ),
    ),
)
