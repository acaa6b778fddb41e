"""The configuration of a trial: what its family has, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from made_configs import PLAIN, config_with
from pydantic import ValidationError

from hpsearch.study.axes import FAMILY_NAMES
from hpsearch.study.config import OWN_VALUES, TrialConfig, has
from hpsearch.study.limits import HIGHEST
from hpsearch.study.space import Space


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_configuration_is_written_with_the_values_of_its_family_and_read_again(
    family: str,
) -> None:
    config = config_with(family=family, epoch_images=500)
    written = config.model_dump(mode="json")
    assert set(written) == {name for name in TrialConfig.model_fields if has(family, name)}
    assert TrialConfig.model_validate(written) == config
    assert TrialConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(("family", "name"), [("vgg", "kernel_size"), ("pretrained", "filters")])
def test_a_value_that_a_family_does_not_have_is_refused(family: str, name: str) -> None:
    written = config_with(family=family).model_dump() | {name: 3}
    with pytest.raises(ValidationError, match=f"{name}: {family} has no such value; leave it out"):
        TrialConfig.model_validate(written)


@pytest.mark.parametrize("name", sorted(n for n in OWN_VALUES if has("senet", n)))
def test_a_value_that_a_family_needs_is_missed(name: str) -> None:
    written = config_with(family="senet").model_dump()
    del written[name]
    if name in ("block", "blocks"):  # they came later: what was exported before can be read
        assert TrialConfig.model_validate(written).block == "basic"
        return
    with pytest.raises(ValidationError, match=f"{name} is missing, and senet needs it"):
        TrialConfig.model_validate(written)


def test_a_resnet_exported_before_there_were_blocks_has_one_basic_block_a_stage() -> None:
    written: dict[str, Any] = config_with(family="resnet").model_dump()
    del written["block"], written["blocks"]
    assert TrialConfig.model_validate(written) == config_with(
        family="resnet", block="basic", blocks=1
    )
    assert "blocks" not in config_with(family="alexnet").model_dump()


def test_the_plain_values_are_those_of_a_configuration() -> None:
    assert set(PLAIN) <= set(TrialConfig.model_fields)


@pytest.mark.parametrize(("name", "most"), sorted(HIGHEST.items()))
def test_a_configuration_has_the_limits_of_the_space(name: str, most: int) -> None:
    family = {"convolutions": "vgg", "reduction": "googlenet", "blocks": "senet"}.get(name)
    family = family or ("senet" if name == "squeeze" else "alexnet")
    written = config_with(family=family).model_dump()
    assert getattr(TrialConfig.model_validate(written | {name: most}), name) == most
    with pytest.raises(ValidationError, match=f"is above {most:,}, the most"):
        TrialConfig.model_validate(written | {name: most + 2})
    with pytest.raises(ValidationError, match="is outside"):
        Space.model_validate({"family": family, name: most + 2})


@pytest.mark.parametrize("name", ["epochs", "early_stopping", "seed", "micro_batches", "threads"])
def test_a_configuration_without_end_is_refused(name: str) -> None:
    written = config_with().model_dump() | {name: 18446744073709551616}
    with pytest.raises(ValidationError, match="18446744073709551616 is above"):
        TrialConfig.model_validate(written)


def test_epochs_of_all_images_are_written_as_by_earlier_versions() -> None:
    assert "epoch_images" not in config_with().model_dump()
    short = config_with(epoch_images=500)
    assert short.model_dump()["epoch_images"] == 500
    assert TrialConfig.model_validate_json(short.model_dump_json()) == short
    assert [config.images_in_epoch(400) for config in (config_with(), short)] == [400, 400]
    assert [config.images_in_epoch(900) for config in (config_with(), short)] == [900, 500]
