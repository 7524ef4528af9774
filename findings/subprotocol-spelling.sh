#!/bin/sh
# websockets 17.4 (PyPI) and ws 8.23.0 (npm) as OCPP clients: offered OCPP1.6, answered ocpp1.6, both give up.
#
# OCPP-J 1.6 registers the subprotocol as "ocpp1.6", RFC 6455 compares it to the letter, and charge points that offer
# other spellings are in the field. A central system that recognises the spelling and answers with the registered one
# therefore loses exactly those whom it meant to let in; the spelling offered has to be sent back.
# Needs python3, node and npm. Exit 0: still so. Exit 1: it has changed.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check websockets==17.4
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" ws@8.23.0 >/dev/null
cat > client.cjs <<'JS'
const { WebSocket } = require('ws');
const socket = new WebSocket(process.argv[2], ['OCPP1.6']);
socket.on('open', () => { console.log('open'); process.exit(); });
socket.on('error', (error) => { console.log(error.message); process.exit(); });
JS
cat > spelling.py <<'PY'
import asyncio
import base64
import hashlib
import re
import sys
from importlib.metadata import version

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


async def answer(answered, reader, writer):
    """A central system that lets everybody in and names one spelling."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = re.search(r"sec-websocket-key: (\S+)", head, re.IGNORECASE)[1]
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    writer.write((
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {answered}\r\n\r\n"
    ).encode())
    await writer.drain()
    await reader.read()
    writer.close()


async def tried(answered):
    server = await asyncio.start_server(lambda r, w: answer(answered, r, w), "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/CP"
    try:
        socket = await connect(url, subprotocols=["OCPP1.6"])
    except InvalidHandshake as error:
        python = str(error)
    else:
        python = "open"
        socket.transport.abort()
    node = await asyncio.create_subprocess_exec("node", "client.cjs", url, stdout=asyncio.subprocess.PIPE)
    said, _ = await node.communicate()
    server.close()
    return python, said.decode().strip()


found = {answered: asyncio.run(tried(answered)) for answered in ("ocpp1.6", "OCPP1.6")}
print(f"websockets {version('websockets')}, ws 8.23.0; OCPP1.6 offered, answered:", found)
sys.exit("open" in found["ocpp1.6"] or found["OCPP1.6"] != ("open", "open"))
PY
"$folder/venv/bin/python" spelling.py
