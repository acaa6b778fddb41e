"""How long the network of a trial takes for an image: measured once, where a study asks for it."""

from __future__ import annotations

import torch
from optuna.trial import Trial

from hpsearch.data.prepared import SearchData
from hpsearch.models.layers import ImageShape
from hpsearch.models.limits import Infeasible, too_slow
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.records import TrialNotes
from hpsearch.study.config import TrialConfig
from hpsearch.study.searching import Search
from hpsearch.training.latency import latency


def slow(
    trial: Trial, search: Search, config: TrialConfig, data: SearchData, device: torch.device
) -> Infeasible | None:
    """Return why a trial's network takes too long for an image, None where it does not.

    What was measured is recorded, with what it was measured on, and holds for whoever has the trial
    later: another machine would be as quick or slow to others. Nothing is measured unless the study
    has a limit of it, or wants it small.
    """
    most = search.most("latency")
    if most is None and search.also != "latency":
        return None
    ms, measured_on = trial.user_attrs.get("latency_ms"), trial.user_attrs.get("latency_on")
    if ms is None or measured_on is None:
        found = latency(config, ImageShape(*data.image_shape), len(data.outputs), device, most)
        ms, measured_on = found.ms, found.measured_on
        note(trial, TrialNotes(latency_ms=ms, latency_on=measured_on))
    return too_slow(ms, measured_on, search)
