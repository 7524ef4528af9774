"""The physical side of a charge point: a car that takes power, and the meter that counts it.

The car draws constant power until its battery is at 80 % and tapers from there, as lithium batteries do. The meter
belongs to the connector, not to the transaction: its register only ever rises, so meterStart of one transaction is
never below meterStop of the one before. Time is an argument.
Units: W, Wh, V, A, percent, seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from ocpp.v16.enums import Location, Measurand, Phase, ReadingContext, UnitOfMeasure

NOMINAL_VOLTAGE_V = 230.0
TAPER_FROM_PERCENT = 80.0
TAPER_END_SHARE = 0.08  # share of the full power that is left just below 100 %
CHARGING_EFFICIENCY = 0.92  # from the meter to the battery
LARGEST_STEP_SECONDS = 30.0  # the taper is followed in steps no longer than this
MOST_STEPS = 240
DC_FROM_W = 22_080.0  # three phases of 32 A; anything above is a DC charger, whose meter sees all three phases

SUPPORTED_MEASURANDS = (
    Measurand.energy_active_import_register,
    Measurand.power_active_import,
    Measurand.current_import,
    Measurand.voltage,
    Measurand.soc,
    Measurand.power_offered,
    Measurand.current_offered,
    Measurand.frequency,
)

# Battery Wh, AC power W, AC phases, DC power W of common kinds of cars.
CAR_MODELS = (
    (24_000.0, 3_680.0, 1, 46_000.0),
    (40_000.0, 7_360.0, 1, 50_000.0),
    (52_000.0, 22_000.0, 3, 100_000.0),
    (58_000.0, 11_000.0, 3, 120_000.0),
    (77_000.0, 11_000.0, 3, 170_000.0),
)
RATED_POWERS_W = (11_040.0, DC_FROM_W, DC_FROM_W, DC_FROM_W, 50_000.0, 150_000.0)


@dataclass
class Vehicle:
    """A car at the cable."""

    battery_wh: float
    soc_percent: float
    max_power_w: float
    phases: int = 3

    @classmethod
    def arriving(cls, rng: Random, rated_power_w: float) -> Vehicle:
        """Return some car with a partly empty battery, able to use a connector of that rating."""
        battery_wh, ac_power_w, ac_phases, dc_power_w = rng.choice(CAR_MODELS)
        dc = rated_power_w > DC_FROM_W
        return cls(battery_wh, rng.uniform(8, 65), dc_power_w if dc else ac_power_w, 3 if dc else ac_phases)

    @property
    def full(self) -> bool:
        return self.soc_percent >= 100.0

    def accepts_w(self, offered_w: float) -> float:
        """Return the power the car takes now, of what it is offered."""
        if self.full or offered_w <= 0:
            return 0.0
        share = 1.0
        if self.soc_percent > TAPER_FROM_PERCENT:
            left = (100.0 - self.soc_percent) / (100.0 - TAPER_FROM_PERCENT)
            share = TAPER_END_SHARE + (1 - TAPER_END_SHARE) * left
        return min(offered_w, self.max_power_w * share)

    def take(self, energy_wh: float) -> None:
        """Put energy measured at the connector into the battery."""
        self.soc_percent = min(100.0, self.soc_percent + 100.0 * energy_wh * CHARGING_EFFICIENCY / self.battery_wh)


class Meter:
    """The energy meter of one connector."""

    def __init__(self, rng: Random, rated_power_w: float) -> None:
        self.rated_power_w = rated_power_w
        self.power_w = 0.0
        self.offered_w = rated_power_w
        self._rng = rng
        self._register_wh = rng.uniform(5_000, 9_000_000)  # a meter that has been in service for a while

    @property
    def register_wh(self) -> int:
        return int(self._register_wh)

    def advance(self, seconds: float, vehicle: Vehicle | None, limit_w: float = math.inf) -> float:
        """Let simulated time pass under a power limit and return the energy that flowed, in Wh."""
        self.offered_w = max(0.0, min(self.rated_power_w, limit_w))
        if vehicle is None:
            self.power_w = 0.0
            return 0.0
        steps = min(MOST_STEPS, max(1, math.ceil(seconds / LARGEST_STEP_SECONDS)))
        before_wh = self._register_wh
        for _ in range(steps):
            self.power_w = vehicle.accepts_w(self.offered_w)
            energy_wh = self.power_w * (seconds / steps) / 3600.0
            vehicle.take(energy_wh)
            self._register_wh += energy_wh
        self.power_w = vehicle.accepts_w(self.offered_w)
        return self._register_wh - before_wh

    def cut(self) -> None:
        """Open the contactor: no power from now on."""
        self.power_w = 0.0

    def sample(self, measurands: Iterable[str], context: ReadingContext, vehicle: Vehicle | None) -> list[dict]:
        """Return the sampledValue list for these measurands, with one value per phase where the meter has phases.

        Values are texts, as OCPP wants them. SoC is left out without a car.
        Source: OCPP 1.6 ed. 2, 7.31 (Measurand), 7.43 (SampledValue); errata v4.0 3.77: the register is the meter's own
        counter.
        """
        phases = vehicle.phases if vehicle else 3
        volts = [NOMINAL_VOLTAGE_V + self._rng.uniform(-2.5, 2.5) for _ in range(3)]
        sampled: list[dict] = []

        def add(measurand: Measurand, value: str, **members: str) -> None:
            sampled.append({"value": value, "context": context, "measurand": measurand} | members)

        for measurand in measurands:
            match measurand:
                case Measurand.energy_active_import_register:
                    add(measurand, str(self.register_wh), unit=UnitOfMeasure.wh, location=Location.outlet)
                case Measurand.power_active_import:
                    add(measurand, f"{self.power_w:.1f}", unit=UnitOfMeasure.w, location=Location.outlet)
                case Measurand.power_offered:
                    add(measurand, f"{self.offered_w:.1f}", unit=UnitOfMeasure.w)
                case Measurand.current_offered:
                    add(measurand, f"{self.offered_w / NOMINAL_VOLTAGE_V / 3:.1f}", unit=UnitOfMeasure.a)
                case Measurand.current_import:
                    for index, phase in enumerate((Phase.l1, Phase.l2, Phase.l3)):
                        amps = self.power_w / phases / volts[index] if index < phases else 0.0
                        add(measurand, f"{amps:.2f}", phase=phase, unit=UnitOfMeasure.a)
                case Measurand.voltage:
                    for index, phase in enumerate((Phase.l1_n, Phase.l2_n, Phase.l3_n)):
                        add(measurand, f"{volts[index]:.1f}", phase=phase, unit=UnitOfMeasure.v)
                case Measurand.frequency:
                    # Frequency is in hertz and the list of units has none for it (errata v4.0 3.84).
                    add(measurand, f"{50 + self._rng.uniform(-0.03, 0.03):.2f}")
                case Measurand.soc if vehicle is not None:
                    add(measurand, f"{vehicle.soc_percent:.1f}", unit=UnitOfMeasure.percent, location=Location.ev)
        return sampled
