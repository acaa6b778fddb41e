"""What a planned study can still afford: which configurations are trained, which go on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from optuna.trial import Trial

from hpsearch.data.prepared import SearchData
from hpsearch.models.cost import Cost
from hpsearch.models.limits import Infeasible
from hpsearch.models.speed import Speed
from hpsearch.models.work import work_of
from hpsearch.search.attempt import device_name
from hpsearch.search.baseline import trained_at_once
from hpsearch.search.decisions import GoOn, Pause, Stop
from hpsearch.search.plan import START_S
from hpsearch.search.prediction import known_from, mended
from hpsearch.search.reserve import FINAL_MARGIN, final_time_s
from hpsearch.search.samplers import given_params
from hpsearch.search.starts import KNOWN_GOOD
from hpsearch.storage.optuna_private import id_of
from hpsearch.storage.optuna_trials import note
from hpsearch.storage.plan_record import PlanRecord, plan_of
from hpsearch.storage.records import TrialNotes
from hpsearch.storage.storage import Storage
from hpsearch.study.config import TrialConfig
from hpsearch.study.spec import StudySpec

TIME = "time"  # the constraint of what is too dear
KNOWN_GOOD_SHARES = 2.0  # of the time may go to one that comes with us
LATE_MOST = 5  # configurations in a row that would not end in time, before the search ends


@dataclass(frozen=True)
class OutOfTime(Stop):
    """The trial ends here for want of time; `reason` says so."""

    reason: str = ""


@dataclass
class Affordable:
    """Judges the trials of one study on one device by its plan; without one, everything goes."""

    storage: Storage
    spec: StudySpec
    data: SearchData
    device: torch.device
    pauses: bool
    plan: PlanRecord | None = None
    _late: int = field(default=0, init=False)  # in a row

    @classmethod
    def of(
        cls,
        storage: Storage,
        spec: StudySpec,
        data: SearchData,
        device: torch.device,
        pauses: bool,
    ) -> Affordable:
        """Return what a study can afford by the plan that is kept with it."""
        plan = plan_of(storage, spec.name) if spec.search.is_planned else None
        return cls(storage, spec, data, device, pauses, plan)

    def misfit(self, trial: Trial, config: TrialConfig, cost: Cost) -> Infeasible | None:
        """Return why a trial is not to begin, None where it is.

        What its epochs are predicted to take is written to the trial. Once several in a row came
        too late to end in time, no trial begins any more.
        """
        plan = self.plan
        if plan is None or trial.user_attrs.get("curve"):  # that one has begun
            return None
        epoch_s = self._epoch_s(trial, config, cost, plan)
        if epoch_s is None:
            return None
        too_dear = self._too_dear(trial, epoch_s, plan)
        if too_dear is not None:
            if TIME not in trial.constraints:  # a worker that died may have said it
                trial.set_constraint(TIME, max(epoch_s / plan.longest_s - 1, 1e-3))
            return too_dear
        too_late = self._too_late(config, epoch_s, plan)
        self._late = 0 if too_late is None else self._late + 1
        if self._late >= LATE_MOST:
            self.storage.ledger.close_budget(self.spec.name)
        return too_late

    def _epoch_s(
        self, trial: Trial, config: TrialConfig, cost: Cost, plan: PlanRecord
    ) -> float | None:
        """Return what an epoch of a configuration is expected to take; None where nobody knows."""
        work = work_of(cost, config, len(self.data.train), len(self.data.test))
        predicted_s = Speed(*plan.speed).seconds(work)
        if predicted_s <= 0:
            return None
        note(trial, TrialNotes(predicted_s=predicted_s))
        here = device_name(self.device)
        trials = self.storage.known(self.spec.name).get_trials(deepcopy=False)
        known = known_from(trials, here)
        return mended(predicted_s, known) if known or here == plan.device else None

    def _too_dear(self, trial: Trial, epoch_s: float, plan: PlanRecord) -> Infeasible | None:
        """Return why a configuration would take more than its share of the study's time."""
        whole_s = epoch_s * plan.epochs
        final_s = final_time_s(whole_s, None, True) if plan.final_s else 0.0
        if whole_s + final_s > plan.budget_s - START_S:
            again = " and once more for the final" if final_s else ""
            return Infeasible(
                TIME,
                f"{_takes(epoch_s)}, and it could not be trained to its end{again} within the "
                f"study's {plan.budget_s:.0f} s",
            )
        longest_s = self._shares(trial) * plan.longest_s
        if epoch_s <= longest_s:
            return None
        return Infeasible(
            TIME,
            f"{_takes(epoch_s)}, more than the {longest_s:.3g} s that this budget has for one "
            f"where about {plan.configurations} configurations are to be tried",
        )

    def _shares(self, trial: Trial) -> float:
        """Return how many shares of the time a configuration may take for its first rung.

        The default, with which the choice is compared, and its user's own: any number.
        """
        slot, start = trial.user_attrs["slot"], trial.user_attrs.get("start")
        if self.spec.search.sampler.name == "grid":
            return 1.0
        if start is None:
            return math.inf if given_params(self.spec, slot) else 1.0
        return KNOWN_GOOD_SHARES if str(start).startswith(KNOWN_GOOD) else math.inf

    def _too_late(self, config: TrialConfig, epoch_s: float, plan: PlanRecord) -> Infeasible | None:
        """Return why a configuration would come to nothing in what is left of the search."""
        left_s = self._left_s()
        if left_s is None:
            return None
        epochs = min(plan.first_rung, config.epochs) if self.pauses else config.epochs
        needed_s = epoch_s * epochs
        if needed_s <= left_s:
            return None
        return Infeasible(
            TIME,
            f"{_takes(epoch_s)}, {epochs} of them {needed_s:.3g} s, and "
            f"{max(0.0, left_s):.3g} s are left of the search",
        )

    def _left_s(self) -> float | None:
        """Return what is left of the search's time, None where it has no end."""
        row = self.storage.row(self.spec.name)
        if row.time_left_s is None:
            return None
        return row.time_left_s - row.final_s - row.confirm_s

    def in_time(self, trial: Trial, decision: GoOn | Stop | Pause) -> GoOn | Stop | Pause:
        """Return what becomes of a trial that is to go on, ended where its end would come too late.

        That is so where the final could not follow if the trial turned out to be the choice.
        """
        if self.plan is None or not isinstance(decision, GoOn):
            return decision
        row = self.storage.row(self.spec.name)
        attrs = trial.storage.get_trial(id_of(trial)).user_attrs
        trained, took_s = len(attrs.get("curve", ())), attrs.get("duration_s", 0.0)
        if row.time_left_s is None or not trained:
            return decision
        epoch_s, epochs = took_s / trained, self.spec.search.epochs
        beside_s = (
            epochs * self.plan.of_a_pass * self.plan.baseline_s
            if self.spec.final.baseline
            else None
        )
        final_s = final_time_s(epochs * epoch_s, beside_s, trained_at_once(self.device.type))
        final_s = final_s if row.wants_final else 0.0
        to_come_s = (epochs - trained) * epoch_s * (FINAL_MARGIN if self.pauses else 1.0)
        if to_come_s + final_s <= row.time_left_s:
            return decision
        then = ", and then the final," if final_s else ""
        return OutOfTime(
            "its time",
            f"{epochs - trained} more epochs of about {epoch_s:.3g} s{then} would not end in the "
            f"{row.time_left_s:.0f} s that are left of the study",
        )


def _takes(epoch_s: float) -> str:
    return f"an epoch would take about {epoch_s:.3g} s"
