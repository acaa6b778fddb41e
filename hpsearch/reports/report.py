"""The report of a study: made from the storage alone, the same words on screen and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from optuna.trial import FrozenTrial

from hpsearch.data.account import account_from
from hpsearch.evaluation.decision import Decision, decided, default_line, instead_words
from hpsearch.evaluation.seal import Seal, seal_of
from hpsearch.reports.best_yaml import cost_line
from hpsearch.reports.details import calibrated, learning, mistaken, per_output
from hpsearch.reports.finalists import confirm_section
from hpsearch.reports.front import front_section
from hpsearch.reports.seal import seal_lines
from hpsearch.reports.sections import Section, Table
from hpsearch.reports.tried import early_lines, epochs_words, tried_lines
from hpsearch.reports.trust import bounds_text, cost_lines, worth
from hpsearch.search.baseline import baseline_of
from hpsearch.search.kinds import counted, kind_of, why_none_completes
from hpsearch.search.progress import Progress, epochs_of, progress_of
from hpsearch.search.stored_study import OpenStudy
from hpsearch.storage.final_record import FinalRecord, Scores
from hpsearch.storage.storage import Storage
from hpsearch.study.data import OUTPUTS
from hpsearch.study.tasks import MINIMISED, WORDS, Metric, rank, shown

TOP = 5  # trials shown


@dataclass(frozen=True)
class Report:
    """All that is known of a study, and of the openings of its data's validation split."""

    progress: Progress
    storage: str
    seal: Seal

    @property
    def final(self) -> FinalRecord | None:
        """What this study's last opening showed, None while it has measured nothing."""
        return self.seal.result

    @property
    def openings(self) -> int:
        """Openings of this data's validation split by this study."""
        return len(self.seal.mine)

    @cached_property
    def decision(self) -> Decision:
        """What is chosen, and what has happened since it was measured."""
        return decided(self.study, self.seal)

    @property
    def study(self) -> OpenStudy:
        return self.progress.study


def make_report(storage: Storage, name: str) -> Report:
    """Return the report of a stored study."""
    return Report(progress_of(storage, name), storage.shown, seal_of(storage, name))


def sections(report: Report) -> list[Section]:
    """Return the report in the order in which a reader asks: how good, what, why, what else."""
    final, metric = report.final, report.study.spec.metric
    parts = [_data(report), _scores(report), confirm_section(report.study)]
    parts.append(None if final is None else _worth(report, final))
    parts += [_choice(report), front_section(report.study, chosen(report)), _learning(report)]
    parts += [_search(report), _top(report), _failures(report)]
    if final is not None:
        parts += [calibrated(final), *per_output(final), mistaken(metric, final)]
    return [part for part in parts if part is not None]


def _data(report: Report) -> Section:
    study = report.study
    train, test, validation = study.data_summary["totals"]
    kinds = f"{len(study.data_summary['outputs'])} {OUTPUTS[study.data_summary['task']]}"
    lines = [
        f"Data: {study.spec.data.source}, {kinds}, fingerprint {study.fingerprint[:12]}",
        f"Images: {train} train, {test} test, {validation} validation",
    ]
    if groups := study.data_summary.get("groups"):
        train, test, validation = groups
        lines.append(f"Groups: {train} train, {test} test, {validation} validation")
    if (account := study.data_summary.get("account")) is not None:
        lines += account_from(account).lines()
    if report.progress.best is None:
        why = why_none_completes(study.trials)
        lines.append(
            "No trial is complete yet, so there is nothing to choose"
            + ("." if why is None else f": {why}.")
        )
    return Section(f"Study {study.spec.name}", lines)


def _choice(report: Report) -> Section | None:
    study, trial = report.study, chosen(report)
    if trial is None:
        return None
    searched = study.spec.space.searched()
    rows = [
        (name, _value(value), "searched" if name in searched else "fixed")
        for name, value in study.config(trial).model_dump().items()
        if name in SHOWN or name in searched
    ]
    wording = "Final choice" if report.final else "Choice so far"
    title = f"{wording}: trial {trial.number}, {cost_line(study.record(trial))}"
    return Section(title, [], Table(("hyperparameter", "value", ""), rows))


SHOWN = (
    "family",
    "filters",
    "layers",
    "kernel_size",
    "units1",
    "units2",
    "activation",
    "pooling",
    "batch_norm",
    "convolutions",
    "reduction",
    "block",
    "blocks",
    "squeeze",
    "squeeze_where",
    "backbone",
    "unfreeze",
    "body_rate",
    "dropout",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "schedule",
    "label_smoothing",
    "flip",
    "shift",
    "loss",
    "epochs",
    "precision",
)


def chosen(report: Report) -> FrozenTrial | None:
    """Return the trial that is chosen: the one that the final has measured, once it has."""
    return report.decision.trial


def _learning(report: Report) -> Section | None:
    trial = chosen(report)
    if trial is None or not (record := report.study.record(trial)).epochs:
        return None
    title = f"Learning curve of trial {trial.number}"
    return learning(title, record.curve, report.study.spec.metric, record.best_epoch)


def _scores(report: Report) -> Section | None:
    trial, final, metric = chosen(report), report.final, report.study.spec.metric
    if trial is None or trial.value is None:
        return None
    if final is None:
        selected = (
            f"test {WORDS[metric]} {shown(metric, trial.value)} (this split selected it, so expect "
            "less on new images)"
        )
        return Section("Scores", [selected, *seal_lines(report.seal)])
    both = final.train_on == "train+test"
    once = report.seal.is_honest
    rows = [_row(metric, final.train, "train + test" if both else "train", "taught it")]
    if final.test is not None:
        rows.append(_row(metric, final.test, "test", "selected it"))
    judged = "judged it, once" if once else "judged it"
    rows.append(_row(metric, final.validation, "validation", judged))
    lines = [_against_search(report.study, trial, final), *seal_lines(report.seal)]
    lines += _better_since(report)
    header = ("split", WORDS[metric], "95 % interval", "loss", "images", "role")
    return Section("Scores of the final choice, trained again", lines, Table(header, rows))


def _row(metric: Metric, scores: Scores, split: str, role: str) -> tuple[str, ...]:
    return (
        split,
        shown(metric, scores.of(metric)),
        bounds_text(metric, scores.interval),
        f"{scores.loss:.4f}",
        str(scores.images) + ("" if scores.groups is None else f" of {scores.groups} groups"),
        role,
    )


def _worth(report: Report, final: FinalRecord) -> Section:
    decision = report.decision
    part = worth(report.study.spec.metric, final, report.seal.is_honest, decision.more > 0)
    lines = part.lines + cost_lines(report.study.records, report.study.confirmations, final)
    default = default_line(decision)
    if default is not None:
        lines.append(default)
    return Section(part.title, lines, part.table)


def _against_search(study: OpenStudy, trial: FrozenTrial, final: FinalRecord) -> str:
    metric = study.spec.metric
    if final.test is None:
        return (
            "Trained on train and test: no test score is left to compare with the search "
            f"({shown(metric, trial.value or 0.0)})"
        )
    again, before = final.test.of(metric), trial.value or 0.0
    words = f"Trained again from its config: test {WORDS[metric]} {shown(metric, again)}"
    parts = final.config.micro_batches
    if parts != study.record(trial).micro_batches:
        return (
            f"{words}, {_change(metric, again - before)} from the search "
            f"({shown(metric, before)}); memory was short, and a batch was trained in {parts} "
            "parts, which is another training"
        )
    if again == before:
        return f"{words}, identical to the search"
    return (
        f"{words}, {_change(metric, again - before)} from the search ({shown(metric, before)}); "
        "other hardware or versions round differently"
    )


def _change(metric: Metric, difference: float) -> str:
    return f"{difference:+.4g}" if metric in MINIMISED else f"{difference:+.4f}"


def _better_since(report: Report) -> list[str]:
    """Return what would be chosen now, where that is another trial than the one measured."""
    words = instead_words(report.study, report.decision)
    again = "'hpsearch launch STUDY.yaml --open-again' would measure it."
    return [] if words is None else [f"{words}; {again}"]


def _search(report: Report) -> Section:
    p = report.progress
    spec = p.study.spec.search
    duration_s = sum(record.duration_s or 0.0 for record in p.study.records.values())
    lines = [
        f"{p.ended_words}: {counted(p.ended)}"
        + (f"; {len(p.running)} running" if p.running else "")
        + (f"; {p.interrupted} interrupted (a launch goes on with them)" if p.interrupted else "")
        + (f"; {p.pausing}" if p.pausing else ""),
        f"Sampler {spec.sampler.name}, pruner {spec.pruner.name}, {epochs_words(p)} a trial; "
        f"{hours(duration_s)} of training",
        saved_line(p),
    ]
    lines += [*tried_lines(p), *early_lines(p)]
    gain = _gain_line(report)
    return Section("Search", lines if gain is None else [*lines, gain])


def _gain_line(report: Report) -> str | None:
    """Return in words whether tuning was worth it; None where there is nothing to compare."""
    choice = chosen(report)
    baseline = baseline_of(report.study.spec, report.study.trials)
    if baseline is None or baseline.value is None or choice is None or choice.value is None:
        return None
    if report.decision.is_default:
        return f"The choice is the default configuration, trial {baseline.number}"
    metric = report.study.spec.metric
    by, words = _change(metric, choice.value - baseline.value), f"test {WORDS[metric]}"
    changed = metric in MINIMISED or choice.value < baseline.value
    what = f"changed {words} by {by}" if changed else f"gained {by} {words}"
    return (
        f"Tuning {what} over the default configuration (trial {baseline.number}: "
        f"{shown(metric, baseline.value)})"
    )


def saved_line(p: Progress) -> str:
    """Return in words what pruning saved."""
    whole = p.epochs_run + p.epochs_saved
    if not p.epochs_saved:
        waiting = (
            f"; it begins after {p.pruner_waits_for} more complete trial(s)"
            if p.pruner_waits_for
            else ""
        )
        return f"The pruner stopped no trial early{waiting}"
    return (
        f"Pruning saved {p.epochs_saved} of {whole} epochs ({p.epochs_saved / whole:.0%}): "
        f"{p.pruned} weak trial(s) were stopped early"
    )


def _top(report: Report) -> Section | None:
    study = report.study
    best = sorted(
        (t for t in study.sampled() if t.value is not None),
        key=lambda t: rank(study.spec.metric, t.value or 0),
    )[:TOP]
    if not best:
        return None
    rows = []
    for t in best:
        c = study.config(t)
        rows.append(
            (
                str(t.number),
                shown(study.spec.metric, t.value or 0),
                kind_of(t),
                f"{epochs_of(t)}",
                c.family,
                c.backbone or f"{c.layers} x {c.filters}",
                f"{c.units1}, {c.units2}",
                f"{c.optimizer} {c.learning_rate:.2g}",
            )
        )
    header = ("trial", "test", "state", "epochs", "family", "filters", "units", "optimizer")
    title = f"Best {len(best)} trials by test {WORDS[study.spec.metric]}"
    return Section(title, [], Table(header, rows))


def _failures(report: Report) -> Section | None:
    lines = failure_lines(report.study)
    return Section("Failed trials", lines) if lines else None


def failure_lines(study: OpenStudy) -> list[str]:
    """Return why trials failed, one line each."""
    return [
        f"trial {t.number}: {study.record(t).reason or 'no reason was recorded'}"
        for t in study.trials
        if t.state.name == "FAIL"
    ]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def hours(seconds: float) -> str:
    """Return a duration for people: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
