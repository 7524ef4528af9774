"""Whose a stop is that names no transaction, or the wrong one (errata v4.0 3.18; protocol 4.3)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from stations.models import ChargePoint, MeterValue, Transaction
from stations.retention import RELEASED, SETTLED
from stations.transactions import close_by_operator
from tenants.models import Tenant
from tests.stations.rows import (
    HOUR,
    MINUTE,
    NOW,
    meter_values,
    new_charge_point,
    new_id_tag,
    start,
    stop,
    transaction,
    wire,
)

pytestmark = pytest.mark.usefixtures("in_tenant_a")
NO_IDS = (-1, 0, 999_999, 2**80)


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    for tag in ("TAG-1", "TAG-2"):
        new_id_tag(tag)
    return new_charge_point()


@pytest.fixture
def both(charge_point: ChargePoint) -> tuple[int, int]:
    """One card on both connectors: from 1000 Wh on connector 1, a minute later from 2000 Wh on connector 2."""
    first = start(charge_point, meter_start=1000).transaction_id
    return first, start(charge_point, connector_id=2, meter_start=2000, now=NOW + MINUTE).transaction_id


def orphan() -> Transaction:
    return Transaction.objects.exclude(orphan_ref="").get()


@pytest.mark.parametrize("transaction_id", NO_IDS)
class TestOneCandidate:
    @pytest.mark.parametrize("id_tag", [None, "tag-1"])
    def test_only_open_transaction_has_the_stop(
        self, charge_point: ChargePoint, transaction_id: int, id_tag: str | None
    ) -> None:
        opened = start(charge_point).transaction_id
        stop(charge_point, transaction_id, id_tag=id_tag)
        tx = transaction(opened)
        assert (tx.energy_wh, tx.flags, tx.stop_received) == (Decimal(2500), [], True)
        assert (tx.matched_by, tx.stop_ref) == ("only_candidate", str(transaction_id))

    @pytest.mark.parametrize("milliseconds", [0, 39, 4999])
    def test_repetition_is_none_of_the_next_one(
        self, charge_point: ChargePoint, transaction_id: int, milliseconds: int
    ) -> None:
        start(charge_point, meter_start=1000)
        stop(charge_point, transaction_id, meter_stop=1000)
        later = start(charge_point, meter_start=1000, timestamp=wire(NOW + HOUR), now=NOW + HOUR).transaction_id
        again = wire(NOW + HOUR + timedelta(milliseconds=milliseconds))
        stop(charge_point, transaction_id, meter_stop=1000, timestamp=again, now=NOW + 2 * HOUR)
        assert transaction(later).active
        assert Transaction.objects.count() == 2
        assert not Transaction.objects.exclude(flags=[]).exists()

    def test_tag_tells_two_connectors_apart(self, charge_point: ChargePoint, transaction_id: int) -> None:
        first = start(charge_point).transaction_id
        second = start(charge_point, connector_id=2, id_tag="TAG-2").transaction_id
        stop(charge_point, transaction_id, id_tag="tag-2")
        assert (transaction(first).active, transaction(second).matched_by) == (True, "only_candidate")

    def test_group_of_the_tag_fits(self, charge_point: ChargePoint, transaction_id: int) -> None:
        new_id_tag("MEMBER-1", parent_id_tag="FLEET")
        new_id_tag("MEMBER-2", parent_id_tag="fleet")
        start(charge_point)
        opened = start(charge_point, connector_id=2, id_tag="MEMBER-1").transaction_id
        stop(charge_point, transaction_id, id_tag="MEMBER-2")
        assert (transaction(opened).energy_wh, transaction(opened).flags) == (Decimal(2500), [])

    def test_meter_start_and_time_tell_them_apart(
        self, charge_point: ChargePoint, transaction_id: int, both: tuple[int, int]
    ) -> None:
        stop(charge_point, transaction_id, meter_stop=1500)
        assert (transaction(both[0]).energy_wh, transaction(both[1]).active) == (Decimal(500), True)

    def test_connector_that_began_later_is_no_candidate(
        self, charge_point: ChargePoint, transaction_id: int, both: tuple[int, int]
    ) -> None:
        stop(charge_point, transaction_id, meter_stop=2500, timestamp=wire(NOW + MINUTE / 2))
        assert (transaction(both[0]).energy_wh, transaction(both[1]).active) == (Decimal(1500), True)


class TestReadings:
    @pytest.mark.parametrize("transaction_id", NO_IDS)
    def test_register_below_the_last_reading_is_another_ones(
        self, charge_point: ChargePoint, both: tuple[int, int], transaction_id: int
    ) -> None:
        meter_values(charge_point, {"value": "9000"}, connector_id=2, now=NOW + 2 * MINUTE)
        stop(charge_point, transaction_id, meter_stop=2500)
        tx = transaction(both[0])
        assert (tx.energy_wh, tx.flags, tx.matched_by) == (Decimal(1500), [], "readings")
        assert transaction(both[1]).active

    def test_register_that_is_far_above_the_last_reading_is_another_ones(
        self, charge_point: ChargePoint, both: tuple[int, int]
    ) -> None:
        meter_values(charge_point, {"value": "1200"}, connector_id=1, now=NOW + 10 * MINUTE)
        meter_values(charge_point, {"value": "90000"}, connector_id=2, now=NOW + 10 * MINUTE)
        stop(charge_point, -1, meter_stop=90_500, timestamp=wire(NOW + 11 * MINUTE))
        assert (transaction(both[1]).matched_by, transaction(both[0]).active) == ("readings", True)

    def test_transaction_begin_in_transaction_data_tells(
        self, charge_point: ChargePoint, both: tuple[int, int]
    ) -> None:
        begin = {"value": "2000", "context": "Transaction.Begin"}
        data = [{"timestamp": wire(NOW + MINUTE), "sampledValue": [begin]}]
        stop(charge_point, -1, meter_stop=3000, transaction_data=data)
        assert (transaction(both[1]).energy_wh, transaction(both[0]).active) == (Decimal(1000), True)


class TestSeveralCandidates:
    @pytest.mark.parametrize("transaction_id", NO_IDS)
    def test_stop_is_kept_by_itself_with_its_candidates_and_closes_nothing(
        self, charge_point: ChargePoint, both: tuple[int, int], transaction_id: int
    ) -> None:
        stop(charge_point, transaction_id, id_tag="TAG-1")
        kept = orphan()
        assert (kept.candidates, kept.flags) == (sorted(both), ["orphan_stop", "stop_ambiguous"])
        assert (kept.meter_stop_wh, kept.matched_by, kept.orphan_ref) == (3500, "", str(transaction_id))
        for candidate in map(transaction, both):
            assert candidate.active
            assert (candidate.flags, candidate.candidates) == (["stop_ambiguous"], [kept.pk])

    def test_repetition_is_no_second_one(self, charge_point: ChargePoint, both: tuple[int, int]) -> None:
        stop(charge_point, -1)
        stop(charge_point, -1, timestamp=wire(NOW + HOUR + timedelta(milliseconds=30)))
        assert orphan().flags == ["orphan_stop", "stop_ambiguous"]

    def test_candidate_that_gets_its_own_stop_is_flagged_no_more(
        self, charge_point: ChargePoint, both: tuple[int, int]
    ) -> None:
        stop(charge_point, -1)
        stop(charge_point, both[0], meter_stop=4000, timestamp=wire(NOW + 2 * HOUR), now=NOW + 2 * HOUR)
        tx = transaction(both[0])
        assert (tx.flags, tx.candidates, tx.matched_by) == ([], [], "transaction_id")


class TestOneLostStop:
    @pytest.mark.parametrize("transaction_id", NO_IDS)
    @pytest.mark.parametrize("id_tag", ["TAG-1", "NOBODY"])
    def test_those_that_follow_are_matched(self, charge_point: ChargePoint, transaction_id: int, id_tag: str) -> None:
        lost = start(charge_point, id_tag=id_tag, meter_start=0).transaction_id
        for number in range(1, 11):
            at = NOW + number * HOUR
            opened = start(charge_point, id_tag=id_tag, meter_start=number * 1000, now=at).transaction_id
            stop(charge_point, transaction_id, id_tag=id_tag, meter_stop=number * 1000 + 500, now=at + 30 * MINUTE)
            tx = transaction(opened)
            assert (tx.energy_wh, tx.matched_by, tx.stop_received) == (Decimal(500), "only_candidate", True)
        assert not transaction(lost).stop_received
        assert not Transaction.objects.exclude(orphan_ref="").exists()

    def test_one_that_an_operator_closed_is_no_candidate(self, charge_point: ChargePoint) -> None:
        lost = start(charge_point, meter_start=0).transaction_id
        close_by_operator(transaction(lost), NOW + MINUTE)
        opened = start(charge_point, connector_id=2, meter_start=0, now=NOW + 2 * MINUTE).transaction_id
        stop(charge_point, -1, meter_stop=700)
        assert transaction(opened).energy_wh == Decimal(700)
        assert not transaction(lost).stop_received

    def test_without_any_candidate_it_is_a_stop_without_a_start(self, charge_point: ChargePoint) -> None:
        lost = start(charge_point, meter_start=0).transaction_id
        close_by_operator(transaction(lost), NOW + MINUTE)
        stop(charge_point, -1, id_tag="TAG-1")
        assert (orphan().flags, orphan().candidates) == (["orphan_stop"], [])


class TestGuessedIdOfAnotherTransaction:
    """An id is believed when the start was before the stop, the register has not fallen and the tag fits."""

    @pytest.mark.parametrize(
        "facts",
        [{"id_tag": "TAG-2"}, {"meter_stop": 990}, {"timestamp": wire(NOW - 2 * MINUTE), "now": NOW}],
        ids=["another tag", "register below its start", "before its start"],
    )
    def test_stop_that_does_not_fit_goes_to_the_one_that_it_fits_and_is_flagged(
        self, charge_point: ChargePoint, facts: dict[str, Any]
    ) -> None:
        guessed = start(charge_point, meter_start=1000).transaction_id
        opened = start(
            charge_point, connector_id=2, id_tag="TAG-2", meter_start=100, timestamp=wire(NOW - HOUR)
        ).transaction_id  # fmt: skip
        stop(charge_point, guessed, **{"id_tag": "TAG-2"} | facts)
        tx = transaction(opened)
        assert (tx.stop_received, tx.flags, tx.matched_by) == (True, ["stop_doubted"], "only_candidate")
        assert tx.stop_ref == str(guessed)
        assert (transaction(guessed).active, transaction(guessed).flags) == (True, [])

    def test_id_of_one_that_has_ended_goes_to_the_one_that_runs(self, charge_point: ChargePoint) -> None:
        ended = start(charge_point, meter_start=1000).transaction_id
        stop(charge_point, ended, meter_stop=2000, timestamp=wire(NOW + 10 * MINUTE), id_tag="TAG-1")
        opened = start(charge_point, meter_start=2000, now=NOW + 20 * MINUTE).transaction_id
        stop(charge_point, ended, meter_stop=2600, id_tag="TAG-1")
        assert (transaction(ended).meter_stop_wh, transaction(ended).flags) == (2000, [])
        assert (transaction(opened).energy_wh, transaction(opened).flags) == (Decimal(600), ["stop_doubted"])
        # The same again, and in the end what was really the first one's.
        stop(charge_point, ended, meter_stop=2600, id_tag="TAG-1")
        stop(charge_point, ended, meter_stop=2000, timestamp=wire(NOW + 10 * MINUTE), id_tag="TAG-1")
        assert Transaction.objects.count() == 2
        assert transaction(ended).flags == []

    def test_register_below_the_last_reading_goes_to_the_one_that_it_continues(
        self, charge_point: ChargePoint, both: tuple[int, int]
    ) -> None:
        meter_values(charge_point, {"value": "9000"}, connector_id=2, now=NOW + 2 * MINUTE)
        stop(charge_point, both[1], meter_stop=2500)
        assert (transaction(both[0]).energy_wh, transaction(both[0]).flags) == (Decimal(1500), ["stop_doubted"])
        assert transaction(both[1]).active

    def test_several_that_it_fits_are_shown(self, charge_point: ChargePoint, both: tuple[int, int]) -> None:
        guessed = start(charge_point, connector_id=3, id_tag="TAG-2").transaction_id
        stop(charge_point, guessed, id_tag="TAG-1")
        assert orphan().candidates == sorted(both)
        assert orphan().flags == ["orphan_stop", "stop_doubted", "stop_ambiguous"]
        assert transaction(guessed).active

    def test_without_another_it_is_believed_and_flagged(self, charge_point: ChargePoint) -> None:
        named = start(charge_point).transaction_id
        stop(charge_point, named, id_tag="TAG-2")
        assert (transaction(named).energy_wh, transaction(named).flags) == (Decimal(2500), ["stop_doubted"])

    def test_right_id_is_believed_whatever_else_runs(self, charge_point: ChargePoint, both: tuple[int, int]) -> None:
        for opened in both:
            meter_values(charge_point, {"value": "2600"}, connector_id=1 + both.index(opened), transaction_id=opened)
        stop(charge_point, both[1], id_tag="TAG-1")
        tx = transaction(both[1])
        assert (tx.energy_wh, tx.flags, tx.matched_by, tx.stop_ref) == (Decimal(1500), [], "transaction_id", "")
        assert transaction(both[0]).active


class TestRepeatedStop:
    """What differs by less than the tolerance is a repetition (a simulator sends its stop twice at shutdown)."""

    @pytest.fixture
    def stopped(self, charge_point: ChargePoint) -> int:
        opened = start(charge_point).transaction_id
        stop(charge_point, opened, id_tag="TAG-1")
        return opened

    @pytest.mark.parametrize("seconds", [-5, -0.015, 0.039, 1, 5])
    def test_time_within_the_tolerance_is_a_repetition(
        self, charge_point: ChargePoint, stopped: int, seconds: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        again = wire(NOW + HOUR + timedelta(seconds=seconds))
        stop(charge_point, stopped, id_tag="tag-1", timestamp=again, now=NOW + 2 * HOUR)
        stop(charge_point, stopped, timestamp=again, now=NOW + 2 * HOUR)
        assert (transaction(stopped).flags, transaction(stopped).stopped_at) == ([], NOW + HOUR)
        assert "other data" not in caplog.text
        assert Transaction.objects.filter(SETTLED).count() == 1
        meter_values(charge_point, transaction_id=stopped)
        assert MeterValue.objects.filter(RELEASED).count() == 1

    @pytest.mark.parametrize(
        "facts",
        [{"timestamp": wire(NOW + HOUR + timedelta(seconds=5.001))}, {"meter_stop": 3501}, {"id_tag": "TAG-2"}],
        ids=lambda facts: next(iter(facts)),
    )
    def test_another_energy_tag_or_time_is_flagged(
        self, charge_point: ChargePoint, stopped: int, facts: dict[str, Any]
    ) -> None:
        stop(charge_point, stopped, **{"id_tag": "TAG-1", "timestamp": wire(NOW + HOUR)} | facts)
        tx = transaction(stopped)
        assert (tx.flags, tx.meter_stop_wh, tx.stopped_at) == (["stop_differs"], 3500, NOW + HOUR)

    @pytest.mark.parametrize(("tolerance", "flags"), [(60, []), (0, ["stop_differs"])])
    def test_tenant_sets_the_tolerance(
        self, charge_point: ChargePoint, stopped: int, in_tenant_a: Tenant, tolerance: int, flags: list[str]
    ) -> None:
        in_tenant_a.stop_tolerance_seconds = tolerance
        in_tenant_a.save()
        stop(charge_point, stopped, timestamp=wire(NOW + HOUR + timedelta(seconds=3)))
        assert transaction(stopped).flags == flags

    def test_stop_without_a_start_too(self, charge_point: ChargePoint) -> None:
        for milliseconds in (0, 25, 3000):
            stop(charge_point, 4711, timestamp=wire(NOW + timedelta(milliseconds=milliseconds)))
        assert orphan().flags == ["orphan_stop"]

    def test_sent_first_with_its_id_and_then_without(self, charge_point: ChargePoint, stopped: int) -> None:
        stop(charge_point, -1, id_tag="TAG-1")
        assert Transaction.objects.get().flags == []

    def test_sent_first_without_its_id_and_then_with_it(self, charge_point: ChargePoint) -> None:
        opened = start(charge_point).transaction_id
        stop(charge_point, -1, id_tag="TAG-1")
        stop(charge_point, opened, id_tag="TAG-1", timestamp=wire(NOW + HOUR))
        assert Transaction.objects.get().flags == []


class TestWhatFollowsTells:
    """A stop in doubt is settled by what comes after it: who goes on has not ended."""

    @pytest.fixture
    def kept(self, charge_point: ChargePoint, both: tuple[int, int]) -> Transaction:
        """A stop after half an hour that either could have had, with a reading in its transactionData."""
        data = [{"timestamp": wire(NOW + 30 * MINUTE), "sampledValue": [{"value": "3500"}]}]
        stop(charge_point, -1, id_tag="TAG-1", timestamp=wire(NOW + 30 * MINUTE), transaction_data=data)
        return orphan()

    def test_reading_of_one_gives_the_stop_to_the_other(
        self, charge_point: ChargePoint, both: tuple[int, int], kept: Transaction
    ) -> None:
        meter_values(charge_point, {"value": "3600"}, connector_id=2, transaction_id=-1, now=NOW + 31 * MINUTE)
        first, second = map(transaction, both)
        assert (first.energy_wh, first.stopped_at, first.flags) == (Decimal(2500), NOW + 30 * MINUTE, [])
        assert (first.matched_by, first.stop_ref, first.stop_id_tag) == ("order", "-1", "TAG-1")
        assert (second.active, second.flags, second.candidates) == (True, [], [])
        assert not Transaction.objects.filter(pk=kept.pk).exists()
        assert set(MeterValue.objects.values_list("transaction_id", "energy_wh")) == {
            (first.pk, Decimal(3500)), (second.pk, Decimal(3600)),
        }  # fmt: skip
        # The same stop once more is a repetition.
        stop(charge_point, -1, id_tag="TAG-1", timestamp=wire(NOW + 30 * MINUTE))
        assert Transaction.objects.count() == 2

    def test_own_stop_of_one_gives_it_to_the_other(
        self, charge_point: ChargePoint, both: tuple[int, int], kept: Transaction
    ) -> None:
        stop(charge_point, both[1], meter_stop=5000, id_tag="TAG-1")
        first, second = map(transaction, both)
        assert (first.energy_wh, first.flags, first.matched_by) == (Decimal(2500), [], "order")
        assert (second.energy_wh, second.flags) == (Decimal(3000), [])
        assert not Transaction.objects.exclude(orphan_ref="").exists()

    def test_reading_of_before_the_stop_tells_nothing(
        self, charge_point: ChargePoint, both: tuple[int, int], kept: Transaction
    ) -> None:
        meter_values(charge_point, {"value": "3400"}, connector_id=2, transaction_id=-1, now=NOW + 29 * MINUTE)
        assert orphan().candidates == sorted(both)

    def test_one_that_was_superseded_meanwhile_gets_it_too(
        self, charge_point: ChargePoint, both: tuple[int, int], kept: Transaction
    ) -> None:
        start(charge_point, meter_start=3500, now=NOW + 40 * MINUTE)
        assert transaction(both[0]).flags == ["stop_ambiguous", "superseded"]
        meter_values(charge_point, {"value": "3600"}, connector_id=2, transaction_id=-1, now=NOW + 41 * MINUTE)
        tx = transaction(both[0])
        assert (tx.energy_wh, tx.stop_received, tx.flags) == (Decimal(2500), True, ["superseded"])
