"""Checkpoints are whole or not there, found by their own trial, and never a trial's trouble."""

from __future__ import annotations

import logging
import pickle
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from made_trainings import CPU, config, striped

from hpsearch.errors import StorageError
from hpsearch.search.objective import SavedTraining
from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.study.data import DataReference
from hpsearch.training.loop import train


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    """A folder, or what stands in for an object store: another file system, by URL."""
    url = str(tmp_path) if request.param == "folder" else f"memory://{uuid.uuid4().hex}"
    return Checkpoints(url, keep_free_bytes=0)


def test_what_was_saved_last_is_loaded(place: Checkpoints) -> None:
    assert place.load("study", "000003", config()) is None
    assert place.save("study", "000003", config(), b"first")
    assert place.save("study", "000003", config(), b"second, and longer")
    assert place.load("study", "000003", config()) == b"second, and longer"
    assert place.size_bytes("study") == len(b"second, and longer")


def test_another_slot_study_or_configuration_has_another_checkpoint(place: Checkpoints) -> None:
    place.save("study", "000003", config(), b"content")
    assert place.load("study", "000004", config()) is None
    assert place.load("other", "000003", config()) is None
    assert place.load("study", "000003", config(seed=8)) is None


def test_where_the_data_lies_makes_no_other_checkpoint(place: Checkpoints) -> None:
    place.save("study", "000003", config(), b"content")
    moved = DataReference(source="digits", fingerprint="none", root="elsewhere")
    assert place.load("study", "000003", config(data=moved)) == b"content"


def test_a_trial_that_ended_leaves_nothing_and_others_keep_theirs(place: Checkpoints) -> None:
    place.save("study", "000003", config(), b"three")
    place.save("study", "000004", config(), b"four")
    place.drop("study", "000003", config())
    place.drop("study", "000003", config())  # as a second worker may
    assert place.load("study", "000003", config()) is None
    assert place.load("study", "000004", config()) == b"four"


def test_a_study_that_ended_leaves_nothing(place: Checkpoints) -> None:
    place.save("study", "000003", config(), b"three")
    place.save("other", "000003", config(), b"three")
    place.drop_study("study")
    place.drop_study("study")
    assert place.size_bytes("study") == 0
    assert place.size_bytes("other") == 5


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "../other", "a/b", "study/", "a\nb", "*", "-"]
)
def test_what_cannot_be_a_studys_name_removes_nothing(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/kept.txt").write_text("harmless")
    for url in (str(tmp_path / "checkpoints"), f"memory://{uuid.uuid4().hex}"):
        place = Checkpoints(url, keep_free_bytes=0)
        for study in ("study", "a", "b"):
            place.save(study, "000003", config(), b"three")
        place.drop_study(name)
        with pytest.raises(StorageError, match="is no name of a study"):
            place.drop(name, "000003", config())
        with pytest.raises(StorageError, match="is no name of a study"):
            place.save(name, "000003", config(), b"three")
        assert [place.size_bytes(study) for study in ("study", "a", "b")] == [5, 5, 5]
    assert (tmp_path / "other/kept.txt").read_text() == "harmless"
    assert "nothing is removed" in caplog.text


@pytest.mark.parametrize("study", ["a", "a.b"])
def test_a_study_takes_none_with_it_whose_name_begins_like_its_own(
    study: str, place: Checkpoints
) -> None:
    names = ["a", "a.b", "a.b.c", "ab", "a-b"]
    for name in names:
        place.save(name, "000003", config(), b"three")
    place.drop_study(study)
    assert [name for name in names if place.size_bytes(name) == 0] == [study]


def test_a_link_in_the_place_of_a_study_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "checkpoints").mkdir()
    place = Checkpoints(str(tmp_path / "checkpoints"), keep_free_bytes=0)
    (tmp_path / "checkpoints/linked").symlink_to(elsewhere)
    place.save("linked", "000003", config(), b"three")
    (elsewhere / "kept.txt").write_text("harmless")
    place.drop("linked", "000003", config())
    place.drop_study("linked")
    assert len(list(elsewhere.iterdir())) == 2
    assert "a symbolic link leads elsewhere" in caplog.text
    place.save("study", "000003", config(), b"three")
    (tmp_path / "checkpoints/study/inside").symlink_to(elsewhere)
    place.drop_study("study")
    assert not (tmp_path / "checkpoints/study").exists()
    assert len(list(elsewhere.iterdir())) == 2


def test_a_place_that_is_reached_by_a_link_is_a_place_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "disk")
    place = Checkpoints(str(tmp_path / "checkpoints"), keep_free_bytes=0)
    place.save("study", "000003", config(), b"three")
    place.save("study", "000004", config(), b"four")
    place.drop("study", "000003", config())
    assert place.size_bytes("study") == 4
    place.drop_study("study")
    assert list((tmp_path / "disk").iterdir()) == []


def test_checkpoints_of_a_study_are_bounded_and_the_trial_goes_on(
    place: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    place.largest_bytes = 20
    assert place.save("study", "000000", config(), bytes(15))
    with caplog.at_level(logging.WARNING):
        assert not place.save("study", "000001", config(), bytes(15))
    assert "may take" in caplog.text and "the trial goes on" in caplog.text
    assert place.save("study", "000000", config(), bytes(15)), "one that is there may be renewed"


def test_a_nearly_full_disk_is_left_to_the_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Checkpoints(str(tmp_path), keep_free_bytes=2**60)
    assert not place.save("study", "000000", config(), b"content")
    assert "the disk is nearly full" in caplog.text
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_place_that_cannot_be_written_is_warned_of_once_in_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    place = Checkpoints(str(tmp_path / "file"))
    for slot in range(5):
        assert not place.save("study", f"{slot:06d}", config(), b"content")
    assert place.load("study", "000000", config()) is None
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1


def test_a_writer_that_dies_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    place = Checkpoints(str(tmp_path), keep_free_bytes=0)
    place.save("study", "000000", config(), b"whole")
    (kept,) = tmp_path.rglob("*.ckpt")
    kept.with_name(f".{kept.name}.12345").write_bytes(b"who")  # what kill -9 leaves
    assert place.load("study", "000000", config()) == b"whole"


def test_a_url_that_cannot_be_used_is_an_error_that_says_what_can() -> None:
    with pytest.raises(StorageError, match=r"name a folder or s3://BUCKET/FOLDER"):
        Checkpoints("nonsense://bucket")


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is installed")
def test_an_object_store_whose_driver_is_missing_says_what_to_install() -> None:
    with pytest.raises(StorageError, match=r"s3:// needs 'hpsearch\[s3\]'"):
        Checkpoints("s3://bucket/folder")


def test_a_disk_that_is_full_in_the_middle_of_a_write_leaves_the_checkpoint_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip("resource")
    place = Checkpoints(str(tmp_path), keep_free_bytes=0)
    place.save("study", "000000", config(), b"whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # no file may be larger
    try:
        assert not place.save("study", "000000", config(), bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "no checkpoint of training 000000" in caplog.text
    assert place.load("study", "000000", config()) == b"whole"
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1, "nothing half written stays"


def test_whoever_reads_while_another_writes_reads_something_whole(place: Checkpoints) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    place.save("study", "000000", config(), contents[0])
    with ThreadPoolExecutor(1) as threads:
        writes = threads.submit(
            lambda: [place.save("study", "000000", config(), contents[n % 2]) for n in range(50)]
        )
        while not writes.done():
            assert place.load("study", "000000", config()) in contents
        assert all(writes.result())


# What a trial makes of it


def saved(place: Checkpoints, content: bytes | None = None) -> SavedTraining:
    if content is not None:
        place.save("study", "000000", config(), content)
    return SavedTraining(place, "study", "000000", config()).load(striped(), CPU)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"format": 1})])
def test_a_checkpoint_that_cannot_be_read_is_as_good_as_none(
    content: bytes, place: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    training = saved(place, content)
    assert (training.state, training.epochs, training.trained_s) == (None, 0, 0.0)
    assert "that trial starts again" in caplog.text


def test_a_training_is_kept_when_it_is_time_or_asked_for_and_found_again(
    place: Checkpoints,
) -> None:
    place.every_s = 60
    (_, training), *_ = train(config(epochs=1), striped(), CPU)
    keeper = saved(place)
    keeper.keep(training)
    assert saved(place).state is None, "short epochs are not kept one by one"
    keeper.keep(training, now=True)
    found = saved(place)
    assert found.epochs == 1
    assert found.trained_s == training.epochs[0].duration_s
    found.drop()
    assert saved(place).state is None
    place.every_s = 0
    saved(place).keep(training)
    assert saved(place).epochs == 1
