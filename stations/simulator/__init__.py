"""Simulated charge points: an OCPP 1.6-J peer that shares no code with the central system.

    summary = await run_fleet(FleetOptions(url="ws://127.0.0.1:8000/ocpp/demo/", stations=5, duration_seconds=60))

From the outside in: fleet.py runs stations; scenarios.py tells what happens at them in the words of driver.py;
station.py answers the central system; equipment.py boots, reports and restarts; transactions.py and
transaction_queue.py see to it that nothing chargeable gets lost; link.py is the connection; meter.py the physics.
Everything is asyncio with the `ocpp` and `websockets` packages; nothing here imports Django or the rest of the product.
"""

from .fleet import FleetOptions, FleetProgress, FleetSummary, run_fleet
from .scenarios import SCENARIOS

__all__ = ["SCENARIOS", "FleetOptions", "FleetProgress", "FleetSummary", "run_fleet"]
