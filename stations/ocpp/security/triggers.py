"""ExtendedTriggerMessage of the security extension: TriggerMessage for its messages, and for some of the old ones.

The message it asks for comes as any other; stations.ocpp.remote_trigger.triggered ties it to the command.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ocpp.v16 import call_result

from stations.models import ChargePoint, Command
from stations.ocpp.remote_trigger import trigger_warnings


def extended_trigger_message_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What is unwise about an ExtendedTriggerMessage.req; nothing of it keeps the message from being sent."""
    return trigger_warnings(charge_point, payload)


def extended_trigger_message_conf(command: Command, conf: call_result.ExtendedTriggerMessage, now: datetime) -> None:
    """ExtendedTriggerMessage.conf comes before the message itself, which `triggered` ties to the command.

    Rejected and NotImplemented: no message follows, and nothing waits for one.
    Source: Improved security for OCPP 1.6-J, edition 3, A02.FR.01, L01.FR.28, N01.
    """
