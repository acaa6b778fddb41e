"""What a study file can mean, but seldom does."""

from __future__ import annotations

from hpsearch.study.axes import Fixed
from hpsearch.study.config import IDLE
from hpsearch.study.space import Space

NAMED = 4  # axes in a warning


def seldom_meant(space: Space, sampler: str, epochs: int, early_patience: int | None) -> list[str]:
    """Return warnings: patience that outlasts every trial, axes that a sampler cannot learn.

    `early_patience` is that of early stopping, None without it.
    """
    return [*_idle_patience(space, epochs, early_patience), *_drawn_at_random(space, sampler)]


def hidden_early(space: Space) -> list[str]:
    """Return a warning where schedules hide until the last epoch what is good at it."""
    falling = sorted(
        str(s) for s in space.values("schedule") if s not in ("constant", "warmup-constant")
    )
    if not falling:
        return []
    return [
        f"space.schedule: under {' and '.join(falling)} a score in the middle of a training says "
        "little of the last one, and promote compares them there; leave schedule out, or write "
        "warmup-constant with averaging: ema"
    ]


def small_epochs(space: Space, epoch_images: int | None) -> list[str]:
    """Return a warning where an epoch has fewer images than some batch of the space."""
    largest = max(int(size) for size in space.values("batch_size"))
    if epoch_images is None or largest <= epoch_images:
        return []
    return [
        f"search.epoch_images: an epoch of {epoch_images:,} images has no batch of "
        f"{largest:,}; larger batches are cut to {epoch_images:,}"
    ]


def _idle_patience(space: Space, epochs: int, early_patience: int | None) -> list[str]:
    found = []
    waits = sorted(int(p) for p in space.values("patience"))
    # The first epoch is always the best so far, and a rate that falls after the last is idle.
    idle = [p for p in waits if p > epochs - 3]
    plateau = "plateau" in space.values("schedule")
    if plateau and idle:
        found.append(
            f"space.patience: {idle[0]} can never act: the plateau schedule lowers the rate "
            f"after epoch {idle[0] + 2} at the earliest, and trials have {epochs} epochs"
        )
    if early_patience is None:
        return found
    if early_patience > epochs - 2:
        found.append(
            f"search.early_stopping: patience {early_patience} can never act: it stops a trial "
            f"after epoch {early_patience + 1} at the earliest, and trials have {epochs} epochs"
        )
    elif plateau and early_patience <= waits[-1]:
        found.append(
            f"search.early_stopping: patience {early_patience} stops a trial before the "
            f"plateau schedule with patience {waits[-1]} lowers its rate; give it more"
        )
    return found


def _drawn_at_random(space: Space, sampler: str) -> list[str]:
    """Return which axes a Gaussian process never models: those that not every trial has."""
    if sampler != "gp":
        return []
    families = space.families()
    stored = [_searched(space, family) for family in families]
    shared = set(stored[0]).intersection(*stored) - _idle_at_times(space)
    alone = sorted(set().union(*stored) - shared)
    if not alone:
        return []
    more = f" and {len(alone) - NAMED} more" if len(alone) > NAMED else ""
    those = f"all {len(families)} families" if len(families) > 1 else "all trials"
    return [
        f"search.sampler: gp learns axes that {those} have, and draws "
        f"{', '.join(alone[:NAMED])}{more} at random to the end; tpe learns them, too"
    ]


def _idle_at_times(space: Space) -> set[str]:
    """Return the names under which axes are stored that only some trials have beside others."""
    found = set()
    for family in space.families():
        for name in (n for n in space.names(family) if n in IDLE):
            other, beside = IDLE[name]
            values = space.axis_of(other, family)[1].points() or ()
            if beside.intersection(values):
                found.add(space.axis_of(name, family)[0])
    return found


def _searched(space: Space, family: object) -> set[str]:
    """Return the names under which a family's searched axes are stored."""
    axes = (space.axis_of(name, str(family)) for name in space.names(str(family)))
    return {stored for stored, axis in axes if not isinstance(axis, Fixed)}
