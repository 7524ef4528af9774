"""Which charge point a handshake means that names none: a near miss in its URL, and how the URL should be.

Context: capital letters, an identity typed twice, a tenant left out are the commonest mistakes on a car park, and each
looks like a charge point that never dialled. Choice: what was dialled is compared with the charge points there are,
once it has been refused; the row of the refusal then belongs to the charge point that is meant, with a sentence more.
Consequence: only people who may see that charge point read its name; whoever dialled is told what everybody is told.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from django.db.models import QuerySet
from django.db.models.functions import Upper

from stations.models import ChargePoint
from tenants.models import Tenant

if TYPE_CHECKING:
    from stations.handshake import Request

MOST_PARTS, MOST_ALIKE = 8, 20
LONGEST = 255


@dataclass(frozen=True, slots=True)
class Guess:
    """A name that may be an identity, and what is wrong with the URL if it is."""

    name: str
    fault: str


@dataclass(frozen=True, slots=True)
class NearMiss:
    """The charge point that is meant (with its tenant), and what to do."""

    charge_point: ChargePoint
    sentence: str


def in_tenant(request: Request) -> NearMiss | None:
    """The charge point of the open tenant that a refused handshake most likely means; one query at most."""
    _, names = _split(request)
    found = _look_up(_guesses(request, names), ChargePoint.objects.select_related("tenant"))
    if found is None:
        return None
    guess, charge_point = found
    return NearMiss(charge_point, _sentence(guess, charge_point, charge_point.tenant))


def of_no_tenant(request: Request) -> NearMiss | None:
    """The same where the URL names no tenant, over all of them: to be called in the scope of the platform."""
    parts = _parts(request)
    slug, names = _split(request)
    rows = ChargePoint.objects.select_related("tenant")
    tenant = Tenant.objects.filter(slug=slug.lower()).first() if slug else None
    if tenant is not None:
        found = _look_up(_guesses(request, names), rows.filter(tenant=tenant))
        if found is not None:
            fault = "The tenant in the URL is written in small letters."
            if parts[:1] != ["ocpp"]:
                fault = "The path must begin with /ocpp/."
            return NearMiss(found[1], _sentence(Guess(found[0].name, fault), found[1], tenant))
    if parts[:1] == ["ocpp"] and len(parts) > 2:
        guesses = [Guess(guess.name, "The URL names another tenant.") for guess in _guesses(request, names)]
    else:
        guesses = [Guess(name, "The tenant is left out of the URL.") for name in parts[-1:] if name != "ocpp"]
        guesses += [Guess(name, "The URL has neither tenant nor identity.") for name in _user_names(request)]
    found = _look_up(guesses, rows)
    if found is None:
        return None
    return NearMiss(found[1], _sentence(found[0], found[1], found[1].tenant))


def _parts(request: Request) -> list[str]:
    path = request.path[: LONGEST * 4].partition("?")[0]
    return [unquote(part) for part in path.split("/") if part][:MOST_PARTS]


def _split(request: Request) -> tuple[str, list[str]]:
    """The tenant's slug and what follows, as far as the path has them, whatever it begins with."""
    parts = _parts(request)
    if parts and parts[0].lower() == "ocpp":
        parts = parts[1:]
    return (parts[0], parts[1:]) if parts else ("", [])


def _guesses(request: Request, names: list[str]) -> list[Guess]:
    if not names:
        return [Guess(name, "The identity is missing at the end of the URL.") for name in _user_names(request)]
    name = names[-1]
    guesses = [Guess(name, "Capital letters count."), Guess(name.strip(), "There is a blank too much in the identity.")]
    if "%" in name:
        guesses.append(Guess(unquote(name), "The identity is percent-encoded twice."))
    if len(names) > 1:
        guesses = [Guess("/".join(names), "A slash in an identity is typed as %2F.")]
        again = names[0].upper() == name.upper() or "ocpp" in [each.lower() for each in names]
        fault = "It stands twice in the URL: enter the URL without it." if again else "The URL has a part too much."
        guesses += [Guess(name, fault), Guess(names[0], fault)]
    return guesses


def _user_names(request: Request) -> list[str]:
    """The user name of HTTP Basic, which is the identity as well."""
    scheme, _, encoded = (request.authorization or b"").strip().partition(b" ")
    if scheme.lower() != b"basic" or len(encoded) > LONGEST * 2:
        return []
    try:
        name = base64.b64decode(encoded.strip(), validate=True).partition(b":")[0].decode()
    except (binascii.Error, ValueError):
        return []
    return [name] if name else []


def _look_up(guesses: Iterable[Guess], rows: QuerySet[ChargePoint]) -> tuple[Guess, ChargePoint] | None:
    """The first guess that leads to one charge point of `rows`: exactly, or else whatever its capital letters."""
    wanted = [guess for guess in guesses if guess.name.isprintable() and 0 < len(guess.name) <= 48]
    if not wanted:
        return None
    names = {guess.name.upper() for guess in wanted}
    found = list(rows.annotate(capitals=Upper("identity")).filter(capitals__in=names).order_by("pk")[:MOST_ALIKE])
    for guess in wanted:
        alike = [row for row in found if row.identity.upper() == guess.name.upper()]
        exact = [row for row in alike if row.identity == guess.name]
        for candidates in (exact, alike):
            if len(candidates) == 1:
                return guess, candidates[0]
    return None


def _sentence(guess: Guess, charge_point: ChargePoint, tenant: Tenant) -> str:
    identity = charge_point.identity
    return f"It most likely means {identity}. {guess.fault} The path is /ocpp/{tenant.slug}/{quote(identity, safe='')}."
