"""The error codes and their spelling on the wire."""

from __future__ import annotations

import pickle

import pytest

from csms.ocppj import errors


class TestCodes:
    """OCPP-J 1.6 table 7; errata 5.1 and 5.2: the misspelt names stay."""

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (errors.NotImplementedAction, "NotImplemented"),
            (errors.NotSupported, "NotSupported"),
            (errors.InternalError, "InternalError"),
            (errors.ProtocolError, "ProtocolError"),
            (errors.SecurityError, "SecurityError"),
            (errors.FormationViolation, "FormationViolation"),
            (errors.PropertyConstraintViolation, "PropertyConstraintViolation"),
            (errors.OccurenceConstraintViolation, "OccurenceConstraintViolation"),
            (errors.TypeConstraintViolation, "TypeConstraintViolation"),
            (errors.GenericError, "GenericError"),
        ],
    )
    def test_code_is_spelt_as_in_1_6(self, error: type[errors.OcppError], code: str) -> None:
        assert error.code == code
        assert issubclass(error, errors.OcppError)

    def test_there_are_ten_codes_and_no_other(self) -> None:
        codes = {subclass.code for subclass in errors.OcppError.__subclasses__()}
        assert len(codes) == 10
        assert not codes & {"OccurrenceConstraintViolation", "FormatViolation"}

    def test_description_and_details_are_empty_unless_given(self) -> None:
        error = errors.ProtocolError()
        assert (error.description, error.details, str(error)) == ("", {}, "ProtocolError")

    def test_description_and_details_are_kept(self) -> None:
        error = errors.InternalError("reference 4711", {"reference": 4711})
        assert str(error) == "InternalError: reference 4711"
        assert error.details == {"reference": 4711}

    def test_error_survives_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(errors.InternalError("reference 4711", {"a": 1})))  # noqa: S301 - our own
        assert (error.code, error.description, error.details) == ("InternalError", "reference 4711", {"a": 1})
