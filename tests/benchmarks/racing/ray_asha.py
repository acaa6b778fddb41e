"""A peer in the race: Ray Tune with ASHA as its tutorial for torch has it, two trials at once.

Each trial has one core, configurations are random, and ASHA has the tutorial's settings: it stops
(it does not pause) from epoch 1 on with a reduction factor of 2.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import ray
import torch
from racing.lines import Lines, asked
from racing.tutorial import EPOCHS, keep, trained, validate
from ray import tune
from ray.tune.schedulers import ASHAScheduler

CORES = 2


def main() -> None:
    folder, splits, seconds, seed = asked()
    if seconds <= 0:
        Lines.of(folder).validation(*validate(folder, splits))
        return
    began = Lines.of(folder).began
    ray.init(
        num_cpus=CORES,
        include_dashboard=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}},
    )

    def train(config: dict[str, Any]) -> None:
        lines = Lines(folder / "lines.jsonl", began)
        trial = int(tune.get_context().get_trial_id().split("_")[-1])
        torch.manual_seed(seed + trial)
        lines.begun(trial, config)
        for epoch, test, model in trained(config, splits):
            lines.epoch(trial, epoch, test)
            keep(folder, test, config, model)
            if epoch == EPOCHS:
                lines.complete(trial)
            tune.report({"test": test})

    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={
            "filters": tune.qrandint(16, 128, 8),
            "layers": tune.randint(1, 5),
            "kernel_size": tune.choice([3, 5]),
            "units1": tune.qrandint(32, 128, 8),
            "units2": tune.qrandint(32, 128, 8),
            "optimizer": tune.choice(["adam", "adamw", "sgd"]),
            "batch_size": tune.qrandint(32, 256, 32),
            "learning_rate": tune.loguniform(1e-4, 1e-1),
        },
        tune_config=tune.TuneConfig(
            metric="test",
            mode="max",
            num_samples=-1,
            scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=2),
            time_budget_s=seconds,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), name="race", verbose=0),
    )
    tuner.fit()
    ray.shutdown()


if __name__ == "__main__":
    main()
