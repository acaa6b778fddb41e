"""Exporting a trial: its complete configuration as YAML, readable and enough to train from."""

from __future__ import annotations

from io import StringIO
from typing import Any

from optuna.trial import FrozenTrial
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from hpsearch.errors import NothingToChooseError, StudyNotFoundError
from hpsearch.evaluation.exported import package_versions
from hpsearch.search.finalists import choice
from hpsearch.search.kinds import why_none_completes
from hpsearch.search.progress import epochs_of
from hpsearch.search.stored_study import OpenStudy
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
    study: OpenStudy, trial: FrozenTrial, final: dict[str, Any] | None, honest: bool = True
) -> str:
    """Return a trial's configuration as commented YAML; `final` adds the scores of the final.

    `honest` says whether validation has judged nothing but this choice.
    """
    metric = study.spec.metric
    if final is not None and final["trial"] != trial.number:
        final = None  # of another choice
    trained = study.config(trial)
    if final is not None:  # which may have had less memory than the trial: the score is of that
        parts = final["config"].get("micro_batches", trained.micro_batches)
        trained = trained.model_copy(update={"micro_batches": parts})
    config = CommentedMap(trained.model_dump(mode="json"))
    config["data"] = CommentedMap(config["data"])
    if "parameters" in trial.user_attrs:
        config.yaml_add_eol_comment(cost_line(trial), "family")
    config.yaml_add_eol_comment("where the data lay; --data names another place", "data")
    train_on = "train" if final is None else final.get("train_on", "train")
    document = CommentedMap(
        {
            "config": config,
            "train_on": train_on,
            "recorded": _recorded(study, trial, final),
            "versions": CommentedMap(_versions(trial, final)),
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


def _judged_words(final: dict[str, Any] | None, honest: bool) -> str:
    if final is None:
        return "Validation has not judged this configuration."
    if honest:
        return "test selected this configuration; validation was sealed until it was chosen."
    return (
        "test selected this configuration. Validation was opened for other choices, too, so its\n"
        "score is optimistic; 'hpsearch audit' shows which."
    )


def _recorded(study: OpenStudy, trial: FrozenTrial, final: dict[str, Any] | None) -> CommentedMap:
    """Return the scores that a training of the file should give, and where it gave them.

    Those of the final where test was not taught in it: score, device and versions then belong to
    one training.
    """
    key = key_of(study.spec.metric)
    test = None if final is None else final["test"]
    device = trial.user_attrs.get("device", "cpu")
    recorded = CommentedMap(
        {
            "study": study.spec.name,
            "trial": trial.number,
            "state": trial.state.name.lower(),
            f"test_{key}": trial.value if test is None else test[key],
            "epochs": epochs_of(trial),
            "device": device if test is None or final is None else final.get("device", device),
        }
    )
    if final is None:
        return recorded
    validation = final["validation"]
    recorded[f"validation_{key}"] = validation[key]
    recorded["validation_interval"] = validation["interval"]
    recorded["validation_images"] = validation["images"]
    recorded.yaml_add_eol_comment("95 %", "validation_interval")
    if final.get("confirm") is not None:
        recorded |= {name: final["confirm"][name] for name in ("seeds", "seed_sd")}
    return recorded


def _versions(trial: FrozenTrial, final: dict[str, Any] | None) -> dict[str, str]:
    """Return the versions that the recorded score was computed with, as far as they are known."""
    if final is not None and final["test"] is not None and "versions" in final:
        return dict(final["versions"])
    worker = trial.user_attrs.get("torch")
    return package_versions() | ({} if worker is None else {"torch": worker})


def cost_line(trial: FrozenTrial) -> str:
    """Return in words what a trial's network costs."""
    attrs = trial.user_attrs
    return (
        f"{attrs.get('parameters', 0):,} parameters, "
        f"{attrs.get('forward_flops', 0) / 1e6:,.1f} MFLOP per image"
    )
