"""What a network may take, and what of it is a goal of the search beside the metric."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeGuard

from pydantic import BeforeValidator, model_validator

from hpsearch.study.limits import FLOPS, LATENCY_MS, PARAMETERS, at_most
from hpsearch.study.splits import Section

Quantity = Literal["parameters", "flops", "latency"]
RECORDED_AS: dict[Quantity, str] = {  # the user attribute of a trial
    "parameters": "parameters",
    "flops": "forward_flops",
    "latency": "latency_ms",
}

BEYOND = 1e300  # numbers; what is larger, or none, is a slip of the pen
_AMOUNT = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*([kKMG]?)")
_TIMES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_WRITE = "write a whole number above 0, as 500000, 500k, 20M or 1.5G"


def amount(written: object) -> object:
    """Return a number of things: 500000, `"500k"`, `"20M"`, `"1.5G"`; ValueError says what else."""
    if written is None:
        return None
    found = _AMOUNT.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is not None:
        number: object = round(float(found[1]) * _TIMES[found[2]], 3)  # 1.1 M is not quite whole
    else:
        number = written
    if not _is_number(number) or number < 1 or number % 1:
        raise ValueError(f"{repr(written)[:40]} is no amount; {_WRITE}")
    return int(number)


def _is_number(written: object) -> TypeGuard[int | float]:
    if not isinstance(written, int | float) or isinstance(written, bool):
        return False
    return abs(written) < BEYOND


def _milliseconds(written: object) -> object:
    if written is not None and (not _is_number(written) or written <= 0):
        raise ValueError(f"{repr(written)[:40]} is no number of milliseconds; write 2 or 0.5")
    return written


Parameters = Annotated[int | None, BeforeValidator(amount), at_most(PARAMETERS)]
Flops = Annotated[int | None, BeforeValidator(amount), at_most(FLOPS)]
Milliseconds = Annotated[float | None, BeforeValidator(_milliseconds), at_most(LATENCY_MS)]


class Constraints(Section):
    """What a network may take at most. What takes more is not trained, and the sampler learns so.

    `flops` are those of one image forward, a multiply-add counts 2. `latency_ms` is the time of one
    image on the worker's device with one thread.
    """

    parameters: Parameters = None
    flops: Flops = None
    latency_ms: Milliseconds = None

    def of(self, quantity: Quantity) -> float | None:
        """Return the limit of a quantity, None without one."""
        limits = {
            "parameters": self.parameters,
            "flops": self.flops,
            "latency": self.latency_ms,
        }
        return limits[quantity]


class Goals(Section):
    """What a search wants of networks beside a good metric.

    A network that takes more than its `constraints` is not trained; `max_parameters` is another
    name of the one of parameters. `also` is what is to be small, too.
    """

    max_parameters: Parameters = None
    constraints: Constraints = Constraints()
    also: Quantity | None = None

    @model_validator(mode="after")
    def _limits_agree(self) -> Goals:
        one, other = self.max_parameters, self.constraints.parameters
        if one is not None and other is not None and one != other:
            raise ValueError(
                f"max_parameters is {one:,} and constraints.parameters {other:,}, which are two "
                "names of one limit; leave one of them out"
            )
        return self

    def most(self, quantity: Quantity) -> float | None:
        """Return what a network may take of a quantity at most, None where that is open."""
        if quantity == "parameters" and self.max_parameters is not None:
            return self.max_parameters
        return self.constraints.of(quantity)

    def limits(self) -> dict[str, float]:
        """Return all limits, by what a trial records."""
        named = ((attribute, self.most(quantity)) for quantity, attribute in RECORDED_AS.items())
        return {attribute: most for attribute, most in named if most is not None}

    def idle_goal(self, sampler: str) -> list[str]:
        """Return a warning where a sampler proposes the same whatever is to be small."""
        if self.also is None or sampler not in ("random", "grid"):
            return []
        return [f"search.also: {sampler} proposes the same with it; tpe and gp learn what is small"]
