#!/bin/sh
# ocpp 2.1.0 (Python, PyPI): its ChargePoint answers an Action that OCPP 1.6 does not have with NotSupported, and one that
# it has, but for which there is no handler, with NotImplemented.
#
# OCPP-J 1.6, table 7, has it the other way round: NotImplemented is "not known by receiver", NotSupported is "recognized
# but not supported". A central system that looks at the code to learn whether it may offer a function, is misled.
# Exit 0: still so. Exit 1: it has changed.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ocpp==2.1.0
cat > "$folder/actions.py" <<'PY'
import asyncio
import json
import logging
import sys
from importlib.metadata import version

from ocpp.v16 import ChargePoint

logging.disable(logging.CRITICAL)


class Line:
    def __init__(self):
        self.sent = []

    async def send(self, text):
        self.sent.append(json.loads(text))


async def answered(action, payload):
    line = Line()
    await ChargePoint("CP", line).route_message(json.dumps([2, "1", action, payload]))
    return line.sent[0][2]


found = {
    "Authorize, without a handler": asyncio.run(answered("Authorize", {"idTag": "TAG"})),
    "an action that 1.6 has not": asyncio.run(answered("NoSuchAction", {})),
}
print(f"ocpp {version('ocpp')}:", found)
sys.exit(list(found.values()) != ["NotImplemented", "NotSupported"])
PY
"$folder/venv/bin/python" "$folder/actions.py"
