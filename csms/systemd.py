"""What a unit of Type=notify is told: that the server listens, and that it is stopping.

Source: sd_notify(3); one datagram to the socket that systemd names.
"""

from __future__ import annotations

import logging
import socket

from django.conf import settings

logger = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Tell systemd `state`, such as "READY=1"; nothing without systemd. A socket that does not answer stops nobody."""
    address = settings.NOTIFY_SOCKET
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as telling:
            telling.connect(address)
            telling.sendall(state.encode())
    except OSError as error:
        logger.warning("systemd was not told %s: %s", state, error)
