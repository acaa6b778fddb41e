"""Exporting a trial: its complete configuration as YAML, readable and enough to train from."""

from __future__ import annotations

from io import StringIO

from optuna.trial import FrozenTrial
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from hpsearch.errors import NothingToChooseError, StudyNotFoundError
from hpsearch.evaluation.exported import package_versions
from hpsearch.search.finalists import choice
from hpsearch.search.kinds import why_none_completes
from hpsearch.search.progress import epochs_of
from hpsearch.search.stored_study import OpenStudy
from hpsearch.storage.final_record import FinalRecord
from hpsearch.storage.records import TrialRecord
from hpsearch.study.tasks import WORDS, key_of, shown


def chosen_trial(study: OpenStudy, number: int | None = None) -> FrozenTrial:
    """Return the trial of a number, or the choice; an error says which there are."""
    if number is None:
        best = choice(study)
        if best is None:
            raise NothingToChooseError(_nothing_to_choose(study))
        return best
    found = next((t for t in study.trials if t.number == number), None)
    if found is None:
        last = len(study.trials) - 1
        raise StudyNotFoundError(
            f"study '{study.spec.name}' has no trial {number}; its trials are 0 to {last}"
        )
    return found


def _nothing_to_choose(study: OpenStudy) -> str:
    epochs = study.spec.search.epochs
    name = study.spec.name
    longest = max((epochs_of(t) for t in study.trials), default=0)
    why = why_none_completes(study.trials)
    if why is not None:
        return f"study '{name}' has no complete trial: {why}"
    return (
        f"study '{name}' has no complete trial yet; the longest reached epoch {longest} of "
        f"{epochs}. "
        "Launch it again with a longer --timeout or more --trials"
    )


def exported_yaml(
    study: OpenStudy, trial: FrozenTrial, final: FinalRecord | None, honest: bool = True
) -> str:
    """Return a trial's configuration as commented YAML; `final` adds the scores of the final.

    `honest` says whether validation has judged nothing but this choice.
    """
    metric = study.spec.metric
    if final is not None and final.trial != trial.number:
        final = None  # of another choice
    trained = study.config(trial)
    if final is not None:  # which may have had less memory than the trial: the score is of that
        trained = trained.model_copy(update={"micro_batches": final.config.micro_batches})
    config = CommentedMap(trained.model_dump(mode="json"))
    config["data"] = CommentedMap(config["data"])
    if study.record(trial).parameters is not None:
        config.yaml_add_eol_comment(cost_line(study.record(trial)), "family")
    config.yaml_add_eol_comment("where the data lay; --data names another place", "data")
    train_on = "train" if final is None else final.train_on
    document = CommentedMap(
        {
            "config": config,
            "train_on": train_on,
            "recorded": _recorded(study, trial, final),
            "versions": CommentedMap(_versions(study.record(trial), final)),
        }
    )
    if train_on != "train":
        document.yaml_add_eol_comment("the weights; the test score is of train alone", "train_on")
    score = (
        f"test {WORDS[metric]} {shown(metric, trial.value)}"
        if trial.value is not None
        else ("not scored")
    )
    document.yaml_set_start_comment(
        f"Trial {trial.number} of study '{study.spec.name}': {score}.\n"
        "Train it again with: hpsearch train THIS_FILE (--check compares with what is recorded)\n"
        + _judged_words(final, honest)
    )
    text = StringIO()
    yaml = YAML()
    yaml.dump(document, text)
    return text.getvalue()


def _judged_words(final: FinalRecord | None, honest: bool) -> str:
    if final is None:
        return "Validation has not judged this configuration."
    if honest:
        return "test selected this configuration; validation was sealed until it was chosen."
    return (
        "test selected this configuration. Validation was opened for other choices, too, so its\n"
        "score is optimistic; 'hpsearch audit' shows which."
    )


def _recorded(study: OpenStudy, trial: FrozenTrial, final: FinalRecord | None) -> CommentedMap:
    """Return the scores that a training of the file should give, and where it gave them.

    Those of the final where test was not taught in it: score, device and versions then belong to
    one training.
    """
    metric = study.spec.metric
    key = key_of(metric)
    test = None if final is None else final.test
    device = study.record(trial).device
    recorded = CommentedMap(
        {
            "study": study.spec.name,
            "trial": trial.number,
            "state": trial.state.name.lower(),
            f"test_{key}": trial.value if test is None else test.of(metric),
            "epochs": epochs_of(trial),
            "device": device if test is None or final is None else final.device or device,
        }
    )
    if final is None:
        return recorded
    bounds = final.validation.interval
    recorded[f"validation_{key}"] = final.validation.of(metric)
    recorded["validation_interval"] = None if bounds is None else list(bounds)
    recorded["validation_images"] = final.validation.images
    recorded.yaml_add_eol_comment("95 %", "validation_interval")
    if final.confirm is not None:
        recorded |= {"seeds": final.confirm.seeds, "seed_sd": final.confirm.seed_sd}
    return recorded


def _versions(record: TrialRecord, final: FinalRecord | None) -> dict[str, str]:
    """Return the versions that the recorded score was computed with, as far as they are known."""
    if final is not None and final.test is not None and final.versions is not None:
        return dict(final.versions)
    return package_versions() | ({} if record.torch is None else {"torch": record.torch})


def cost_line(record: TrialRecord) -> str:
    """Return in words what a trial's network costs."""
    took = "" if record.latency_ms is None else f", {record.latency_ms:.3g} ms for one"
    return (
        f"{record.parameters or 0:,} parameters, "
        f"{(record.forward_flops or 0) / 1e6:,.1f} MFLOP per image{took}"
    )
