"""A peer in the race: Optuna as its example for torch has it, with TPE and the median pruner."""

from __future__ import annotations

import optuna
import torch
from racing.lines import Lines, asked
from racing.tutorial import keep, trained, validate


def main() -> None:
    folder, splits, seconds, seed = asked()
    if seconds <= 0:
        Lines.of(folder).validation(*validate(folder, splits))
        return
    lines = Lines.of(folder)
    torch.manual_seed(seed)

    def objective(trial: optuna.Trial) -> float:
        config = {
            "filters": trial.suggest_int("filters", 16, 128, step=8),
            "layers": trial.suggest_int("layers", 1, 4),
            "kernel_size": trial.suggest_categorical("kernel_size", [3, 5]),
            "units1": trial.suggest_int("units1", 32, 128, step=8),
            "units2": trial.suggest_int("units2", 32, 128, step=8),
            "optimizer": trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd"]),
            "batch_size": trial.suggest_int("batch_size", 32, 256, step=32),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        }
        lines.begun(trial.number, config)
        test = 0.0
        for epoch, test, model in trained(config, splits):
            lines.epoch(trial.number, epoch, test)
            keep(folder, test, config, model)
            trial.report(test, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned()
        lines.complete(trial.number)
        return test

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, timeout=seconds)


if __name__ == "__main__":
    main()
