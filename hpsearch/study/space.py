"""The search space: one axis per hyperparameter, read both ways by `pick_all`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from hpsearch.study import config, tasks
from hpsearch.study.axes import (
    FAMILY_NAMES,
    Axis,
    ByFamily,
    Choice,
    Fixed,
    FloatRange,
    IntRange,
    Kind,
    PlainAxis,
    Value,
)
from hpsearch.study.config import IDLE, OWN_VALUES, has, is_idle
from hpsearch.study.limits import HIGHEST

if TYPE_CHECKING:
    import optuna


class Space(BaseModel):
    """One axis per hyperparameter; an axis that the study file does not name holds its default.

    The defaults are a known-good configuration: moved to the nearest point of the space they are
    the first trial of every study, so that tuning has something to beat. An axis that a family does
    not have (`OWN_VALUES`) is neither sampled for it nor part of its defaults and its grid, and no
    more is one that nothing reads beside the values of others (`IDLE`): it holds its default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    family: Annotated[Axis, Kind(str, allowed=FAMILY_NAMES)] = Fixed("alexnet")
    filters: Annotated[Axis, Kind(int, low=1, high=HIGHEST["filters"])] = Fixed(48)
    layers: Annotated[Axis, Kind(int, low=1, high=HIGHEST["layers"])] = Fixed(3)
    kernel_size: Annotated[Axis, Kind(int, low=1, high=HIGHEST["kernel_size"], odd=True)] = Fixed(3)
    units1: Annotated[Axis, Kind(int, low=1, high=HIGHEST["units1"])] = Fixed(128)
    units2: Annotated[Axis, Kind(int, low=1, high=HIGHEST["units2"])] = Fixed(64)
    activation: Annotated[Axis, Kind(str, allowed=get_args(config.Activation))] = Fixed("gelu")
    pooling: Annotated[Axis, Kind(str, allowed=get_args(config.Pooling))] = Fixed("max")
    batch_norm: Annotated[Axis, Kind(bool)] = Fixed(True)
    convolutions: Annotated[Axis, Kind(int, low=1, high=HIGHEST["convolutions"])] = Fixed(2)
    reduction: Annotated[Axis, Kind(int, low=1, high=HIGHEST["reduction"])] = Fixed(2)
    block: Annotated[Axis, Kind(str, allowed=get_args(config.Block))] = Fixed("basic")
    blocks: Annotated[Axis, Kind(int, low=1, high=HIGHEST["blocks"])] = Fixed(1)
    squeeze: Annotated[Axis, Kind(int, low=1, high=HIGHEST["squeeze"])] = Fixed(16)
    squeeze_where: Annotated[Axis, Kind(str, allowed=get_args(config.SqueezeWhere))] = Fixed("all")
    backbone: Annotated[Axis, Kind(str, allowed=get_args(config.Backbone))] = Fixed("resnet18")
    unfreeze: Annotated[Axis, Kind(str, allowed=get_args(config.Unfreeze))] = Fixed("none")
    body_rate: Annotated[Axis, Kind(float, low=1e-6, high=1)] = Fixed(0.1)
    dropout: Annotated[Axis, Kind(float, low=0, high=0.95)] = Fixed(0.1)
    optimizer: Annotated[Axis, Kind(str, allowed=get_args(config.Optimizer))] = Fixed("adamw")
    learning_rate: Annotated[Axis, Kind(float, low=1e-8, high=HIGHEST["learning_rate"])] = Fixed(
        3e-3
    )
    weight_decay: Annotated[Axis, Kind(float, low=0, high=HIGHEST["weight_decay"])] = Fixed(1e-2)
    batch_size: Annotated[Axis, Kind(int, low=1, high=HIGHEST["batch_size"])] = Fixed(128)
    schedule: Annotated[Axis, Kind(str, allowed=get_args(config.Schedule))] = Fixed("one-cycle")
    averaging: Annotated[Axis, Kind(str, allowed=get_args(config.Averaging))] = Fixed("none")
    patience: Annotated[Axis, Kind(int, low=0, high=HIGHEST["patience"])] = Fixed(2)
    factor: Annotated[Axis, Kind(float, low=1e-4, high=0.99)] = Fixed(0.3)
    label_smoothing: Annotated[Axis, Kind(float, low=0, high=0.9)] = Fixed(0.0)
    flip: Annotated[Axis, Kind(bool)] = Fixed(False)
    shift: Annotated[Axis, Kind(int, low=0, high=HIGHEST["shift"])] = Fixed(0)
    loss: Annotated[
        Axis, Kind(str, allowed=(tasks.AUTO, *get_args(tasks.Loss)), instead=tasks.OTHER_NAMES)
    ] = Fixed(tasks.AUTO)

    @model_validator(mode="after")
    def _families_are_complete(self) -> Space:
        if isinstance(self.family, ByFamily):
            raise ValueError("family: write one name or a list of names")
        for name in self.model_fields_set:
            self._check_families(name, getattr(self, name))
        return self

    def _check_families(self, name: str, axis: Axis) -> None:
        """Raise ValueError where something is said for the wrong families, or not for all."""
        having = [family for family in self.families() if has(family, name)]
        if not having:
            raise ValueError(
                f"{name}: {_listed(self.families())} has no such axis, but "
                f"{_listed(sorted(OWN_VALUES[name]))}; leave it out"
            )
        if isinstance(axis, ByFamily):
            strange = [family for family in axis.axes if not has(family, name)]
            if strange:
                raise ValueError(f"{name}: {strange[0]} has no such axis; leave it out")
            missing = [family for family in having if family not in axis.axes]
            if missing:
                raise ValueError(f"{name}: nothing is said for the family {missing[0]}")

    def families(self) -> tuple[Value, ...]:
        """Return the families that this space can yield."""
        assert isinstance(self.family, Fixed | Choice)
        return self.family.points()

    def axis_of(self, name: str, family: Value) -> tuple[str, PlainAxis]:
        """Return an axis as it is for one family, and the name its values are stored under."""
        axis: Axis = getattr(self, name)
        if isinstance(axis, ByFamily):
            return f"{family}.{name}", axis.axes[str(family)]
        return name, axis

    def values(self, name: str) -> set[Value]:
        """Return every value that an axis may take, or the two ends of a continuous one."""
        found: set[Value] = set()
        for family in self.families():
            axis = self.axis_of(name, family)[1]
            found |= {axis.low, axis.high} if isinstance(axis, FloatRange) else set(axis.points())
        return found

    def pick_all(self, trial: optuna.trial.BaseTrial) -> dict[str, Value]:
        """Return a value for every axis that the trial's family has.

        Asked of a live trial, or read back from a stored one. What is idle beside the values picked
        so far is not asked for, unless the trial has it, as those of before 0.2 do.
        """
        family = self.axis_of("family", "")[1].pick("family", trial)
        picked: dict[str, Value] = {"family": family}
        for name in self.names(family):
            if name != "family":
                stored, axis = self.axis_of(name, family)
                idle = is_idle(name, picked) and stored not in trial.params
                picked[name] = axis.nearest(_default(name)) if idle else axis.pick(stored, trial)
        return picked

    def names(self, family: Value) -> list[str]:
        """Return the names of the axes that a family has."""
        return [name for name in type(self).model_fields if has(family, name)]

    def searched(self) -> dict[str, Axis]:
        """Return the axes that are not fixed."""
        return {name: axis for name, axis in self if not isinstance(axis, Fixed)}

    def default_params(self, family: Value) -> dict[str, Value]:
        """Return, as a trial stores them, the known-good defaults moved into this space."""
        return self.nearest_params({"family": family})

    def nearest_params(self, wanted: Mapping[str, Value]) -> dict[str, Value]:
        """Return, as a trial stores it, the point of this space that is nearest to a configuration.

        Axes that it does not name are taken from the defaults.
        """
        family = self.axis_of("family", "")[1].nearest(wanted.get("family", _default("family")))
        taken: dict[str, Value] = {"family": family}
        params: dict[str, Value] = {}
        for name in self.names(family):
            stored_name, axis = self.axis_of(name, family)
            if name != "family":
                taken[name] = axis.nearest(wanted.get(name, _default(name)))
            if not isinstance(axis, Fixed) and not is_idle(name, taken):
                params[stored_name] = taken[name]
        return params

    def longest(self) -> tuple[str, int]:
        """Return the axis with the most points, of those whose points can be counted."""
        sizes = [("family", len(self.families()))]
        for family in self.families():
            for name in self.names(family):
                sizes.append((name, _count(self.axis_of(name, family)[1]) or 0))
        return max(sizes, key=lambda found: found[1])

    def grid_size(self, with_idle: bool = False) -> int | None:
        """Return the number of points of the grid, None where an axis is continuous."""
        if self.continuous():
            return None
        return sum(self._size_of(family, with_idle) for family in self.families())

    def _size_of(self, family: Value, with_idle: bool) -> int:
        """Return the number of points of a family, counted beside each value that idles others."""
        others = sorted({IDLE[name][0] for name in self.names(family) if name in IDLE})
        size = 0
        for values in itertools.product(*(self._points(other, family) for other in others)):
            beside = dict(zip(others, values, strict=True))
            asked = [n for n in self.names(family) if n != "family" and n not in beside]
            going = [n for n in asked if with_idle or not is_idle(n, beside)]
            size += math.prod(_count(self.axis_of(name, family)[1]) or 0 for name in going)
        return size

    def _points(self, name: str, family: Value) -> tuple[Value, ...]:
        return self.axis_of(name, family)[1].points() or ()

    def grid(self, with_idle: bool = False) -> Iterator[dict[str, Value]]:
        """Yield every point of the grid as a trial stores it; the space has to be finite.

        `with_idle` yields a point for each value of an axis that is idle there, too, as before 0.2.
        """
        for family in self.families():
            named = {"family": family} if isinstance(self.family, Choice) else {}
            axes = [(n, *self.axis_of(n, family)) for n in self.names(family) if n != "family"]
            picked = {name: axis.value for name, _, axis in axes if isinstance(axis, Fixed)}
            searched = [(n, stored, a.points() or ()) for n, stored, a in axes if n not in picked]
            for params in _grid_of(searched, picked, with_idle):
                yield named | params

    def continuous(self) -> list[str]:
        """Return the names of the axes that have no finite list of values."""
        return sorted(
            {
                name
                for family in self.families()
                for name in self.names(family)
                if _count(self.axis_of(name, family)[1]) is None
            }
        )

    def notation(self) -> dict[str, Any]:
        """Return the space in the notation of the study file, defaults included.

        Axes that none of its families has are left out.
        """
        written = self.model_dump(mode="json")
        return {n: axis for n, axis in written.items() if any(has(f, n) for f in self.families())}


def _grid_of(
    axes: list[tuple[str, str, tuple[Value, ...]]], picked: dict[str, Value], with_idle: bool
) -> Iterator[dict[str, Value]]:
    """Yield all points on axes (name, stored name, values) beside what is picked already."""
    if not axes:
        yield {}
        return
    (name, stored_name, points), *others = axes
    if is_idle(name, picked) and not with_idle:
        yield from _grid_of(others, picked, with_idle)
        return
    for point in points:
        for params in _grid_of(others, picked | {name: point}, with_idle):
            yield {stored_name: point} | params


def _count(axis: PlainAxis) -> int | None:
    """Return how many points an axis has, None where there is no end of them."""
    if isinstance(axis, FloatRange):
        return axis.size()
    if isinstance(axis, IntRange):
        return len(range(axis.low, axis.high + 1, axis.step))
    return len(axis.points())


def _default(name: str) -> Value:
    """Return the known-good value of an axis."""
    axis: Fixed = Space.model_fields[name].default
    return axis.value


def _listed(names: Iterable[Value]) -> str:
    return " or ".join(map(str, names))
