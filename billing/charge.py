"""The facts of a charge that is to be priced, and its register as a line over time.

Times are seconds since 1970, UTC; energy in mWh, power in mW, current in mA.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

HOUR = 3600


class CannotRate(Exception):
    """These facts have no price; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Reading:
    """The register at a moment, with power and current (the sum over the phases) where they were measured."""

    at: int
    register_milliwh: int
    power_milliw: int | None = None
    current_milliamp: int | None = None


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation from its making to the start of charging, or to its expiry."""

    start: int
    end: int
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """The facts. Times are seconds since 1970, UTC; `parked` are the times in which the vehicle wanted no power.

    Readings beyond the charge are left out; the first and the last say what the register was at its ends.
    """

    started_at: int
    stopped_at: int
    readings: tuple[Reading, ...]
    parked: tuple[tuple[int, int], ...] = ()
    reservation: Reserved | None = None


class Register:
    """The readings of a charge as a line over time: energy, power and current at any moment of it."""

    def __init__(self, charge: Charge) -> None:
        if charge.stopped_at < charge.started_at:
            raise CannotRate("stop_before_start", "The charge ends before it begins.")
        inside = [r for r in charge.readings if charge.started_at <= r.at <= charge.stopped_at]
        if not inside:
            raise CannotRate("no_readings", "There is no meter reading within the charge.")
        # Where the register stands once at a moment it stands there for good: of several the last counts.
        self.readings = sorted(inside, key=lambda reading: reading.at)
        for earlier, later in pairwise(self.readings):
            if later.register_milliwh < earlier.register_milliwh:
                raise CannotRate("register_falls", "The meter's register falls within the charge.")
        self._moments = [reading.at for reading in self.readings]
        self.first, self.last = self.readings[0].register_milliwh, self.readings[-1].register_milliwh

    def at(self, moment: int) -> int:
        """The register in mWh, by linear interpolation; at a moment with several readings the last of them."""
        earlier, later = self._around(moment)
        if later is None or later.at == earlier.at or moment <= earlier.at:
            return earlier.register_milliwh
        span, risen = later.at - earlier.at, later.register_milliwh - earlier.register_milliwh
        return earlier.register_milliwh + (2 * risen * (moment - earlier.at) + span) // (2 * span)

    def reached(self, energy_milliwh: int) -> int | None:
        """The second within which so much has flowed since the first reading, None if it never has."""
        wanted = self.first + energy_milliwh
        for earlier, later in pairwise(self.readings):
            if earlier.register_milliwh < wanted <= later.register_milliwh:
                risen = later.register_milliwh - earlier.register_milliwh
                return earlier.at + (wanted - earlier.register_milliwh) * (later.at - earlier.at) // risen
        return None

    def crossings(self, name: str, limit: int) -> Iterator[int]:
        """Seconds in which power or current (`power_milliw`, `current_milliamp`) passes `limit`."""
        for earlier, later in pairwise(self.readings):
            low, high = self._ends(name, earlier, later)
            if low is not None and high is not None and min(low, high) < limit < max(low, high):
                yield earlier.at + (limit - low) * (later.at - earlier.at) // (high - low)

    def middle(self, name: str, start: int, end: int) -> Fraction | None:
        """Power or current in the middle of a stretch without a reading inside; None where it is not known."""
        earlier, later = self._around(start)
        if later is None or later.at == earlier.at:
            value: int | None = getattr(earlier, name)
            return None if value is None else Fraction(value)
        low, high = self._ends(name, earlier, later)
        if low is None or high is None:
            return None
        middle = Fraction(start + end, 2)
        return low + (high - low) * (middle - earlier.at) / (later.at - earlier.at)

    def _around(self, moment: int) -> tuple[Reading, Reading | None]:
        """The last reading at or before `moment` (the first of all if none is), and the next one."""
        following = bisect_right(self._moments, moment)
        later = self.readings[following] if following < len(self.readings) else None
        return self.readings[max(following - 1, 0)], later

    def _ends(self, name: str, earlier: Reading, later: Reading) -> tuple[int | None, int | None]:
        """The value at both ends; power that nobody measured is what the register says it was on average."""
        low, high = getattr(earlier, name), getattr(later, name)
        if name == "power_milliw" and (low is None or high is None) and later.at > earlier.at:
            average = (later.register_milliwh - earlier.register_milliwh) * HOUR // (later.at - earlier.at)
            return average, average
        return low, high
