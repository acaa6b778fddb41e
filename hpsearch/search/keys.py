"""What makes two configurations of a space the same, whatever their seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from optuna.trial import FixedTrial

from hpsearch.study.axes import Value
from hpsearch.study.config import TrialConfig, is_idle
from hpsearch.study.space import Space
from hpsearch.study.spec import StudySpec, config_from


def key_of(config: TrialConfig) -> str:
    """Return the same text for configurations of a space that differ in nothing but their seed.

    Values that nothing reads beside the others make no difference.
    """
    values = {name: getattr(config, name) for name in Space.model_fields}
    read = {n: v for n, v in values.items() if v is not None and not is_idle(n, values)}
    return hashlib.blake2b(json.dumps(read, sort_keys=True).encode(), digest_size=12).hexdigest()


def config_of(spec: StudySpec, fingerprint: str, params: Mapping[str, Value]) -> TrialConfig:
    """Return the configuration of a trial with these parameters, with a seed that means nothing."""
    made = FixedTrial(dict(params))
    for name, value in (("seed", 0), ("precision", "fp32"), ("threads", 1)):
        made.set_user_attr(name, value)
    return config_from(spec, fingerprint, made)
