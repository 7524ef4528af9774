#!/bin/sh
# ocpp 2.1.0 (Python, PyPI): the schemas of OCPP 1.6 that it ships take the unit "Hertz" in MeterValues and refuse it in
# StopTransaction.transactionData.
#
# A charge point lists its measurands once; what it may send every minute is refused at the end of the session, and a
# central system that answers CALLERROR there loses the stop. OCPP 1.6 has no unit for Frequency (errata v4.0, 3.84).
# Exit 0: still so. Exit 1: it has changed.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ocpp==2.1.0
cat > "$folder/hertz.py" <<'PY'
import asyncio
import sys
from importlib.metadata import version

from ocpp.exceptions import OCPPError
from ocpp.messages import Call, validate_payload

VALUES = [{
    "timestamp": "2026-01-01T12:00:00Z",
    "sampledValue": [{"value": "50.01", "measurand": "Frequency", "unit": "Hertz"}],
}]
CALLS = {
    "MeterValues": {"connectorId": 1, "meterValue": VALUES},
    "StopTransaction": {
        "transactionId": 1, "meterStop": 1000, "timestamp": "2026-01-01T12:00:00Z", "transactionData": VALUES,
    },
}


def judged(action, payload):
    try:
        asyncio.run(validate_payload(Call("1", action, payload), "1.6"))
    except OCPPError as error:
        return type(error).__name__
    return "accepted"


found = {action: judged(action, payload) for action, payload in CALLS.items()}
print(f"ocpp {version('ocpp')}:", found)
sys.exit(found != {"MeterValues": "accepted", "StopTransaction": "FormatViolationError"})
PY
"$folder/venv/bin/python" "$folder/hertz.py"
