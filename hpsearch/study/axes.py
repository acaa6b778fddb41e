"""Axes of the search space: values that know how to ask a trial.

In the study file an axis is written as

* a single value, which is then fixed: `filters: 32`
* a list, of which one is picked: `activation: [relu, gelu]`
* a range: `filters: {low: 16, high: 128, step: 8}` or `{low: 1e-4, high: 1e-2, log: true}`
* any of these for each family: `filters: {alexnet: {low: 32, high: 96, step: 8}, resnet: 16}`

`notation()` gives an axis back in the same form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import CoreSchema, core_schema

from hpsearch.study.config import Family

if TYPE_CHECKING:
    import optuna

MOST_STEPS = 10**15  # of a range; floats cannot tell more apart, nor Optuna's decimals count them

FAMILY_NAMES: tuple[str, ...] = get_args(Family)

Value = bool | int | float | str


@dataclass(frozen=True)
class Fixed:
    """One value, the same in every trial; it is not sampled and not stored as a parameter."""

    value: Value

    def pick(self, name: str, trial: optuna.trial.BaseTrial) -> Value:
        return self.value

    def nearest(self, wanted: Value) -> Value:
        return self.value

    def points(self) -> tuple[Value, ...]:
        return (self.value,)

    def notation(self) -> Any:
        return self.value


@dataclass(frozen=True)
class Choice:
    """One of several values without an order."""

    options: tuple[Value, ...]

    def pick(self, name: str, trial: optuna.trial.BaseTrial) -> Value:
        picked: Value = trial.suggest_categorical(name, self.options)  # type: ignore[assignment]
        return picked

    def nearest(self, wanted: Value) -> Value:
        return wanted if wanted in self.options else self.options[0]

    def points(self) -> tuple[Value, ...]:
        return self.options

    def notation(self) -> Any:
        return list(self.options)


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included, in steps of `step`."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def pick(self, name: str, trial: optuna.trial.BaseTrial) -> Value:
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def nearest(self, wanted: Value) -> Value:
        inside = min(max(int(wanted), self.low), self.high)
        return self.low + round((inside - self.low) / self.step) * self.step

    def points(self) -> tuple[Value, ...]:
        return tuple(range(self.low, self.high + 1, self.step))

    def notation(self) -> Any:
        written: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.step != 1:
            written["step"] = self.step
        if self.log:
            written["log"] = True
        return written


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from `low` to `high`; evenly spread over the logarithm where `log` is true."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def pick(self, name: str, trial: optuna.trial.BaseTrial) -> Value:
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def nearest(self, wanted: Value) -> Value:
        inside = min(max(float(wanted), self.low), self.high)
        return inside if self.step is None else self._point(round((inside - self.low) / self.step))

    def points(self) -> tuple[float, ...] | None:
        if self.step is None:
            return None
        return tuple(self._point(i) for i in range(round((self.high - self.low) / self.step) + 1))

    def size(self) -> int | None:
        """Return how many points there are, None where there is no end of them."""
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def _point(self, i: int) -> float:
        """Return the point after `i` steps; in decimals: 0.1 + 2 * 0.1 is above 0.3."""
        return float(Decimal(str(self.low)) + i * Decimal(str(self.step)))

    def notation(self) -> Any:
        written: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.step is not None:
            written["step"] = self.step
        if self.log:
            written["log"] = True
        return written


PlainAxis = Fixed | Choice | IntRange | FloatRange


@dataclass(frozen=True)
class ByFamily:
    """Another axis for each family; stored as `family.name`, so that ranges may differ."""

    axes: Mapping[str, PlainAxis]

    def notation(self) -> Any:
        return {family: axis.notation() for family, axis in self.axes.items()}


Axis = PlainAxis | ByFamily


@dataclass(frozen=True)
class Kind:
    """What values a hyperparameter may take at all; an annotation of the fields of `Space`.

    `allowed` lists the names of a categorical one, `instead` what to write for names that people
    know from elsewhere; numbers lie between `low` and `high`, and are odd where `odd` says so.
    """

    type: type[bool] | type[int] | type[float] | type[str]
    low: float = -math.inf
    high: float = math.inf
    allowed: tuple[str, ...] = ()
    odd: bool = False
    instead: tuple[tuple[str, str], ...] = ()

    def value(self, written: object) -> Value:
        """Return `written` as a value of this kind, or raise ValueError with what is wrong."""
        if self.type is bool:
            return self._bool(written)
        if self.type is str:
            return self._name(written)
        return self.number(written)

    def _bool(self, written: object) -> bool:
        if isinstance(written, bool):
            return written
        words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
        if isinstance(written, str) and written.lower() in words:
            return words[written.lower()]
        raise ValueError(f"{written!r} is neither true nor false")

    def _name(self, written: object) -> str:
        if written in self.allowed:
            return str(written)
        hint = dict(self.instead).get(str(written).lower())
        if hint is None:
            close = get_close_matches(str(written), self.allowed, n=1)
            names = ", ".join(self.allowed)
            hint = f"did you mean '{close[0]}'?" if close else f"use one of {names}"
        raise ValueError(f"unknown value {written!r}; {hint}")

    def number(self, written: object) -> int | float:
        if isinstance(written, bool) or not isinstance(written, int | float | str):
            raise ValueError(f"{written!r} is not a number")
        try:
            number = float(written)
        except (ValueError, OverflowError):
            raise ValueError(f"{written!r} is not a number") from None
        if not math.isfinite(number):
            raise ValueError(f"{written!r} is not a finite number")
        if self.type is int and number != int(number):
            raise ValueError(f"{written!r} is not a whole number")
        if not self.low <= number <= self.high:
            raise ValueError(f"{written!r} is outside {self.low:g} to {self.high:g}")
        if self.odd and number % 2 == 0:
            raise ValueError(f"{written!r} is even; use an odd number, such as {int(number) + 1}")
        return int(number) if self.type is int else number

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.axis,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda axis: axis.notation()
            ),
        )

    def axis(self, written: object) -> Axis:
        """Return the axis that `written` describes, in the notation of the study file."""
        if isinstance(written, list | tuple):
            return self._choice(list(written))
        if not isinstance(written, Mapping):
            return Fixed(self.value(written))
        if written and set(written) <= set(FAMILY_NAMES):
            return ByFamily({family: self._plain(part) for family, part in written.items()})
        if set(written) & set(FAMILY_NAMES):
            unknown = next(key for key in written if key not in FAMILY_NAMES)
            close = get_close_matches(str(unknown), FAMILY_NAMES, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"use {', '.join(FAMILY_NAMES)}"
            raise ValueError(f"unknown family {unknown!r}; {hint}")
        return self._range(written)

    def _plain(self, written: object) -> PlainAxis:
        axis = self.axis(written)
        if isinstance(axis, ByFamily):
            raise ValueError("families stand inside a family; write a value, a list or a range")
        return axis

    def _choice(self, written: list[object]) -> Choice | Fixed:
        options = [self.value(option) for option in written]
        if not options:
            raise ValueError("an empty list has nothing to pick from; name at least one value")
        twice = [option for i, option in enumerate(options) if option in options[:i]]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice in the list; name each value once")
        return Choice(tuple(options)) if len(options) > 1 else Fixed(options[0])

    def _range(self, written: Mapping[object, object]) -> PlainAxis:
        if self.type in (bool, str):
            raise ValueError("this axis has no order; write a list, such as [a, b]")
        for key in written:
            if key not in ("low", "high", "step", "log"):
                close = get_close_matches(str(key), ("low", "high", "step", "log"), n=1)
                hint = f"did you mean '{close[0]}'?" if close else "use low, high, step, log"
                raise ValueError(f"unknown key {key!r} in a range; {hint}")
        missing = [key for key in ("low", "high") if key not in written]
        if missing:
            raise ValueError(f"a range needs low and high; {missing[0]} is missing")
        low, high = self.number(written["low"]), self.number(written["high"])
        if low > high:
            raise ValueError(f"low {low} is above high {high}; swap them")
        log = Kind(bool).value(written.get("log", False))
        step = written.get("step")
        if log and step is not None:
            raise ValueError("a range has a step or is logarithmic, not both; drop one")
        if log and low <= 0:
            raise ValueError(f"low {low} has no logarithm; start above 0, or drop log")
        width = None if step is None else Kind(self.type).number(step)
        if width is not None and width <= 0:
            raise ValueError(f"step is {width}; use a step above 0")
        if log and self.odd:
            raise ValueError("odd numbers have no logarithmic range; drop log")
        if low == high:
            return Fixed(low)
        if self.type is int:
            return self._int_range(int(low), int(high), width, bool(log))
        if width is not None:
            _reaches(low, high, width)
        return FloatRange(
            float(low), float(high), None if width is None else float(width), bool(log)
        )

    def _int_range(self, low: int, high: int, width: Value | None, log: bool) -> IntRange:
        step = int(width) if width is not None else (2 if self.odd else 1)
        if self.odd and step % 2:
            raise ValueError(f"step {step} leads to even numbers; use an even step")
        _reaches(low, high, step)
        return IntRange(low, high, step, log)


def _reaches(low: float, high: float, step: float) -> None:
    """Raise ValueError where steps from `low` pass over `high`; in decimals, as written."""
    first, last, width = (Decimal(str(number)) for number in (low, high, step))
    if last - first > width * MOST_STEPS:
        raise ValueError(f"there are more than {MOST_STEPS:g} steps of {step}; leave step out")
    if (last - first) % width:
        reached = first + (last - first) // width * width
        raise ValueError(
            f"high {high} is not reached from {low} in steps of {step}; use {reached} or "
            f"{reached + width}"
        )
