"""Durations as a study file and the options of commands write them."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

from hpsearch.study.limits import DURATION_S, at_most

LONGEST_DURATION = 100  # characters
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(written: object) -> float:
    """Return a duration in seconds: `90`, `"90s"`, `"30m"`, `"1h30m"`, `"2d"`."""
    if isinstance(written, int | float) and not isinstance(written, bool):
        total = float(written) if abs(written) < 1e308 else math.inf
    else:
        text = str(written)[:LONGEST_DURATION]  # a longer run of digits takes its square in time
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
        whole = "".join(number + unit for number, unit in parts)
        if not parts or whole != re.sub(r"\s", "", str(written).lower()):
            raise ValueError(f"{written!r} is not a duration; write 90s, 30m or 1h30m")
        total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not 0 < total < math.inf:
        raise ValueError(f"{written!r} is not a duration above 0")
    return total


Duration = Annotated[float, BeforeValidator(seconds), at_most(DURATION_S)]
