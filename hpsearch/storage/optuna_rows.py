"""What Optuna's trials hold, as its tables hold it: parameters, attributes, times."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import TrialState

Attrs = Mapping[str, Any]
Params = Mapping[str, tuple[float, BaseDistribution]]  # values as Optuna stores them


@dataclass(frozen=True)
class Changes:
    """What is written to a trial; `steps` are its intermediate values, `state` how it ends."""

    params: Params = field(default_factory=dict)
    user_attrs: Attrs = field(default_factory=dict)
    system_attrs: Attrs = field(default_factory=dict)
    steps: Mapping[int, float] = field(default_factory=dict)
    state: TrialState | None = None
    values: Sequence[float] | None = None


@functools.lru_cache(4096)
def distribution(written: str) -> BaseDistribution:
    """Return a distribution from its JSON; the same object for the same text."""
    return json_to_distribution(written)


def param_rows(trial_id: int, params: Params) -> list[dict[str, Any]]:
    """Return the rows of a trial's parameters."""
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": value,
            "distribution_json": distribution_to_json(drawn_from),
        }
        for name, (value, drawn_from) in params.items()
    ]


def attr_rows(trial_id: int, attrs: Attrs) -> list[dict[str, Any]]:
    """Return the rows of a trial's attributes, either kind."""
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attrs.items()
    ]


def utc_now() -> datetime:
    """Return the time as Optuna's tables have it."""
    return datetime.now(UTC).replace(tzinfo=None)


def utc_time(local: datetime | None) -> datetime | None:
    """Return a time of Optuna's trials as its tables have it."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def local_time(utc: datetime | None) -> datetime | None:
    """Return a time of Optuna's tables as its trials have it."""
    return None if utc is None else utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
