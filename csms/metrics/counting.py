"""What is counted one by one: connections, handshakes, TLS, and CALLs of ours that nobody answered."""

from __future__ import annotations

from csms.metrics import figures
from csms.ocppj.payloads import TO_CHARGE_POINT

ACCEPTED = "accepted"
UNKNOWN = "unknown"


def connected(tenant_id: int) -> None:
    """A charge point's websocket is open."""
    if figures.current is not None:
        figures.current.child(figures.current.connections, str(tenant_id)).inc()


def disconnected(tenant_id: int) -> None:
    """A websocket that `connected` was told of is closed."""
    if figures.current is not None:
        figures.current.child(figures.current.connections, str(tenant_id)).dec()


def handshake(outcome: str, seconds: float | None) -> None:
    """A handshake was decided: `accepted`, or the reason of the refusal (stations.handshake.REFUSALS).

    `seconds` since it came; None for one that was refused at the gate, without being judged.
    """
    if figures.current is not None:
        figures.current.child(figures.current.handshakes, outcome).inc()
        if seconds is not None:
            figures.current.handshake_seconds.observe(seconds)


def frame_delayed() -> None:
    """A frame of a charge point that sends too many had to wait."""
    if figures.current is not None:
        figures.current.frames_delayed.inc()


def tls_failed(reason: str) -> None:
    """A TLS handshake failed, for a reason of csms.tls."""
    if figures.current is not None:
        figures.current.child(figures.current.tls_failures, reason).inc()


def call_timed_out(action: str) -> None:
    """A CALL of ours was not answered in time."""
    if figures.current is not None:
        action = action if action in TO_CHARGE_POINT else UNKNOWN
        figures.current.messages_of("to_charge_point", action, "timed_out").inc()
