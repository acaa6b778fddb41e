"""What a study will cost, known before it begins: from a short probe of what it would train."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import optuna

from hpsearch.data.prepared import Prepared
from hpsearch.machine.children import cores, in_child
from hpsearch.search.finalists import CONFIRM_SHARE
from hpsearch.search.promotion import share_of_epochs
from hpsearch.search.scheduler import scheduler_for
from hpsearch.study.searching import Search
from hpsearch.study.spec import StudySpec

PROBE = "hpsearch.preflight.probing:probe"  # imported by its processes alone, with torch
OVERHEAD_S = 0.15  # of a trial: claim, sampling, reports, checkpoint
START_S = 4.0  # of the workers
# Simulated curves for the pruner: quality, how much of it shows early, noise of an epoch.
QUALITY, SLOPE, NOISE = 1.0, 0.5, 0.5
SIMULATED = 100  # trials, at most
SIMULATED_EPOCHS = 200  # of each, at most: of more, so many that are evenly spaced are reported

WORTH_PROBING = 1e9  # pixels trained on in the whole study; below, it is over within a minute or so


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a study in seconds, and what it was reckoned from.

    `trial_s` is one trial that nobody stops, on average over the space; `shortest_s` and
    `longest_s` are its cheapest and its dearest part. `search_s` is the whole search without
    pruning, `pruned_s` with it, both with finalists confirmed, the final, its baseline, and within
    the study's timeout.
    """

    trial_s: float
    shortest_s: float
    longest_s: float
    search_s: float
    pruned_s: float
    epochs_share: float  # of all epochs that pruning leaves
    trials: int  # that fit into the timeout
    budget: int
    workers: int


def is_worth_it(spec: StudySpec, prepared: Prepared) -> bool:
    """Whether a study is long enough for a launch to spend a few seconds on an estimate."""
    images = min(prepared.totals[0], spec.search.epoch_images or prepared.totals[0])
    pixels = math.prod(prepared.image_shape[1:]) * images
    return spec.trial_budget() * spec.search.epochs * pixels > WORTH_PROBING


def estimate(
    spec: StudySpec,
    prepared: Prepared,
    workers: int | None = None,
    device: str = "auto",
    interrupted: Callable[[], bool] = lambda: False,
) -> Estimate:
    """Return what a study will cost with so many workers (one per core), timed on all of them.

    Takes about five seconds: every worker's process trains a few steps of some configurations,
    all at the same time, since they share the machine's memory when it counts.
    """
    count = workers or cores()
    with ThreadPoolExecutor(count) as pool:
        probes = [
            pool.submit(
                in_child,
                PROBE,
                spec.model_dump_json(),
                prepared.folder,
                device,
                number,
                count,
                threads=1,
                interrupted=interrupted,
            )
            for number in range(count)
        ]
        epochs_s = sorted(epoch_s for probe in probes for epoch_s in probe.result())
    return reckoned(spec, epochs_s, count)


def reckoned(spec: StudySpec, epochs_s: list[float], workers: int) -> Estimate:
    """Return the estimate from the seconds of an epoch in equal parts of the space."""
    epochs = spec.search.epochs
    trials_s = [epoch_s * epochs + OVERHEAD_S for epoch_s in epochs_s]
    if spec.search.trial_timeout is not None:
        trials_s = [min(took, spec.search.trial_timeout) for took in trials_s]
    mean = float(np.mean(trials_s))
    share = epochs_left(spec.search, spec.trial_budget())
    budget, timeout = spec.trial_budget(), spec.search.timeout or math.inf

    def whole(trial_s: float) -> float:
        rounds = math.ceil(budget / workers) if budget < 3 * workers else budget / workers
        return min(timeout, START_S + rounds * trial_s + confirm_s + START_S + final_s)

    final_s = mean * (2 if spec.final.baseline and workers == 1 else 1)  # else both at once
    trainings = spec.candidates() * spec.confirm.seeds
    confirm_s = math.ceil(trainings / workers) * mean
    kept_s = min(confirm_s, CONFIRM_SHARE * timeout) if trainings else 0.0
    fitting = (timeout - kept_s - 2 * START_S - final_s) * workers / (mean * share)
    return Estimate(
        trial_s=mean,
        shortest_s=trials_s[0],
        longest_s=trials_s[-1],
        search_s=whole(mean),
        pruned_s=whole(mean * share),
        epochs_share=share,
        trials=max(0, min(budget, int(min(fitting, 1e9)))),
        budget=budget,
        workers=workers,
    )


def epochs_left(search: Search, trials: int) -> float:
    """Return the share of all epochs that a study's pruner leaves to be trained.

    The real pruner judges simulated curves: what a trial is worth shows more with every epoch,
    beneath a noise. One seed; between real studies the share varies by about a quarter of itself.
    """
    if search.pruner.name == "none":
        return 1.0
    if search.pruner.name == "promote":
        return share_of_epochs(search, trials)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(0)
    count = min(trials, SIMULATED)
    study = optuna.create_study(direction="maximize", pruner=scheduler_for(search).pruner)
    trained, steps = 0, min(search.epochs, SIMULATED_EPOCHS)
    reported = [round((i + 1) * search.epochs / steps) for i in range(steps)]
    for _ in range(count):
        trial = study.ask()
        worth = rng.normal(0, QUALITY)
        state = optuna.trial.TrialState.COMPLETE
        for epoch in reported:
            trained += 1
            value = worth - SLOPE / epoch + rng.normal(0, NOISE) / math.sqrt(epoch)
            trial.report(value, epoch)
            if epoch < search.epochs and trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        complete = state == optuna.trial.TrialState.COMPLETE
        study.tell(trial, value if complete else None, state=state)
    return trained / (count * steps)
