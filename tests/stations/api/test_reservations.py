"""`reservations/`: what goes in, what comes out, and that it is the same as a bare command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stations.api import reservations as reservations_api
from stations.models import ChargePoint, Command, IdTag, Reservation
from tenants.models import ApiKey, Site
from tenants.scope import tenant_scope
from tests.stations.api.conftest import Api, Owner

pytestmark = pytest.mark.django_db

UNTIL = "2030-01-01T12:00:00.000Z"
BODY = {"charge_point": "SAME", "connector_id": 1, "id_tag": "SameTag", "expiry_date": UNTIL}


def made(a: Owner, **members: Any) -> dict[str, Any]:
    answer = a.api("POST", "reservations/", BODY | members)
    assert answer.status_code == 201
    return dict(answer.json())


def payload_of(a: Owner, row: dict[str, Any]) -> dict[str, Any]:
    with tenant_scope(a.tenant):
        command = Command.objects.get(pk=row["command"])
    assert command.action == "ReserveNow"
    return dict(command.payload)


def change(a: Owner, row: dict[str, Any], **fields: Any) -> None:
    with tenant_scope(a.tenant):
        Reservation.objects.filter(charge_point__identity=row["charge_point"], reservation_id=row["id"]).update(
            **fields
        )


class TestReserve:
    def test_answers_with_the_row_and_where_it_is(self, a: Owner) -> None:
        answer = a.api("POST", "reservations/", BODY)
        row = answer.json()
        assert (answer.status_code, answer["Location"]) == (201, f"http://testserver/api/v1/reservations/{row['id']}/")
        assert row == {
            "id": row["id"], "charge_point": "SAME", "connector_id": 1, "id_tag": "SameTag", "parent_id_tag": None,
            "expiry_date": UNTIL, "status": "Requested", "end_reason": None, "transaction": None,
            "command": row["command"], "cancel_command": None, "warnings": row["warnings"],
            "requested_by": "API key test", "requested_at": row["requested_at"], "accepted_at": None, "ended_at": None,
        }  # fmt: skip
        assert [each["code"] for each in row["warnings"]] == [
            "connector_in_use",
            "expiry_far_ahead",
            "charge_point_offline",
        ]
        assert a.api("GET", f"reservations/{row['id']}/").json() == row
        assert payload_of(a, row) == {
            "connectorId": 1, "expiryDate": UNTIL, "idTag": "SameTag", "reservationId": row["id"],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("members", "sent"), [({}, "FAMILY"), ({"parent_id_tag": None}, None), ({"parent_id_tag": "Other"}, "Other")]
    )
    def test_parent_is_that_of_the_id_tag_unless_given_or_null(
        self, a: Owner, members: dict[str, Any], sent: str | None
    ) -> None:
        with tenant_scope(a.tenant):
            IdTag.objects.update(parent_id_tag="FAMILY")
        row = made(a, **members)
        assert (row["parent_id_tag"], payload_of(a, row).get("parentIdTag")) == (sent, sent)
        assert ("parentIdTag" in payload_of(a, row)) == (sent is not None)

    def test_any_time_ahead_is_possible_and_sent_as_utc(self, a: Owner) -> None:
        in_a_minute = (datetime.now(UTC) + timedelta(minutes=1)).replace(microsecond=123_000)
        local = in_a_minute.astimezone(tz=None).isoformat()
        row = made(a, expiry_date=local)
        assert payload_of(a, row)["expiryDate"] == in_a_minute.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def test_id_of_ones_own_choice_replaces(self, a: Owner) -> None:
        first, again = made(a, id=77), made(a, id=77, connector_id=0)
        assert (first["id"], again["id"], again["connector_id"]) == (77, 77, 0)
        assert [row["connector_id"] for row in a.api("GET", "reservations/").json()["results"]] == [0]

    @pytest.mark.parametrize(
        ("members", "pointer"),
        [
            ({"connector_id": -1}, "/connector_id"), ({"connector_id": "1"}, "/connector_id"),
            ({"connector_id": None}, "/connector_id"), ({"id_tag": "x" * 21}, "/id_tag"), ({"id_tag": ""}, "/id_tag"),
            ({"expiry_date": "tomorrow"}, "/expiry_date"), ({"expiry_date": "2030-01-01T12:00:00"}, "/expiry_date"),
            ({"charge_point": "NOPE"}, "/charge_point"), ({"id": 0}, "/id"), ({"id": 2**31}, "/id"),
            ({"parent_id_tag": "x" * 21}, "/parent_id_tag"), ({"duration": 5}, "/duration"),
        ],
    )  # fmt: skip
    def test_what_is_impossible_is_pointed_at(self, a: Owner, members: dict[str, Any], pointer: str) -> None:
        answer = a.api("POST", "reservations/", BODY | members)
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        with tenant_scope(a.tenant):
            assert not Command.objects.exists()

    def test_disabled_charge_point_is_a_conflict(self, a: Owner) -> None:
        a.api("PATCH", "charge-points/SAME/", {"disabled": True})
        answer = a.api("POST", "reservations/", BODY)
        assert (answer.status_code, answer.json()["code"]) == (409, "charge_point_disabled")

    def test_repeated_post_with_one_key_reserves_once(self, a: Owner) -> None:
        headers = {"Idempotency-Key": "one"}
        first, again = (a.api("POST", "reservations/", BODY, **headers).json() for _ in range(2))
        assert first == again
        with tenant_scope(a.tenant):
            assert Reservation.objects.count() == Command.objects.count() == 1

    def test_wait_holds_the_answer_until_the_charge_point_has_answered(
        self, a: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def answer(pk: int, seconds: int) -> None:
            assert seconds == 5
            Reservation.objects.filter(command=pk).update(status="Occupied", end_reason="refused")

        monkeypatch.setattr(reservations_api, "wait_until_final", answer)
        row = a.api("POST", "reservations/?wait=5", BODY).json()
        assert (row["status"], row["end_reason"]) == ("Occupied", "refused")
        change(a, row, status="Requested", end_reason="")
        assert a.api("GET", f"reservations/{row['id']}/?wait=5").json()["status"] == "Occupied"


class TestCommands:
    def test_bare_reserve_now_is_a_reservation_too_and_nothing_is_added(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            IdTag.objects.update(parent_id_tag="FAMILY")
        payload = {"connectorId": 2, "expiryDate": "2030-01-01T12:00:00Z", "idTag": "sametag"}
        command = a.api("POST", "charge-points/SAME/commands/", {"action": "ReserveNow", "payload": payload}).json()
        assert command["payload"] == payload | {"reservationId": command["payload"]["reservationId"]}
        row = a.api("GET", f"reservations/{command['payload']['reservationId']}/").json()
        assert (row["command"], row["status"], row["expiry_date"]) == (command["id"], "Requested", UNTIL)

    def test_withdrawn_before_it_was_sent_is_no_reservation(self, a: Owner) -> None:
        row = made(a)
        a.api("DELETE", f"commands/{row['command']}/")
        seen = a.api("GET", f"reservations/{row['id']}/").json()
        assert (seen["status"], seen["end_reason"]) == ("Rejected", "withdrawn")

    def test_bulk_gives_each_charge_point_a_reservation_of_its_own(self, a: Owner) -> None:
        a.api("PUT", "charge-points/TWO/", {})
        payload = {"connectorId": 0, "expiryDate": UNTIL, "idTag": "SameTag"}
        body = {"action": "ReserveNow", "payload": payload, "charge_points": ["SAME", "TWO"]}
        assert a.api("POST", "commands/bulk/", body).status_code == 202
        rows = a.api("GET", "reservations/").json()["results"]
        assert {row["charge_point"] for row in rows} == {"SAME", "TWO"}
        assert len({row["id"] for row in rows}) == 2


class TestCancel:
    def test_answers_with_the_reservation_and_the_command(self, a: Owner) -> None:
        row = made(a)
        answer = a.api("DELETE", f"reservations/{row['id']}/")
        body = answer.json()
        assert answer.status_code == 202
        assert answer["Location"].endswith(f"/api/v1/commands/{body['command']['id']}/")
        assert (body["command"]["action"], body["command"]["payload"]) == (
            "CancelReservation",
            {"reservationId": row["id"]},
        )
        assert body["reservation"] == row | {"cancel_command": body["command"]["id"]}

    def test_one_that_has_ended_here_can_still_be_cancelled(self, a: Owner) -> None:
        row = made(a)
        change(a, row, status="Rejected")
        command = a.api("DELETE", f"reservations/{row['id']}/").json()["command"]
        assert "reservation_ended" in [warning["code"] for warning in command["warnings"]]


class TestLookup:
    def test_id_at_two_charge_points_is_told_apart_by_name(self, a: Owner) -> None:
        a.api("PUT", "charge-points/TWO/", {})
        made(a, id=7)
        second = a.api("POST", "reservations/", BODY | {"charge_point": "TWO", "id": 7})
        assert second["Location"].endswith("/reservations/7/?charge_point=TWO")
        for method in ("GET", "DELETE"):
            unclear = a.api(method, "reservations/7/")
            assert (unclear.status_code, unclear.json()["code"]) == (409, "ambiguous")
        assert a.api("GET", "reservations/7/?charge_point=").json()["code"] == "ambiguous"
        assert a.api("GET", "reservations/7/?charge_point=TWO").json()["charge_point"] == "TWO"
        cancelled = a.api("DELETE", "reservations/7/?charge_point=TWO").json()
        assert cancelled["command"]["charge_point"] == "TWO"
        assert cancelled["reservation"]["charge_point"] == "TWO"

    @pytest.mark.parametrize("path", ["4711/", "99999999999999999999/", "7/?charge_point=NOPE"])
    def test_what_is_not_there_is_404(self, a: Owner, path: str) -> None:
        made(a, id=7)
        assert a.api("GET", f"reservations/{path}").status_code == 404

    def test_unknown_parameter_of_delete_is_400(self, a: Owner) -> None:
        row = made(a)
        assert a.api("DELETE", f"reservations/{row['id']}/?force=true").status_code == 400

    @pytest.mark.parametrize(
        ("query", "number"),
        [
            ("charge_point=SAME", 2), ("charge_point=X", 0), ("connector_id=0", 1), ("connector_id=3", 0),
            ("id_tag=sametag", 2), ("id_tag=x", 0), ("status=Requested", 1), ("status=Expired", 1),
            ("status=Accepted", 0), ("site=depot", 2), ("site=x", 0),
        ],
    )  # fmt: skip
    def test_filters(self, a: Owner, query: str, number: int) -> None:
        made(a, connector_id=0)
        # Not yet written by the job.
        made(a, expiry_date="2020-01-01T00:00:00Z")
        rows = a.api("GET", f"reservations/?{query}").json()["results"]
        assert len(rows) == number
        if "status=" in query:
            assert {row["status"] for row in rows} <= {query.partition("=")[2]}

    def test_unknown_status_is_400(self, a: Owner) -> None:
        assert a.api("GET", "reservations/?status=queued").status_code == 400

    def test_key_of_other_sites_sees_and_reserves_nothing(self, a: Owner) -> None:
        row = made(a)
        with tenant_scope(a.tenant):
            other = Site.objects.create(slug="other", name="Other")
            ChargePoint.objects.create(identity="THERE", site=other)
        key, secret = ApiKey.issue(a.tenant, "limited", ["read", "operate"])
        with tenant_scope(a.tenant):
            key.sites.set([other])
        limited = Api(secret)
        assert limited("GET", "reservations/").json()["results"] == []
        assert limited("GET", f"reservations/{row['id']}/").status_code == 404
        assert limited("DELETE", f"reservations/{row['id']}/").status_code == 404
        assert limited("POST", "reservations/", BODY).status_code == 400
        assert limited("POST", "reservations/", BODY | {"charge_point": "THERE"}).status_code == 201

    def test_reading_is_not_enough_to_reserve(self, a: Owner) -> None:
        _, secret = ApiKey.issue(a.tenant, "reader", ["read"])
        assert Api(secret)("POST", "reservations/", BODY).status_code == 403
