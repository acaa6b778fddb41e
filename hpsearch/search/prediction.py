"""How long an epoch of a configuration takes: by its work, mended by what trials took."""

from __future__ import annotations

import math
from collections.abc import Iterable

from optuna.trial import FrozenTrial

NEAR = 0.7  # in the logarithm of what an epoch takes: networks of half to twice the cost
DOUBT = 0.5  # trials' worth of trust in what was predicted without any
REMEMBERED = 200  # of the last trials; earlier ones tell nothing more

Known = list[tuple[float, float]]  # seconds of an epoch: (predicted without trials, measured)


def known_from(trials: Iterable[FrozenTrial], device: str) -> Known:
    """Return what the epochs of trials were predicted to take, and took, on a device."""
    found: Known = []
    for trial in list(trials)[-REMEMBERED:]:
        attrs = trial.user_attrs
        predicted_s, curve = attrs.get("predicted_s"), attrs.get("curve")
        if predicted_s and curve and attrs.get("duration_s") and attrs.get("device") == device:
            found.append((predicted_s, attrs["duration_s"] / len(curve)))
    return found


def mended(predicted_s: float, known: Known) -> float:
    """Return a prediction, corrected by how far those of about the same cost were off."""
    weights, off = DOUBT, 0.0
    for then_s, took_s in known:
        distance = math.log(predicted_s / then_s) / NEAR
        weight = math.exp(-(distance**2) / 2)
        weights += weight
        off += weight * math.log(took_s / then_s)
    return predicted_s * math.exp(off / weights)
