"""The search space: one axis per hyperparameter, read both ways by `pick_all`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
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
    Kind,
    PlainAxis,
    Value,
)
from hpsearch.study.config import OWN_VALUES, has
from hpsearch.study.limits import HIGHEST

if TYPE_CHECKING:
    import optuna


class Space(BaseModel):
    """One axis per hyperparameter; an axis that the study file does not name holds its default.

    The defaults are a known-good configuration: moved to the nearest point of the space they are
    the first trial of every study, so that tuning has something to beat. An axis that a family does
    not have (`OWN_VALUES`) is neither sampled for it nor part of its defaults and its grid.
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

        Asked of a live trial, or read back from a stored one.
        """
        family = self.axis_of("family", "")[1].pick("family", trial)
        picked: dict[str, Value] = {"family": family}
        for name in self.names(family):
            if name != "family":
                stored_name, axis = self.axis_of(name, family)
                picked[name] = axis.pick(stored_name, trial)
        return picked

    def names(self, family: Value) -> list[str]:
        """Return the names of the axes that a family has."""
        return [name for name in type(self).model_fields if has(family, name)]

    def searched(self) -> dict[str, Axis]:
        """Return the axes that are not fixed."""
        return {name: axis for name, axis in self if not isinstance(axis, Fixed)}

    def default_params(self, family: Value) -> dict[str, Value]:
        """Return, as a trial stores them, the known-good defaults moved into this space."""
        params: dict[str, Value] = {}
        for name in self.names(family):
            stored_name, axis = self.axis_of(name, family)
            wanted = family if name == "family" else type(self).model_fields[name].default.value
            if not isinstance(axis, Fixed):
                params[stored_name] = axis.nearest(wanted)
        return params

    def longest(self) -> tuple[str, int]:
        """Return the axis with the most points, of those whose points can be counted."""
        sizes = [("family", len(self.families()))]
        for family in self.families():
            for name in self.names(family):
                axis = self.axis_of(name, family)[1]
                size = axis.size() if isinstance(axis, FloatRange) else len(axis.points())
                sizes.append((name, size or 0))
        return max(sizes, key=lambda found: found[1])

    def grid_size(self) -> int | None:
        """Return the number of points of the grid, None where an axis is continuous."""
        sizes = [self._grid_of(family) for family in self.families()]
        if any(points is None for _, points in itertools.chain(*sizes)):
            return None
        return sum(math.prod(len(points or ()) for _, points in axes) for axes in sizes)

    def grid(self) -> Iterator[dict[str, Value]]:
        """Yield every point of the grid as a trial stores it; the space has to be finite."""
        for family in self.families():
            axes = self._grid_of(family)
            for point in itertools.product(*(points or () for _, points in axes)):
                yield dict(zip((name for name, _ in axes), point, strict=True))

    def _grid_of(self, family: Value) -> list[tuple[str, tuple[Value, ...] | None]]:
        axes: list[tuple[str, tuple[Value, ...] | None]] = []
        for name in self.names(family):
            stored_name, axis = self.axis_of(name, family)
            if not isinstance(axis, Fixed):
                axes.append((stored_name, (family,) if name == "family" else axis.points()))
        return axes

    def continuous(self) -> list[str]:
        """Return the names of the axes that have no finite list of values."""
        return sorted(
            {
                name
                for family in self.families()
                for name in self.names(family)
                if self.axis_of(name, family)[1].points() is None
            }
        )

    def notation(self) -> dict[str, Any]:
        """Return the space in the notation of the study file, defaults included.

        Axes that none of its families has are left out.
        """
        written = self.model_dump(mode="json")
        return {n: axis for n, axis in written.items() if any(has(f, n) for f in self.families())}


def _listed(names: Iterable[Value]) -> str:
    return " or ".join(map(str, names))
