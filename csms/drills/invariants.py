"""What must hold after every drill, whatever was broken in it. Runs inside the drill's database.

Each charge point kept its own books (ledger_station.py). Each of its sessions must be exactly one transaction with the
meter readings it had, each once, and the energy it counted; nothing else may exist. What it was asked to do must be
what is recorded, no command may wait for ever for its answer, every job must have ended, every charge point be back.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from stations.models import ChargePoint, Command, MeterValue, Transaction
from stations.models.command import CommandStatus
from tenants.models import JobRun, JobState, Tenant
from tenants.scope import tenant_scope

LOOK_SECONDS = 0.1
UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
# Of these each row is sent once at most: doing them twice is not the same.
ONCE = ("UnlockConnector", "Reset", "RemoteStartTransaction")


def settled(slug: str, identities: list[str], patience_seconds: float) -> list[str]:
    """Wait until nothing is under way, with the charge points connected; sentences about what still is after that."""
    deadline = time.monotonic() + patience_seconds
    with tenant_scope(Tenant.objects.get(slug=slug)):
        while True:
            found = _under_way(identities)
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(LOOK_SECONDS)


def _under_way(identities: list[str]) -> list[str]:
    found = []
    for status in (CommandStatus.SENT, CommandStatus.QUEUED):
        rows = Command.objects.filter(status=status, charge_point__identity__in=identities)
        stuck = list(rows.select_related("charge_point").order_by("id"))
        if stuck:
            first = f"{stuck[0].action} {stuck[0].pk} of {stuck[0].charge_point.identity}"
            found.append(f"{len(stuck)} commands are stuck in {status.value}: {first}")
    away = ChargePoint.objects.filter(identity__in=identities, connected=False).order_by("identity")
    found += [f"{charge_point.identity}: is not shown as connected" for charge_point in away]
    return found + _unfinished_jobs()


def _unfinished_jobs() -> list[str]:
    return [f"job {run} is {run.state}" for run in JobRun.objects.filter(state__in=UNFINISHED).order_by("id")]


def verify(slug: str, books: list[dict[str, Any]], commands: list[int], jobs: list[str]) -> list[str]:
    """Sentences about every promise that was broken; empty when there is none.

    `books` as of Fleet.books; `commands` are the ids that REST acknowledged, `jobs` the task ids that were published.
    """
    with tenant_scope(Tenant.objects.get(slug=slug)):
        found = [sentence for book in books for sentence in _verify_station(book)]
        stuck = Command.objects.filter(status=CommandStatus.SENT).count()
        if stuck:
            found.append(f"{stuck} commands are stuck in sent")
        lost = set(commands) - set(Command.objects.filter(pk__in=commands).values_list("pk", flat=True))
        found += [f"command {pk}: acknowledged, but not stored" for pk in sorted(lost)]
        lost_jobs = set(jobs) - set(JobRun.objects.filter(task_id__in=jobs).values_list("task_id", flat=True))
        found += [f"job {task_id}: published, but has no row" for task_id in sorted(lost_jobs)]
        failed = JobRun.objects.filter(state=JobState.FAILED, error="").order_by("id")
        found += [f"job {run}: failed without a reason" for run in failed]
        return found + _unfinished_jobs()


def _verify_station(book: dict[str, Any]) -> list[str]:
    identity, sessions = book["identity"], book["sessions"]
    found = _verify_calls(identity, book["calls"])
    rows: dict[int, Any] = {tx.pk: tx for tx in Transaction.objects.filter(charge_point__identity=identity)}
    if len(rows) != len(sessions):
        found.append(f"{identity}: {len(sessions)} sessions, but {len(rows)} transactions")
    for session in sessions:
        where = f"{identity} transaction {session['transaction_id']}"
        tx = rows.get(session["transaction_id"] or 0)
        if tx is None:
            found.append(f"{where}: acknowledged, but not stored")
            continue
        stop = session["meter_stop_wh"]
        if session["stopped"] and (stop, True) != (tx.meter_stop_wh, tx.stop_received):
            found.append(f"{where}: stop at {stop} Wh acknowledged, stored is {tx.meter_stop_wh}")
        if session["stopped"] and tx.energy_wh != stop - session["meter_start_wh"]:
            found.append(f"{where}: energy is {tx.energy_wh} Wh")
        if tx.flags:
            found.append(f"{where}: flagged {tx.flags}")
        stored = sorted(
            (at.strftime("%Y-%m-%dT%H:%M:%S.000Z"), int(energy or 0))
            for at, energy in MeterValue.objects.filter(transaction=tx).values_list("timestamp", "energy_wh")
        )
        if stored != sorted((at, energy) for at, energy in session["readings"]):
            found.append(f"{where}: {len(session['readings'])} readings acknowledged, stored are {len(stored)}")
    return found


def _verify_calls(identity: str, calls: list[tuple[str, str]]) -> list[str]:
    """What the charge point was asked, against the commands: none twice, and no answer that it did not give."""
    found = []
    twice = [message_id for message_id, count in Counter(message_id for message_id, _ in calls).items() if count > 1]
    found += [f"{identity}: request {message_id} came twice" for message_id in twice]
    commands = Command.objects.filter(charge_point__identity=identity)
    answered = set(commands.filter(status=CommandStatus.ANSWERED).values_list("message_id", flat=True))
    for message_id in sorted(answered - {message_id for message_id, _ in calls}):
        found.append(f"{identity}: command {message_id} is answered, but never came")
    came = Counter(action for _, action in calls)
    for action in ONCE:
        rows = commands.filter(action=action).count()
        if came[action] > rows:
            found.append(f"{identity}: {rows} commands {action}, but it came {came[action]} times")
    return found
