"""What `import hpsearch` gives, and what it costs."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import hpsearch


def test_the_import_loads_neither_torch_nor_optuna_nor_pandas() -> None:
    code = (
        "import sys, hpsearch; heavy = ('torch', 'optuna', 'pandas', 'numpy', 'sqlalchemy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_is_there_and_listed() -> None:
    for name in hpsearch.__all__:
        assert getattr(hpsearch, name) is not None
    assert hpsearch.__version__ == version("hpsearch")
    assert dir(hpsearch) == sorted(hpsearch.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        hpsearch.lunch  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(hpsearch.__file__).parent / "py.typed").exists()


def test_a_study_is_launched_and_read_back_as_frames(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(
        "name: small\ndata: {source: digits}\nspace: {filters: [4, 8], layers: 1}\n"
        "search: {trials: 2, epochs: 2, pruner: none}\nfinal: {baseline: false}\n"
    )
    url = f"sqlite:///{tmp_path}/studies.db"
    outcome = hpsearch.launch(
        hpsearch.read_study(file), url, runs=str(tmp_path / "runs"), workers=1
    )
    study = hpsearch.open_study("small", url)
    assert study.name == "small"
    assert list(study.trials["trial"]) == [0, 1]
    assert list(study.trials["state"]) == ["complete", "complete"]
    assert study.epochs.groupby("trial")["epoch"].max().to_dict() == {0: 2, 1: 2}
    last = study.epochs[study.epochs["epoch"] == 2].set_index("trial")["test_metric"]
    assert last.to_dict() == study.trials.set_index("trial")["test_accuracy"].to_dict()
    model = hpsearch.load_model(f"{tmp_path}/runs/small/model.safetensors")
    assert model.outputs == tuple("0123456789")
    assert outcome.report.final is not None
    with pytest.raises(hpsearch.HpsearchError, match="no study 'smal'; studies here: small"):
        hpsearch.open_study("smal", url)


def test_a_launch_of_what_is_no_study_says_what_it_takes() -> None:
    with pytest.raises(hpsearch.HpsearchError, match=r"read_study returns, not str: write launch"):
        hpsearch.launch("studies/digits.yaml")  # type: ignore[arg-type]
