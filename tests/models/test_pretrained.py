"""Pretrained networks: torchvision's features, our head, and what learns of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from made_configs import config_with
from made_trainings import CPU, after, striped
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from hpsearch.data.prepared import Labelled, SearchData
from hpsearch.errors import WeightsError
from hpsearch.models.families import build_model, initial_model
from hpsearch.models.layers import ImageShape
from hpsearch.models.pretrained import LAST_STAGE, PretrainedNet
from hpsearch.models.weights import check_weights, find_weights
from hpsearch.study.config import Backbone, Pretrained, TrialConfig
from hpsearch.study.spec import StudySpec
from hpsearch.training.loop import Interrupted, train
from hpsearch.training.schedules import optimizer_for, schedule_for
from hpsearch.training.state import from_bytes, to_bytes

MEAN, STD = (100.0, 120.0, 90.0), (50.0, 60.0, 70.0)
FILE = get_model_weights("resnet18").DEFAULT.url.rsplit("/", 1)[1]


def trained(name: str) -> nn.Module:
    """Return a network of torchvision's, as if it had been trained: its statistics have moved."""
    torch.manual_seed(0)
    network: nn.Module = get_model(name, weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    return trained("resnet18")


@pytest.fixture(scope="module")
def weights(resnet18: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a state dict as torchvision publishes them."""
    path: Path = tmp_path_factory.mktemp("weights") / FILE
    torch.save(resnet18.state_dict(), path)
    return path


def config(weights: Path, **changes: Any) -> TrialConfig:
    return config_with(family="pretrained", pretrained={"weights": str(weights)}, **changes)


def photos(channels: int, count: int = 2, side: int = 48) -> SearchData:
    """Return random images of so many channels, and statistics for them."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)
    images = Labelled(pixels, np.arange(count) % 2)
    return SearchData(
        train=images,
        test=images,
        task="single-label",
        outputs=("a", "b"),
        mean=tuple(itertools.islice(itertools.cycle(MEAN), channels)),
        std=tuple(itertools.islice(itertools.cycle(STD), channels)),
        fingerprint="photos",
    )


def normalised(data: SearchData) -> Tensor:
    """Return images as training sees them: `(N, channels, height, width)`."""
    images = torch.from_numpy(data.train.images).float()
    return ((images - torch.tensor(data.mean)) / torch.tensor(data.std)).permute(0, 3, 1, 2)


def as_torchvision_sees(name: str, data: SearchData) -> Tensor:
    """Return images as torchvision's own transform leaves them."""
    preset = get_model_weights(name).DEFAULT.transforms()
    colours = torch.from_numpy(data.train.images).float().permute(0, 3, 1, 2) / 255
    colours = colours.expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(v)[:, None, None] for v in (preset.mean, preset.std))
    return (colours - mean) / std


def own_features(network: nn.Module, images: Tensor) -> Tensor:
    """Return what the first linear layer of torchvision's head sees."""
    seen: list[Tensor] = []
    head = network.get_submodule("fc" if hasattr(network, "fc") else "classifier")
    first = next(m for m in head.modules() if isinstance(m, nn.Linear))
    hook = first.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network(images)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", 1), *((name, 3) for name in get_args(Backbone))]
)
def test_the_features_are_torchvisions_own(name: Backbone, channels: int, tmp_path: Path) -> None:
    theirs = trained(name)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    data = photos(channels)
    model = initial_model(config(tmp_path / "weights.pth", backbone=name), data).eval()
    assert isinstance(model, PretrainedNet)
    with torch.no_grad():
        features = model.features(normalised(data))
        expected = own_features(theirs, as_torchvision_sees(name, data))
        scale = expected.abs().max()
        torch.testing.assert_close(features / scale, expected / scale, rtol=0, atol=1e-5)
        torch.testing.assert_close(model(normalised(data)), model.head(features))
    assert model.head.layers[0].in_features == expected.shape[1]


def test_the_logits_are_torchvisions_own_with_torchvisions_own_head(
    resnet18: nn.Module, weights: Path
) -> None:
    data = photos(3)
    model = initial_model(config(weights), data).eval()
    with torch.no_grad():
        features = model.features(normalised(data))  # type: ignore[operator]
        logits = resnet18(as_torchvision_sees("resnet18", data))
        torch.testing.assert_close(
            resnet18.get_submodule("fc")(features), logits, rtol=1e-4, atol=1e-4
        )


def test_other_channels_are_seen_through_the_mean_of_the_colours(
    resnet18: nn.Module, weights: Path
) -> None:
    model = initial_model(config(weights), photos(6)).eval()
    grey = torch.randn(2, 1, 40, 40)
    with torch.no_grad():
        features = model.features(grey.expand(-1, 6, -1, -1))  # type: ignore[operator]
        expected = own_features(resnet18, grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def step(model: nn.Module, settings: TrialConfig) -> torch.optim.Optimizer:
    """Train a network on one batch."""
    optimizer = optimizer_for(settings, model)
    images = torch.randn(4, 3, 40, 40)
    nn.functional.cross_entropy(model.train()(images), torch.arange(4) % 2).backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("unfreeze", "learning"),
    [("none", ("head",)), ("last", ("head", "body.layer4")), ("all", ("head", "body"))],
)
def test_what_is_frozen_stays_as_it_was_statistics_included(
    unfreeze: str, learning: tuple[str, ...], weights: Path
) -> None:
    settings = config(weights, unfreeze=unfreeze, dropout=0.0)
    model = initial_model(settings, photos(3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step(model, settings)
    for name, tensor in model.state_dict().items():
        learns = name.startswith(learning)
        assert torch.equal(tensor, before[name]) != learns, name


@pytest.mark.parametrize("unfreeze", ["none", "last", "all"])
def test_the_optimizer_knows_what_learns_and_the_body_learns_more_slowly(
    unfreeze: str, weights: Path
) -> None:
    settings = config(weights, unfreeze=unfreeze, body_rate=0.01, learning_rate=0.1)
    model = initial_model(settings, photos(3))
    optimizer = optimizer_for(settings, model)
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (parameter in rates) == parameter.requires_grad, name
        if parameter.requires_grad:
            slower = 0.001 if name.startswith("body") else 0.1
            assert rates[parameter] == pytest.approx(slower), name


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "plateau", "constant"])
def test_schedules_keep_the_body_slower_than_the_head(schedule: str, weights: Path) -> None:
    settings = config(weights, unfreeze="all", body_rate=0.01, schedule=schedule, epochs=2)
    optimizer = optimizer_for(settings, initial_model(settings, photos(3)))
    rates = schedule_for(settings, optimizer, batches=4)
    for _ in range(8):
        head, *_, body = (group["lr"] for group in optimizer.param_groups)
        assert body == pytest.approx(0.01 * head)
        optimizer.step()
        rates.after_batch()


@pytest.mark.parametrize("name", get_args(Backbone))
def test_the_last_stage_is_a_part_of_each_body(name: Backbone) -> None:
    with torch.device("meta"):
        model = build_model(
            config_with(family="pretrained", backbone=name, unfreeze="last"),
            ImageShape(3, 64, 64),
            5,
        )
    body = dict(model.body.named_parameters())  # type: ignore[union-attr]
    learning = [parameter_name for parameter_name, p in body.items() if p.requires_grad]
    for part in LAST_STAGE[name]:
        assert any(parameter_name.startswith(f"{part}.") for parameter_name in learning), part
    assert list(body)[-len(learning) :] == learning, "the last stage stands at the end"
    assert (
        0.2 < sum(body[n].numel() for n in learning) / sum(p.numel() for p in body.values()) < 0.95
    )


def test_a_training_put_away_goes_on_as_exactly(weights: Path) -> None:
    data = striped()
    settings = config(weights, unfreeze="last", batch_size=40, epochs=2)
    expected = [epoch.test_loss for epoch, _ in train(settings, data, CPU)]
    with pytest.raises(Interrupted) as asked:
        list(train(settings, data, CPU, after(7)))
    state = from_bytes(to_bytes(asked.value.training.state()), CPU)
    assert [epoch.test_loss for epoch, _ in train(settings, data, CPU, state=state)] == expected


# Where weights lie


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that torch's own cache keeps weights in; there is nothing in it yet."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_weights_are_found_in_torchs_own_cache(weights: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / FILE).symlink_to(weights)
    assert find_weights("resnet18", Pretrained()) == cache / FILE


def test_weights_are_found_in_a_folder_or_by_their_file(weights: Path, cache: Path) -> None:
    for place in (weights, weights.parent):
        assert find_weights("resnet18", Pretrained(weights=str(place))) == weights


def test_missing_weights_are_named_and_where_to_put_them(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights("resnet18", Pretrained())
    for told in (FILE, str(cache), "https://", "pretrained.weights", "pretrained.download: true"):
        assert told in str(caught.value)
    for place in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(WeightsError) as caught:
            find_weights("resnet18", Pretrained(weights=str(place), download=True))
        assert f"there is no {place}" in str(caught.value)
        assert FILE in str(caught.value)


def test_weights_that_cannot_be_fetched_are_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(WeightsError, match=f"could not be fetched: .*put {FILE} "):
        find_weights("resnet18", Pretrained(download=True))
    assert list(cache.iterdir()) == []


def test_a_study_is_told_of_missing_weights_before_it_begins(weights: Path, cache: Path) -> None:
    written: dict[str, Any] = {
        "name": "flowers",
        "data": {"source": "digits"},
        "space": {"family": ["alexnet", "pretrained"], "backbone": ["resnet18", "resnet34"]},
    }
    with pytest.raises(WeightsError, match="resnet18"):
        check_weights(StudySpec.model_validate(written))
    written["pretrained"] = {"weights": str(weights.parent)}
    with pytest.raises(WeightsError, match="resnet34"):
        check_weights(StudySpec.model_validate(written))
    written["space"]["backbone"] = "resnet18"
    check_weights(StudySpec.model_validate(written))
    check_weights(StudySpec.model_validate(written | {"space": {"family": "alexnet"}}))


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    for name, says in (("resnet34", "is missing"), ("resnet50", "is missing")):
        with pytest.raises(WeightsError, match=f"not the weights of {name}: .*{says}"):
            initial_model(config(weights, backbone=name), photos(3))


def test_weights_of_another_shape_are_refused(weights: Path, tmp_path: Path) -> None:
    changed = torch.load(weights, weights_only=True)
    changed["conv1.weight"] = changed["conv1.weight"][:, :1]
    torch.save(changed, tmp_path / "grey.pth")
    with pytest.raises(WeightsError, match=r"conv1.weight is \(64, 1, 7, 7\), not \(64, 3, 7, 7\)"):
        initial_model(config(tmp_path / "grey.pth"), photos(3))


def test_files_that_are_no_state_dict_are_refused(weights: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(weights.read_bytes()[:1000])
    other = tmp_path / "other.pth"
    torch.save({"model": {"a": torch.zeros(1)}, "epoch": 3}, other)
    for file, says in ((broken, "cannot be read as weights"), (other, "holds no state dict")):
        with pytest.raises(WeightsError, match=says):
            initial_model(config(file), photos(3))


def test_weights_of_before_batches_were_counted_can_be_read(weights: Path, tmp_path: Path) -> None:
    old = {n: t for n, t in torch.load(weights, weights_only=True).items() if "num_b" not in n}
    torch.save(old, tmp_path / "old.pth")
    model = initial_model(config(tmp_path / "old.pth"), photos(3))
    assert torch.equal(model.state_dict()["body.conv1.weight"], old["conv1.weight"])


def test_what_is_only_measured_needs_no_weights(cache: Path) -> None:
    model = build_model(config_with(family="pretrained"), ImageShape(3, 40, 40), 4)
    assert model.eval()(torch.randn(1, 3, 40, 40)).shape == (1, 4)
