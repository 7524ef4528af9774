"""What the tenant is made to trust for the run: the tool's own root, and an authority of the product's that signs.

Both are made when a case first needs them, and are taken away at the end; the authority that signed requests before
does so again. Blocking. Errors: RestRefused, Unreachable.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from csms.certify.authority import Authority
from csms.certify.rest import RestClient, RestRefused

PATH = "certificate-authorities/"
# Both kinds of key are in use; the case texts fear the signatures of RSA (PSS) most.
ISSUING_KEY = "rsa_2048"


@dataclass
class Trust:
    """The authorities of one run."""

    client: RestClient
    _own: Authority | None = None
    _signing: list[str] = field(default_factory=list)
    _made: list[int] = field(default_factory=list)
    _signed_before: int | None = None

    def own(self) -> Authority:
        """The tool's authority, which the tenant trusts: its certificates let charge points in."""
        if self._own is None:
            name = f"certify-{secrets.token_hex(4)}"
            own = Authority(name)
            self._register({"name": name, "kind": "trusted", "certificate": own.pem, "check_organization": False})
            self._own = own
        return self._own

    def signing(self) -> list[str]:
        """PEM of a root and of the authority below it that signs what charge points ask for; made by the product."""
        if not self._signing:
            before = self.client.request("GET", PATH, page_size=500)["results"]
            self._signed_before = next((row["id"] for row in before if row["signs_requests"]), None)
            members = {"kind": "issuing", "key_type": ISSUING_KEY}
            name = f"certify-{secrets.token_hex(4)}"
            root = self._register({"name": name, **members})
            below = {"parent": root["id"], "signs_requests": True, "check_organization": False}
            issuer = self._register({"name": f"{name}-sub", **members, **below})
            self._signing = [root["certificate"], issuer["certificate"]]
        return self._signing

    def _register(self, members: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = self.client.request("POST", PATH, members)
        self._made.append(row["id"])
        return row

    def remove(self, attempt: Callable[[Callable[[], Any]], None], left: list[str]) -> None:
        """Take everything away, each step by `attempt`; what has to stay is named in `left`."""
        if self._signed_before is not None:
            path = f"{PATH}{self._signed_before}/"
            attempt(lambda: self.client.request("PATCH", path, {"signs_requests": True}))
        # What stands below a root goes before it.
        for pk in reversed(self._made):
            attempt(lambda pk=pk: self._remove(pk, left))  # type: ignore[misc]
        self._made.clear()
        self._own, self._signing, self._signed_before = None, [], None

    def _remove(self, pk: int, left: list[str]) -> None:
        path = f"{PATH}{pk}/"
        try:
            self.client.request("DELETE", path)
        except RestRefused as refused:
            if refused.status != 409:
                raise
            self.client.request("PATCH", path, {"active": False, "signs_requests": False})
            left.append(f"Certificate authority {pk} has signed for a charge point that is kept, and is switched off.")
