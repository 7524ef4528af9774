"""Basic passwords of charge points: typed, generated, hashed, compared. A password is bytes, not text.

A generated password has more than 100 random bits, so one salted SHA-256 is as good as a slow hash and lets a thousand
charge points return at once; one that a person typed gets scrypt.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Sequence

HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{32,40}\Z")
ALPHABET = string.ascii_letters + string.digits
SCRYPT = {"n": 2**12, "r": 8, "p": 1}


# What a handshake can carry, and the admin's form: the longest is that of 20 bytes as hexadecimal digits.
WEAK_BYTES = range(1, 41)


class InvalidPassword(ValueError):
    """A password that OCPP 1.6 does not allow; the text says why and never repeats the password.

    `weak`: a tenant that allows weak passwords could have it.
    """

    weak = False


def generate() -> str:
    """A new password: 20 letters and digits (119 bits), which every charge point's settings page takes."""
    return "".join(secrets.choice(ALPHABET) for _ in range(20))


def generate_key() -> str:
    """A new AuthorizationKey: 20 random bytes as 40 hexadecimal digits. Source: A00.FR.205."""
    return secrets.token_hex(20).upper()


def from_authorization_key(value: str) -> tuple[bytes, bool]:
    """The password behind a value of AuthorizationKey, and whether the value is a valid one.

    Valid are 32 to 40 hexadecimal digits, an even number of them. What else a charge point takes, it takes as text.
    """
    if HEXADECIMAL.match(value.encode()) and len(value) % 2 == 0:
        return bytes.fromhex(value), True
    return value.encode(), False


def canonical(typed: str, *, allow_weak: bool = False) -> bytes:
    """The bytes that a typed password stands for: 32 to 40 hexadecimal digits, or 16 to 20 bytes as text.

    `allow_weak`: also 1 to 40 bytes as text, which a factory has set and nobody can change.
    Raises InvalidPassword. Source: Improved security for OCPP 1.6-J, A00.FR.205.
    """
    if HEXADECIMAL.match(typed.encode()) and len(typed) % 2 == 0:
        return bytes.fromhex(typed)
    raw = typed.encode()
    if is_weak(typed) and not (allow_weak and len(raw) in WEAK_BYTES):
        error = InvalidPassword("A password has 16 to 20 bytes as text, or 32 to 40 hexadecimal digits.")
        error.weak = len(raw) in WEAK_BYTES
        raise error
    return raw


def is_weak(typed: str) -> bool:
    """Whether a typed password is one that only a tenant with `allow_weak_passwords` may have."""
    raw = typed.encode()
    return not 16 <= len(raw) <= 20 and not (HEXADECIMAL.match(raw) and len(raw) % 2 == 0)


def hashed(password: bytes, *, generated: bool) -> str:
    """`scheme$salt$digest` for the database."""
    salt = secrets.token_bytes(16)
    scheme = "sha256" if generated else "scrypt"
    return f"{scheme}${salt.hex()}${_digest(scheme, salt, password).hex()}"


def _digest(scheme: str, salt: bytes, password: bytes) -> bytes:
    if scheme == "sha256":
        return hashlib.sha256(salt + password).digest()
    return hashlib.scrypt(password, salt=salt, dklen=32, **SCRYPT)


# Compared against when there is no charge point, so that an unknown identity takes as long as a known one.
NOBODY = hashed(secrets.token_bytes(20), generated=True)


def matches(stored: str, presented: bytes, *, accept_hexadecimal: bool) -> bool:
    """Whether `presented` is the password behind `stored`: its bytes or, if allowed, their hexadecimal digits."""
    return which([stored], presented, accept_hexadecimal=accept_hexadecimal) is not None


def _candidates(presented: bytes, accept_hexadecimal: bool) -> list[bytes]:
    """What may have been meant: the bytes themselves, and those whose hexadecimal digits they are."""
    if accept_hexadecimal and HEXADECIMAL.match(presented) and len(presented) % 2 == 0:
        return [presented, bytes.fromhex(presented.decode())]
    return [presented]


def quickly(stored: str, presented: bytes, *, accept_hexadecimal: bool = True) -> bool | None:
    """Whether `presented`, or the bytes whose hexadecimal digits it is, is the password behind `stored`; None when that
    takes a slow hash to tell."""
    scheme, _, rest = stored.partition("$")
    if scheme != "sha256":
        return None
    salt, _, digest = rest.partition("$")
    candidates = _candidates(presented, accept_hexadecimal)
    return any(
        hmac.compare_digest(_digest(scheme, bytes.fromhex(salt), candidate), bytes.fromhex(digest))
        for candidate in candidates
    )


def which(stored: Sequence[str], presented: bytes, *, accept_hexadecimal: bool) -> int | None:
    """The index of the first of `stored` that `presented` is the password of; None when it is none of them."""
    candidates = _candidates(presented, accept_hexadecimal)
    slow = False
    for index, one in enumerate(stored or [""]):
        scheme, salt, digest = (one or NOBODY).split("$")
        slow = slow or scheme == "scrypt"
        found = [
            hmac.compare_digest(_digest(scheme, bytes.fromhex(salt), candidate), bytes.fromhex(digest))
            for candidate in candidates
        ]
        if any(found) and one:
            return index
    if not slow:
        # A failure takes as long whether the identity is unknown, its password was generated, or typed.
        for candidate in candidates:
            _digest("scrypt", bytes.fromhex(salt), candidate)
    return None
