"""The configurations that a study tries before its sampler is asked.

They are found when a study is entered, and stored with it, so that every worker gives a slot the
same one, whatever version it is of and without the files that were named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from optuna.trial import FixedTrial

from hpsearch.data.prepared import Prepared
from hpsearch.search.keys import config_of, key_of
from hpsearch.search.known_good import known_good
from hpsearch.storage.optuna_private import study_id_of
from hpsearch.storage.storage import Storage
from hpsearch.study.axes import Value
from hpsearch.study.config import is_idle
from hpsearch.study.spec import StudySpec

STARTS = "hpsearch:starts"  # the system attribute of Optuna's study
KNOWN_GOOD = "known to be good"  # begins the origin of what comes with us
SHARE = 4  # at most one of so many trials is given to what is known to be good, ...
DEFAULT = "the default of "
MOST_GOOD = 6  # ... where trials are as many as fit, too


@dataclass(frozen=True)
class Start:
    """A configuration as a trial stores it, where it is from, and what was moved into the space.

    `also` names what else was wanted and is the same point, with what of it was moved.
    """

    origin: str
    params: dict[str, Value]
    moved: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """It in a line, with what was moved."""
        return f"{self.origin} ({', '.join(self.moved)})" if self.moved else self.origin


@dataclass(frozen=True)
class Wanted:
    """Values that are to be tried, and where they are from."""

    origin: str
    values: Mapping[str, Value]
    told: bool = True  # whether it is said what of them was moved


def starts_of(spec: StudySpec, prepared: Prepared, best: Sequence[Wanted] = ()) -> list[Start]:
    """Return what a study tries first, in this order, each configuration once.

    The default of its first family, its own candidates, the `best` of the study that it starts
    from, the defaults of the other families, and what is known to be good on such data, of which
    there are no more than six, and than a quarter of the trials. A grid has none.
    """
    if spec.search.sampler.name == "grid":
        return []
    families = spec.space.families()
    default = [Wanted(f"{DEFAULT}{f}", {"family": f}, told=False) for f in families]
    own = [Wanted(candidate.file, candidate.values) for candidate in spec.search.first]
    wanted = [default[0], *own, *best, *default[1:]]
    found = _distinct(spec, prepared, wanted)
    good = known_good(spec, prepared.image_shape, prepared.totals[0])
    rows = [Wanted(f"{KNOWN_GOOD}: {row.found}", row.values, told=False) for row in good]
    most = len(found) + min(spec.trial_budget() // SHARE, MOST_GOOD)
    return _distinct(spec, prepared, [*wanted, *rows])[:most]


def _distinct(spec: StudySpec, prepared: Prepared, wanted: Sequence[Wanted]) -> list[Start]:
    """Return what is wanted as points of the space, the first of each."""
    found: dict[str, Start] = {}
    for one in wanted:
        params = spec.space.nearest_params(one.values)
        moved = moved_into(spec, one.values, params) if one.told else ()
        key = key_of(config_of(spec, prepared.fingerprint, params))
        start = Start(one.origin, params, moved)
        first = found.setdefault(key, start)
        if first is not start and one.told:
            found[key] = replace(first, also=(*first.also, start.words))
    return list(found.values())


def moved_into(
    spec: StudySpec, wanted: Mapping[str, Value], params: Mapping[str, Value]
) -> tuple[str, ...]:
    """Return in words which values the nearest point of the space has not."""
    taken = spec.space.pick_all(FixedTrial(dict(params)))
    return tuple(
        f"{name} {_shown(wanted[name])} -> {_shown(value)}"
        for name, value in taken.items()
        if name in wanted
        and not is_idle(name, taken)
        and not _same(spec, name, wanted[name], value)
    )


def _same(spec: StudySpec, name: str, wanted: Value, taken: Value) -> bool:
    if name == "loss":
        return spec.loss(wanted) == spec.loss(taken)
    return wanted == taken


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def keep_starts(storage: Storage, name: str, starts: Sequence[Start]) -> None:
    """Store with a study of Optuna's what it tries first."""
    study_id = study_id_of(storage.known(name))
    storage.optuna.set_study_system_attr(study_id, STARTS, [asdict(start) for start in starts])


def starts_in(storage: Storage, name: str) -> list[Start] | None:
    """Return what a stored study tries first; None where an earlier version entered it."""
    attrs = storage.optuna.get_study_system_attrs(study_id_of(storage.known(name)))
    if STARTS not in attrs:
        return None
    return [
        Start(s["origin"], s["params"], tuple(s["moved"]), tuple(s["also"])) for s in attrs[STARTS]
    ]


def first_lines(starts: Sequence[Start], trials: int) -> list[str]:
    """Return in words what is tried first besides the defaults, with what was moved.

    Of so many `trials`; what is beyond them is named, too.
    """
    lines = []
    for slot, start in enumerate(starts):
        if start.origin.startswith(DEFAULT) and not start.also:
            continue
        also = "".join(f"; so is {other}" for other in start.also)
        late = "" if slot < trials else f", if there are more than {trials} trials"
        lines.append(f"trial {slot} is to be {start.words}{also}{late}")
    return lines
