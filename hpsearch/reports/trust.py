"""What the numbers are worth: the winner's curse, and whether tuning was worth it, in words.

Every sentence is made of figures that the ledger holds, and says no more than they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from hpsearch.evaluation.grouped import FEWEST_GROUPS
from hpsearch.reports.sections import Section, Table
from hpsearch.search.progress import epochs_of
from hpsearch.storage.confirmations import Confirmation
from hpsearch.study.tasks import MINIMISED, WORDS, Metric, key_of, shown

ERRORS: frozenset[Metric] = MINIMISED | {"r2"}
# Simulated for `grouped_interval`; see docs/trust.md.
UNSHOWN = (
    "Where groups' errors differ many times over, such an interval of a gain holds in 88 % of "
    "studies only."
)
Final = dict[str, Any]  # what an opening showed, as `run_final` returns it


def worth(metric: Metric, final: Final, opened_once: bool, went_on: bool = False) -> Section:
    """Return what may be believed of the final's scores, and why.

    `went_on` says that trials have ended since, so that the search's scores are those of then.
    """
    then = " at that time" if went_on else ""
    key, found = key_of(metric), final.get("search") or {}
    rows = []
    if found.get("best") is not None:
        of = f"{found['complete']} complete trial(s){then}, trial {found['trial']}"
        what = f"best test score of {of}"
        rows.append((what, shown(metric, found["best"]), ""))
    confirmed = final.get("confirm")
    if confirmed is not None:
        what = f"the choice trained again, mean test score of {confirmed['seeds']} seed(s)"
        rows.append((what, shown(metric, confirmed["mean"]), ""))
    for what, scores in _judged(final, opened_once):
        rows.append((what, shown(metric, scores[key]), bounds_text(metric, scores["interval"])))
    lines = [
        groups_line(final["validation"]),
        _gap_line(metric, final, then),
        _optimism_line(metric, found),
        *_gain_lines(metric, final),
    ]
    title = "How far the number can be trusted"
    header = ("score", WORDS[metric], "95 % interval")
    return Section(title, [line for line in lines if line], Table(header, rows))


def _judged(final: Final, opened_once: bool) -> Iterable[tuple[str, dict[str, Any]]]:
    seen = ", seen by nothing before" if opened_once else ""
    yield f"the choice, trial {final['trial']}, on validation{seen}", final["validation"]
    beside = final.get("baseline")
    if beside is not None and "failed" not in beside:
        what = f"the default configuration, trial {beside['trial']}, on validation"
        yield what, beside["validation"]


def bounds_text(metric: Metric, bounds: Any, sign: str = "") -> str:
    """Return an interval for people; nothing where there is none."""
    if bounds is None:
        return ""
    low, high = (f"{b:{sign}.4f}" if sign else shown(metric, b) for b in bounds)
    return f"{low} to {high}" if sign else f"{low} - {high}"


def groups_line(scores: dict[str, Any]) -> str | None:
    """Return of how many groups images are, where they come in such, and what follows from that."""
    groups = scores.get("groups")
    if groups is None:
        return None
    held = f"{groups} group{'' if groups == 1 else 's'}, {scores['images']} images"
    if groups < FEWEST_GROUPS:
        return (
            f"Validation holds {held}: with fewer than {FEWEST_GROUPS} groups no interval is "
            "honest, and none is given; for new groups a score may be far off."
        )
    return f"Validation holds {held}: intervals are for new groups, and count groups, not images."


def _gap_line(metric: Metric, final: Final, then: str) -> str | None:
    """Return how far validation is from the best score of the search, and whether chance does."""
    found, validation, own = final.get("search") or {}, final["validation"], final.get("test")
    best, known = found.get("best"), f"the best test score{then}"
    if best is None:
        return None
    if found.get("trial", final["trial"]) != final["trial"] and own is not None:
        best, known = own[key_of(metric)], "the choice's own test score"
    score, bounds = validation[key_of(metric)], validation["interval"]
    gap = score - best if metric in MINIMISED else best - score
    if gap <= 0:
        return f"Validation is no worse than {known}: no winner's curse is seen here."
    words = f"Validation is {_size(metric, gap)} worse than {known}"
    if bounds is None:
        units = "groups" if "groups" in validation else "images"
        return f"{words}; its {units} do not tell how much of that is chance."
    if bounds[0] <= best <= bounds[1]:
        return (
            f"{words}, which lies within validation's interval: chance with "
            f"{_counted(validation)} is enough for that gap."
        )
    return f"{words}, which lies outside validation's interval: the search's score is too good."


def _counted(scores: dict[str, Any]) -> str:
    groups = scores.get("groups")
    return f"{scores['images']} images" if groups is None else f"{groups} groups"


def _optimism_line(metric: Metric, found: dict[str, Any]) -> str | None:
    if found.get("complete", 0) < 2:
        return None
    if found.get("optimism") is None:
        return "How much of the best test score is luck, its images do not tell."
    luck = found.get("luck", "test images alone")
    return (
        f"The best of {found['complete']} test scores is expected to be too good by about "
        f"{_size(metric, found['optimism'])}, from luck with {luck}."
    )


def _gain_lines(metric: Metric, final: Final) -> list[str]:
    """Return whether tuning was worth it, as validation says."""
    beside = final.get("baseline")
    if beside is None:
        return []
    if "failed" in beside:
        return [f"The default configuration could not be trained beside it: {beside['failed']}."]
    if "in_parts" in beside:
        short = (
            "Memory was short for the default configuration beside it: a batch was trained in "
            f"{beside['in_parts']} parts, which is another training than its trial's."
        )
        whole = {name: value for name, value in beside.items() if name != "in_parts"}
        return [*_gain_lines(metric, final | {"baseline": whole}), short]
    lower = metric in MINIMISED
    gain, bounds = beside["gain"], beside["gain_interval"]
    words = f"Tuning changed validation {WORDS[metric]} by {_signed(metric, gain)}"
    if bounds is None:
        return [
            f"{words} from the default configuration's; its images do not tell whether by luck."
        ]
    low, high = (-bounds[1], -bounds[0]) if lower else bounds
    words += f" from the default configuration's (95 % interval {_range(metric, bounds)})"
    beware = [UNSHOWN] if metric in ERRORS and "groups" in final["validation"] else []
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
    trials: list[FrozenTrial], confirmations: Sequence[Confirmation], final: Final | None
) -> list[str]:
    """Return how many trials, epochs and hours of a core or GPU all that took."""
    begun = [t for t in trials if t.user_attrs.get("curve")]
    spent = {"core": 0.0, "GPU": 0.0}
    for trial in begun:
        _spend(spent, trial.user_attrs.get("device", "cpu"), trial.user_attrs.get("duration_s", 0),
               trial.user_attrs.get("threads", 1))  # fmt: skip
    epochs = sum(epochs_of(t) for t in begun)
    words = f"It cost {len(begun)} trained trial(s) of {epochs} epochs"
    threads = {t.number: t.user_attrs.get("threads", 1) for t in trials}
    repeats = [c for c in confirmations if c.result.get("curve")]
    for confirmation in repeats:
        device, curve = confirmation.result.get("device", "cpu"), confirmation.result["curve"]
        took_s = sum(epoch["duration_s"] for epoch in curve)
        _spend(spent, device, took_s, threads.get(confirmation.trial_number, 1))
    if repeats:
        trained = sum(len(c.result["curve"]) for c in repeats)
        words += f", {len(repeats)} training(s) of finalists of {trained} epochs"
    if final is not None:
        curves = [final["curve"], (final.get("baseline") or {}).get("curve") or []]
        again = [curve for curve in curves if curve]
        for epoch in (epoch for curve in again for epoch in curve):
            used = final["config"].get("threads", 1)
            _spend(spent, final.get("device", "cpu"), epoch["duration_s"], used)
        words += f", and {len(again)} final training(s) of {sum(map(len, again))} epochs"
    hours = [f"{_hours(s / 3600)} {what}-hours" for what, s in spent.items() if s]
    return [f"{words}: {' and '.join(hours)}."] if hours else [f"{words}."]


def _spend(spent: dict[str, float], device: str, seconds: float, threads: int) -> None:
    on_cpu = device == "cpu"
    spent["core" if on_cpu else "GPU"] += seconds * (threads if on_cpu else 1)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
