"""Optimizers and learning-rate schedules, by the names of the study file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from hpsearch.models.pretrained import PretrainedNet
from hpsearch.study.config import TrialConfig
from hpsearch.training.optimizers import Adam, Sgd

# Warm-up share of the one-cycle and cosine schedules; 0.3 is the one-cycle paper's and torch's.
ONE_CYCLE_WARMUP = 0.3
COSINE_WARMUP = 0.1
CONSTANT_WARMUP = 0.3  # of the first epoch, however many follow: a training can be prolonged
STEPS_AT = (0.5, 0.75)  # of the training: those of ResNet on CIFAR (He et al., 2016)
SGD_MOMENTUM = 0.9


def optimizer_for(config: TrialConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a configuration over all parameters of a model that learn.

    Weight decay spares biases and normalisation (one-dimensional parameters), as is common
    practice since "Bag of Tricks for Image Classification" (He et al., 2019). A pretrained body
    learns at `body_rate` times the learning rate.
    """
    rate = config.learning_rate
    groups: list[dict[str, Any]] = []
    for factor, parameters in _by_rate(config, model):
        decayed = [p for p in parameters if p.requires_grad and p.ndim > 1]
        spared = [p for p in parameters if p.requires_grad and p.ndim <= 1]
        groups += [
            {"params": decayed, "weight_decay": config.weight_decay, "lr": rate * factor},
            {"params": spared, "weight_decay": 0.0, "lr": rate * factor},
        ]
    if config.optimizer == "sgd":
        return Sgd(groups, rate, SGD_MOMENTUM)
    return Adam(groups, rate, decoupled=config.optimizer == "adamw")


def _by_rate(config: TrialConfig, model: nn.Module) -> Iterator[tuple[float, list[nn.Parameter]]]:
    """Yield the parameters of a model with the factor of their learning rate."""
    if isinstance(model, PretrainedNet):
        yield 1.0, list(model.head.parameters())
        if config.unfreeze != "none":
            yield config.body_rate, list(model.body.parameters())
    else:
        yield 1.0, list(model.parameters())


@dataclass
class RateSchedule:
    """The learning rate over a training: informed of every batch and of every epoch's test loss."""

    by_batch: lr_scheduler.LRScheduler | None = None
    by_epoch: lr_scheduler.ReduceLROnPlateau | None = None

    def after_batch(self) -> None:
        if self.by_batch is not None:
            self.by_batch.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on."""
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state)

    @property
    def _scheduler(self) -> lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau | None:
        return self.by_batch or self.by_epoch

    def after_epoch(self, test_loss: float) -> None:
        if self.by_epoch is not None:
            self.by_epoch.step(test_loss)


def schedule_for(
    config: TrialConfig, optimizer: torch.optim.Optimizer, batches: int
) -> RateSchedule:
    """Return the schedule of a configuration; `batches` is the number of batches in an epoch.

    One-cycle: Smith and Topin, "Super-Convergence", 2018. Cosine: Loshchilov and Hutter, "SGDR",
    2017, after a linear warm-up. Plateau: the rate is multiplied by `factor` when test loss has not
    fallen for more than `patience` epochs. Step: by `factor` at a half and at three quarters.
    """
    total = max(config.epochs * batches, 2)
    if config.schedule == "constant":
        return RateSchedule()
    if config.schedule == "warmup-constant":
        rising = max(1, round(CONSTANT_WARMUP * batches))
        return RateSchedule(
            lr_scheduler.LinearLR(optimizer, start_factor=1 / (rising + 1), total_iters=rising)
        )
    if config.schedule == "plateau":
        return RateSchedule(
            by_epoch=lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=config.factor, patience=config.patience
            )
        )
    if config.schedule == "one-cycle":
        return RateSchedule(
            lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=[group["lr"] for group in optimizer.param_groups],
                total_steps=total,
                pct_start=ONE_CYCLE_WARMUP,
                cycle_momentum=False,
            )
        )
    if config.schedule == "step":
        milestones = [max(1, round(share * total)) for share in STEPS_AT]
        return RateSchedule(lr_scheduler.MultiStepLR(optimizer, milestones, config.factor))
    warmup = max(1, round(COSINE_WARMUP * total))
    rise = lr_scheduler.LinearLR(optimizer, start_factor=0.05, total_iters=warmup)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, total - warmup))
    return RateSchedule(lr_scheduler.SequentialLR(optimizer, [rise, fall], [warmup]))
