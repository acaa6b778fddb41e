"""What the numbers are worth: the winner's curse, and whether tuning was worth it, in words.

Every sentence is made of figures that the ledger holds, and says no more than they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpsearch.evaluation.grouped import FEWEST_GROUPS
from hpsearch.reports.sections import Section, Table
from hpsearch.storage.confirmations import Confirmation
from hpsearch.storage.final_record import FinalRecord, LuckRecord, Scores
from hpsearch.storage.records import TrialRecord
from hpsearch.study.tasks import MINIMISED, WORDS, Metric, shown

ERRORS: frozenset[Metric] = MINIMISED | {"r2"}
# Simulated for `grouped_interval`; see docs/trust.md.
UNSHOWN = (
    "Where groups' errors differ many times over, such an interval of a gain holds in 88 % of "
    "studies only."
)


def worth(metric: Metric, final: FinalRecord, opened_once: bool, went_on: bool = False) -> Section:
    """Return what may be believed of the final's scores, and why.

    `went_on` says that trials have ended since, so that the search's scores are those of then.
    """
    then = " at that time" if went_on else ""
    found, confirmed = final.search or LuckRecord(), final.confirm
    rows = []
    if found.best is not None:
        of = f"{found.complete} complete trial(s){then}, trial {found.trial}"
        what = f"best test score of {of}"
        rows.append((what, shown(metric, found.best), ""))
    if confirmed is not None:
        what = f"the choice trained again, mean test score of {confirmed.seeds} seed(s)"
        rows.append((what, shown(metric, confirmed.mean), ""))
    for what, scores in _judged(final, opened_once):
        score, bounds = scores.of(metric), scores.interval
        rows.append((what, shown(metric, score), bounds_text(metric, bounds)))
    lines = [
        groups_line(final.validation),
        _gap_line(metric, final, then),
        _optimism_line(metric, found),
        *_gain_lines(metric, final),
    ]
    title = "How far the number can be trusted"
    header = ("score", WORDS[metric], "95 % interval")
    return Section(title, [line for line in lines if line], Table(header, rows))


def _judged(final: FinalRecord, opened_once: bool) -> Iterable[tuple[str, Scores]]:
    seen = ", seen by nothing before" if opened_once else ""
    yield f"the choice, trial {final.trial}, on validation{seen}", final.validation
    beside = final.baseline
    if beside is not None and beside.validation is not None:
        what = f"the default configuration, trial {beside.trial}, on validation"
        yield what, beside.validation


def bounds_text(metric: Metric, bounds: Any, sign: str = "") -> str:
    """Return an interval for people; nothing where there is none."""
    if bounds is None:
        return ""
    low, high = (f"{b:{sign}.4f}" if sign else shown(metric, b) for b in bounds)
    return f"{low} to {high}" if sign else f"{low} - {high}"


def groups_line(scores: Scores) -> str | None:
    """Return of how many groups images are, where they come in such, and what follows from that."""
    groups = scores.groups
    if groups is None:
        return None
    held = f"{groups} group{'' if groups == 1 else 's'}, {scores.images} images"
    if groups < FEWEST_GROUPS:
        return (
            f"Validation holds {held}: with fewer than {FEWEST_GROUPS} groups no interval is "
            "honest, and none is given; for new groups a score may be far off."
        )
    return f"Validation holds {held}: intervals are for new groups, and count groups, not images."


def _gap_line(metric: Metric, final: FinalRecord, then: str) -> str | None:
    """Return how far validation is from the best score of the search, and whether chance does."""
    found, validation, own = final.search or LuckRecord(), final.validation, final.test
    best, known = found.best, f"the best test score{then}"
    if best is None:
        return None
    if found.trial not in (None, final.trial) and own is not None:
        best, known = own.of(metric), "the choice's own test score"
    score, bounds = validation.of(metric), validation.interval
    gap = score - best if metric in MINIMISED else best - score
    if gap <= 0:
        return f"Validation is no worse than {known}: no winner's curse is seen here."
    words = f"Validation is {_size(metric, gap)} worse than {known}"
    if bounds is None:
        units = "images" if validation.groups is None else "groups"
        return f"{words}; its {units} do not tell how much of that is chance."
    if bounds[0] <= best <= bounds[1]:
        return (
            f"{words}, which lies within validation's interval: chance with "
            f"{_counted(validation)} is enough for that gap."
        )
    return f"{words}, which lies outside validation's interval: the search's score is too good."


def _counted(scores: Scores) -> str:
    return f"{scores.images} images" if scores.groups is None else f"{scores.groups} groups"


def _optimism_line(metric: Metric, found: LuckRecord) -> str | None:
    if found.complete < 2:
        return None
    if found.optimism is None:
        return "How much of the best test score is luck, its images do not tell."
    return (
        f"The best of {found.complete} test scores is expected to be too good by about "
        f"{_size(metric, found.optimism)}, from luck with {found.luck}."
    )


def _gain_lines(metric: Metric, final: FinalRecord) -> list[str]:
    """Return whether tuning was worth it, as validation says."""
    beside = final.baseline
    if beside is None:
        return []
    if beside.failed is not None or beside.gain is None:
        return [f"The default configuration could not be trained beside it: {beside.failed}."]
    if beside.in_parts is not None:
        short = (
            "Memory was short for the default configuration beside it: a batch was trained in "
            f"{beside.in_parts} parts, which is another training than its trial's."
        )
        whole = final.model_copy(update={"baseline": beside.model_copy(update={"in_parts": None})})
        return [*_gain_lines(metric, whole), short]
    lower = metric in MINIMISED
    gain, bounds = beside.gain, beside.gain_interval
    words = f"Tuning changed validation {WORDS[metric]} by {_signed(metric, gain)}"
    if bounds is None:
        return [
            f"{words} from the default configuration's; its images do not tell whether by luck."
        ]
    low, high = (-bounds[1], -bounds[0]) if lower else bounds
    words += f" from the default configuration's (95 % interval {_range(metric, bounds)})"
    beware = [UNSHOWN] if metric in ERRORS and final.validation.groups is not None else []
    if low > 0:
        return [f"{words}: it was worth it.", *beware]
    if high < 0:
        return [f"{words}: the default is better, and tuning was not worth it.", *beware]
    return [f"{words}: that may be chance, so it is not shown that tuning was worth it.", *beware]


def _range(metric: Metric, bounds: Any) -> str:
    return " to ".join(_signed(metric, bound) for bound in bounds)


def _size(metric: Metric, size: float) -> str:
    return f"{size:.4g}" if metric in MINIMISED else f"{size:.4f}"


def _signed(metric: Metric, change: float) -> str:
    return f"{change:+.4g}" if metric in MINIMISED else f"{change:+.4f}"


def cost_lines(
    trials: Mapping[int, TrialRecord],
    confirmations: Sequence[Confirmation],
    final: FinalRecord | None,
) -> list[str]:
    """Return how many trials, epochs and hours of a core or GPU all that took.

    `trials` are the records of trials by their numbers.
    """
    begun = [record for record in trials.values() if record.epochs]
    spent = {"core": 0.0, "GPU": 0.0}
    for record in begun:
        _spend(spent, record.device, record.duration_s or 0.0, record.threads)
    epochs = sum(record.epochs for record in begun)
    words = f"It cost {len(begun)} trained trial(s) of {epochs} epochs"
    repeats = [c for c in confirmations if c.result.curve]
    for confirmation in repeats:
        took_s = sum(epoch.duration_s for epoch in confirmation.result.curve)
        of = trials.get(confirmation.trial_number)
        _spend(spent, confirmation.result.device, took_s, 1 if of is None else of.threads)
    if repeats:
        trained = sum(len(c.result.curve) for c in repeats)
        words += f", {len(repeats)} training(s) of finalists of {trained} epochs"
    if final is not None:
        curves = [final.curve, [] if final.baseline is None else final.baseline.curve]
        again = [curve for curve in curves if curve]
        for epoch in (epoch for curve in again for epoch in curve):
            _spend(spent, final.device or "cpu", epoch.duration_s, final.config.threads)
        words += f", and {len(again)} final training(s) of {sum(map(len, again))} epochs"
    hours = [f"{_hours(s / 3600)} {what}-hours" for what, s in spent.items() if s]
    return [f"{words}: {' and '.join(hours)}."] if hours else [f"{words}."]


def _spend(spent: dict[str, float], device: str, seconds: float, threads: int) -> None:
    on_cpu = device == "cpu"
    spent["core" if on_cpu else "GPU"] += seconds * (threads if on_cpu else 1)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
