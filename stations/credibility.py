"""Whether a figure of a charge point can be: energy against time and power, registers against what registers do.

Pure functions. A figure that cannot be is kept and flagged, for somebody may know better; it is never made up, and
never negative: where the registers say less than nothing, the energy is not known.
Units: Wh, W, seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from stations.models.transaction_flag import Flag

# Registers of so many bits begin again at zero.
REGISTERS = (2**32, 2**31)
# A register that begins again was near its end before and is near its beginning after.
NEAR = 0.02
# −1 of a charge point that has no figure, in unsigned integers of 16 and 32 bits; 0 and −1 themselves are told apart.
NO_FIGURE = frozenset({2**32 - 1, 2**16 - 1})
# Times are rounded and arrive late: what may have flowed in these two minutes is beyond no belief.
ALLOWANCE_SECONDS = 120
HOUR = 3600
KILO = 1000
# Two readings a thousand apart are the same register in other units when the rest fits as well as this.
SAME_REGISTER = Decimal("0.1")
# Below, a thousand times as much is an ordinary charge.
LEAST_REGISTER_WH = 10


@dataclass(slots=True)
class Judged:
    """Energy of a transaction in Wh, None where it is not known, and what is odd about it."""

    energy_wh: Decimal | None
    flags: list[Flag] = field(default_factory=list)


def believable(energy_wh: Decimal | int, seconds: float, max_power_w: int) -> bool:
    """Whether so much can have flowed in so many seconds."""
    return Decimal(energy_wh) * HOUR <= Decimal(max_power_w) * Decimal(max(seconds, 0) + ALLOWANCE_SECONDS)


def energy_between(
    start_wh: Decimal | int, end_wh: Decimal | int, seconds: float, max_power_w: int
) -> tuple[Decimal | None, bool]:
    """Energy between two readings of one register, and whether it began again in between; None when it fell."""
    start, end = Decimal(start_wh), Decimal(end_wh)
    if end >= start:
        return end - start, False
    for size in REGISTERS:
        near = Decimal(str(size * NEAR))
        if size - near <= start < size and 0 <= end <= near and believable(end + size - start, seconds, max_power_w):
            return end + size - start, True
    return None, False


def in_other_units(start_wh: int, first_wh: Decimal) -> bool:
    """Whether the register at the start is in kWh while the readings that follow are in Wh."""
    expected = Decimal(start_wh) * KILO
    return start_wh >= LEAST_REGISTER_WH and expected <= first_wh <= expected * (1 + SAME_REGISTER)


def falls(registers: Sequence[Decimal]) -> bool:
    """Whether a register falls from one reading to the next."""
    return any(later < earlier for earlier, later in zip(registers, registers[1:], strict=False))


def sum_of_parts(registers: Sequence[Decimal]) -> Decimal:
    """What flowed between readings of a register that began again at zero: the rises, and what it rose to anew."""
    return sum(
        (later - earlier if later >= earlier else max(later, Decimal(0))
         for earlier, later in zip(registers, registers[1:], strict=False)),
        Decimal(0),
    )  # fmt: skip


def suspicious(start_wh: int, stop_wh: int | None, seconds: float, max_power_w: int) -> bool:
    """Whether the two meter readings alone call for a look at those between them."""
    if stop_wh is None or stop_wh < start_wh or stop_wh in NO_FIGURE:
        return True
    return not believable(stop_wh - start_wh, seconds, max_power_w) or in_other_units(start_wh, Decimal(stop_wh))


def judged(
    start_wh: int, stop_wh: int | None, seconds: float, registers: Sequence[Decimal], max_power_w: int
) -> Judged:
    """The energy of a stopped transaction. `registers`: its readings of the energy register, in order of time.

    The two meter readings count where they can be; else the last reading since the start; else it is unknown.
    """
    energy, rolled = (None, False)
    if stop_wh is not None and stop_wh >= 0:
        energy, rolled = energy_between(start_wh, stop_wh, seconds, max_power_w)
    if energy is not None and registers and in_other_units(start_wh, registers[0]):
        read = registers[-1] - registers[0]
        return Judged(read if read >= 0 else None, [Flag.UNITS_DIFFER, Flag.ENERGY_FROM_METER_VALUES])
    if rolled:
        return Judged(energy, [Flag.REGISTER_ROLLED_OVER])
    flags = []
    if falls(registers):
        flags.append(Flag.REGISTER_RESTARTED)
    if energy is not None and believable(energy, seconds, max_power_w):
        return Judged(energy, flags)
    flags.append(Flag.NEGATIVE_ENERGY if energy is None else Flag.ENERGY_BEYOND_BELIEF)
    if energy is not None and stop_wh not in NO_FIGURE:
        return Judged(energy, flags)
    last = next((value for value in reversed(registers) if value >= start_wh), None)
    read_energy = None if last is None or Flag.REGISTER_RESTARTED in flags else last - start_wh
    if read_energy is not None and believable(read_energy, seconds, max_power_w):
        return Judged(read_energy, [*flags, Flag.ENERGY_FROM_METER_VALUES])
    return Judged(energy, flags)


def so_far(start_wh: int, register_wh: Decimal, seconds: float, max_power_w: int) -> Decimal | None:
    """Energy of a running transaction at a reading; None where the reading cannot be of the register at the start."""
    energy, _ = energy_between(start_wh, register_wh, seconds, max_power_w)
    return energy if energy is not None and believable(energy, seconds, max_power_w) else None
