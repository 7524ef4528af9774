"""The error codes of OCPP-J 1.6 (table 7) as exceptions; whoever raises one decides the CALLERROR that is sent.

The codes keep the spelling of 1.6: `OccurenceConstraintViolation` has one r and `FormationViolation` is not
`FormatViolation`; OCPP-J errata 5.1 and 5.2 confirm that the misspelt names stay. What charge points send us as a code
is kept as text and never checked against this list.
"""

from __future__ import annotations

from typing import Any, ClassVar


class OcppError(Exception):
    """A CALL cannot be answered by a CALLRESULT.

    `code` is the errorCode on the wire, `description` a sentence for the charge point's operator (cut to 255
    characters when sent), `details` a JSON object. None of them may hold secrets or internals.
    """

    code: ClassVar[str] = "GenericError"

    def __init__(self, description: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(description, details)
        self.description = description
        self.details: dict[str, Any] = {} if details is None else details

    def __str__(self) -> str:
        return f"{self.code}: {self.description}" if self.description else self.code


class NotImplementedAction(OcppError):
    """The action is unknown."""

    code = "NotImplemented"


class NotSupported(OcppError):
    """The action is known, but not for us: one that only the CSMS sends, or a function that is switched off."""

    code = "NotSupported"


class InternalError(OcppError):
    """Our own failure; the charge point may retry."""

    code = "InternalError"


class ProtocolError(OcppError):
    """The payload is incomplete: a required member is missing."""

    code = "ProtocolError"


class SecurityError(OcppError):
    """Not allowed now, such as any call but BootNotification before acceptance (OCPP-J errata 3.10)."""

    code = "SecurityError"


class FormationViolation(OcppError):
    """Frame or payload is not of the defined structure."""

    code = "FormationViolation"


class PropertyConstraintViolation(OcppError):
    """Right type, invalid value: unknown enumeration value, too long, out of range, not a date."""

    code = "PropertyConstraintViolation"


class OccurenceConstraintViolation(OcppError):
    """Wrong number of elements."""

    code = "OccurenceConstraintViolation"


class TypeConstraintViolation(OcppError):
    """Wrong type."""

    code = "TypeConstraintViolation"


class GenericError(OcppError):
    """None of the above."""

    code = "GenericError"
