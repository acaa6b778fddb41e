"""The study file: every mistake is answered with the file, the line, the key and what instead."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpsearch.errors import StudyFileError
from hpsearch.study.axes import Choice, Fixed, FloatRange, IntRange
from hpsearch.study.file import read_study
from hpsearch.study.spec import StudySpec

REPOSITORY = Path(__file__).resolve().parents[2]
HEAD = "name: trial-1\ndata: {source: digits}\n"  # two lines, so that what follows is line 3

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a study file and returns its path."""

    def written(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def complaint(write: Write) -> Callable[[str], str]:
    """Return a function that reads a study file and returns the error, without the folder."""

    def complained(text: str) -> str:
        path = write(text)
        with pytest.raises(StudyFileError) as caught:
            read_study(path)
        return str(caught.value).replace(f"{path.parent}/", "")

    return complained


Complaint = Callable[[str], str]


def test_a_study_file_is_read_with_every_default_filled_in(write: Write) -> None:
    spec = read_study(write(HEAD))
    assert spec == StudySpec.model_validate({"name": "trial-1", "data": {"source": "digits"}})
    assert spec.data.split.train == 0.8
    assert spec.search.pruner.name == "median"
    assert spec.space.searched() == {}


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "studies").glob("*.yaml")), ids=lambda path: path.name
)
def test_a_shipped_study_file_is_read(path: Path) -> None:
    spec = read_study(path)
    assert spec.name == path.stem
    assert spec.space.searched()


def test_there_are_shipped_study_files() -> None:
    assert list((REPOSITORY / "studies").glob("*.yaml"))


def test_1e_minus_3_is_a_number_and_on_is_a_switch(write: Write) -> None:
    text = "space: {learning_rate: 1e-3, flip: on, batch_norm: [on, off], weight_decay: 1E-2}\n"
    space = read_study(write(HEAD + text)).space
    assert space.learning_rate == Fixed(0.001)
    assert space.weight_decay == Fixed(0.01)
    assert space.flip == Fixed(True)
    assert space.batch_norm == Choice((True, False))


def test_ranges_lists_and_values_are_read_as_axes(write: Write) -> None:
    text = (
        "space:\n"
        "  filters: {low: 16, high: 64, step: 8}\n"
        "  learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "  optimizer: [adam, sgd]\n"
    )
    assert read_study(write(HEAD + text)).space.searched() == {
        "filters": IntRange(16, 64, 8),
        "optimizer": Choice(("adam", "sgd")),
        "learning_rate": FloatRange(1e-4, 1e-2, log=True),
    }


def test_sampler_and_pruner_may_be_a_name_alone(write: Write) -> None:
    search = read_study(write(HEAD + "search: {sampler: random, pruner: none}\n")).search
    assert (search.sampler.name, search.pruner.name) == ("random", "none")


def test_scheduler_is_another_name_of_pruner(write: Write) -> None:
    search = read_study(write(HEAD + "search: {scheduler: promote}\n")).search
    assert search.pruner.name == "promote"
    search = read_study(write(HEAD + "search: {scheduler: {name: median, resume: true}}\n")).search
    assert (search.pruner.name, search.pruner.resume) == ("median", True)


def test_a_file_that_begins_with_a_byte_order_mark_is_read(write: Write) -> None:
    assert read_study(write("\ufeff" + HEAD)).name == "trial-1"


def test_a_part_may_be_named_once_and_used_twice(write: Write) -> None:
    text = "space:\n  units1: &units {low: 16, high: 64}\n  units2: *units\n"
    space = read_study(write(HEAD + text)).space
    assert space.units1 == space.units2 == IntRange(16, 64)


def test_a_switch_may_be_named_once_and_used_twice(write: Write) -> None:
    space = read_study(write(HEAD + "space: {flip: &yes true, batch_norm: *yes}\n")).space
    assert space.flip == space.batch_norm == Fixed(True)


def test_an_unknown_key_gets_its_line_and_a_suggestion(complaint: Complaint) -> None:
    text = "search:\n  seed: 1\n  epocs: 3\n"
    expected = "study.yaml:5: search: unknown key 'epocs'; did you mean 'epochs'?"
    assert complaint(HEAD + text) == expected


def test_an_unknown_section_gets_its_line_and_a_suggestion(complaint: Complaint) -> None:
    expected = "study.yaml:3: unknown key 'serch'; did you mean 'search'?"
    assert complaint(HEAD + "serch: {}\n") == expected


def test_an_unknown_key_like_no_other_is_told_which_keys_there_are(complaint: Complaint) -> None:
    says = complaint(HEAD + "search: {wibble: 3}\n")
    assert says.startswith("study.yaml:3: search: unknown key 'wibble'; known keys: ")


def test_an_unknown_key_deep_down_is_placed_in_its_section(complaint: Complaint) -> None:
    text = "search:\n  sampler:\n    name: tpe\n    startup: 3\n"
    says = complaint(HEAD + text)
    assert says.startswith("study.yaml:6: search.sampler: unknown key 'startup'; did you mean")


def test_a_reversed_range_says_which_key_and_what_to_do(complaint: Complaint) -> None:
    text = "space:\n  units1: 3\n  filters: {low: 64, high: 16}\n"
    expected = "study.yaml:5: space.filters: low 64 is above high 16; swap them"
    assert complaint(HEAD + text) == expected


def test_every_mistake_of_a_file_is_told_at_once(complaint: Complaint) -> None:
    text = "space:\n  dropout: 5\n  filters: wide\n  flip: 2\nsearch: {epochs: 0}\n"
    lines = sorted(complaint(HEAD + text).splitlines())
    assert [line.split(": ")[:2] for line in lines] == [
        ["study.yaml:4", "space.dropout"],
        ["study.yaml:5", "space.filters"],
        ["study.yaml:6", "space.flip"],
        ["study.yaml:7", "search.epochs"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search: {epochs: many}", "search.epochs: 'many': input should be a valid integer"),
        ("search: {epochs: 2.5}", "search.epochs: 2.5: input should be a valid integer"),
        ("search: {epochs: 0}", "search.epochs: 0: input should be greater than or equal to 1"),
        ("search: {seed: -1}", "search.seed: -1: input should be greater than"),
        ("search: {precision: fp16}", "unknown value 'fp16'; did you mean 'bf16'?"),
        ("search: {sampler: tpee}", "search.sampler.name: unknown value 'tpee'; did you mean"),
        ("search: {sampler: [tpe]}", "search.sampler: ['tpe']: input should be a valid dict"),
        ("search: {pruner: {name: percentile, percentile: 100}}", "input should be less than 100"),
        ("search: {pruner: median, scheduler: promote}", "two names of one key; write one of them"),
        ("search: {pruner: {name: promote, resume: true}}", "promote has no such option"),
        ("search: [1]", "search: [1]: input should be a valid dictionary"),
        ("search: {timeout: soon}", "search.timeout: 'soon' is not a duration; write 90s, 30m"),
        ("search: {timeout: -5}", "search.timeout: -5 is not a duration above 0"),
        ("search: {timeout: true}", "search.timeout: True is not a duration; write"),
        ("space: {kernel_size: 4}", "space.kernel_size: 4 is even; use an odd number, such as 5"),
        ("space: {filters: [16, 16]}", "space.filters: 16 stands twice in the list; name each"),
        ("space: {filters: {low: 16, high: 60, step: 8}}", "steps of 8; use 56 or 64"),
        ("space: {filters: {low: 16, high: 64, step: 0}}", "step is 0; use a step above 0"),
        ("space: {activation: rellu}", "unknown value 'rellu'; did you mean 'relu'?"),
        ("space: {filters: }", "space.filters: None is not a number"),
        ("space: {filers: 3}", "space: unknown key 'filers'; did you mean 'filters'?"),
        (
            "space: {family: [alexnet, resnet], filters: {alexnet: 3}}",
            "filters: nothing is said for the family resnet",
        ),
        ("1: 2", "keys should be strings"),
    ],
    ids=str,
)
def test_a_mistake_is_placed_on_its_line_and_named(
    complaint: Complaint, text: str, expected: str
) -> None:
    says = complaint(f"{HEAD}{text}\n")
    assert says.startswith("study.yaml:3: ")
    assert expected in says
    assert len(says.splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{source: minst}", "data.source: unknown value 'minst'; did you mean 'mnist'?"),
        ("{source: digits, root: 3}", "data.root: 3: input should be a valid string"),
        (
            "{source: folder, root: photos}",
            "data: a folder of images needs image_size, such as image_size: 64",
        ),
        (
            "{source: folder, image_size: 32}",
            "data: a folder of images needs root, the folder of class folders",
        ),
        ("{source: digits, image_size: 4}", "data.image_size: 4: input should be greater than"),
        ("{source: digits, image_size: 999}", "data.image_size: 999: input should be less than"),
        (
            "{source: digits, split: {train: 0.8, test: 0.1, validation: 0.2}}",
            "data.split: train + test + validation is 1.1; make the shares add up to 1",
        ),
        ("{source: digits, split: {train: 1.5}}", "data.split.train: 1.5: input should be less"),
        (
            "{source: digits, split: {train: 0.9, test: 0.1, validation: 0}}",
            "data.split: validation 0 is not between 0 and 1",
        ),
        (
            "{source: mnist, split: {train: 0.8, test: 0.3, validation: official}}",
            "data.split: train 0.8 + test 0.3 is above 1",
        ),
        (
            "{source: digits, split: {validation: official}}",
            "data: digits has no official test part; give validation a share",
        ),
        ("", "data: None: input should be a valid dictionary"),
    ],
    ids=str,
)
def test_a_mistake_in_the_data_section_is_placed_and_named(
    complaint: Complaint, data: str, expected: str
) -> None:
    says = complaint(f"name: trial-1\ndata: {data}\n")
    assert says.startswith("study.yaml:2: ")
    assert expected in says


def test_shares_far_down_in_the_file_are_placed_on_their_own_line(complaint: Complaint) -> None:
    text = "name: a\ndata:\n  source: digits\n  split:\n    train: 0.5\n    test: 0.1\n"
    says = complaint(text)
    assert says.startswith("study.yaml:4: data.split: train + test + validation is 0.7")


def test_a_misspelt_official_is_suggested_under_the_key_the_user_wrote(
    complaint: Complaint,
) -> None:
    says = complaint("name: a\ndata: {source: mnist, split: {validation: offical}}\n")
    assert "study.yaml:2: data.split.validation: " in says
    assert "did you mean 'official'?" in says
    assert "literal[" not in says


def test_a_grid_on_a_continuous_axis_names_the_axis(complaint: Complaint) -> None:
    text = "space: {dropout: {low: 0, high: 0.5}}\nsearch: {sampler: grid}\n"
    says = complaint(HEAD + text)
    assert says.startswith("study.yaml")
    assert "search.sampler: grid needs lists or steps; dropout is continuous" in says


def test_a_missing_section_is_named(complaint: Complaint) -> None:
    assert complaint("name: a\n") == "study.yaml: data is missing"


@pytest.mark.parametrize("name", ["a/b", "'a b'", "''", "-a", "é", "a" * 101])
def test_a_name_that_cannot_be_a_file_name_is_refused(complaint: Complaint, name: str) -> None:
    says = complaint(f"name: {name}\ndata: {{source: digits}}\n")
    assert says.startswith("study.yaml:1: name: ")


def test_a_key_that_stands_twice_is_an_error(complaint: Complaint) -> None:
    says = complaint(HEAD + "search:\n  epochs: 3\n  seed: 1\n  epochs: 4\n")
    assert says.startswith("study.yaml:6: not valid YAML: found duplicate key")
    assert "epochs" in says


@pytest.mark.parametrize(
    ("text", "row"),
    [("name: [\n", 2), ("name: a\n\tdata: x\n", 2), ("name: 'a\n", 2), ("a: 1\n---\nb: 2\n", 2)],
    ids=["open list", "tab", "open quote", "two documents"],
)
def test_broken_yaml_gets_its_line(complaint: Complaint, text: str, row: int) -> None:
    assert complaint(text).startswith(f"study.yaml:{row}: not valid YAML: ")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- a\n- b\n", "just words\n", "3\n"])
def test_a_file_that_is_no_mapping_says_how_to_begin(complaint: Complaint, text: str) -> None:
    assert complaint(text) == "study.yaml: expected a mapping that begins with 'name: ...'"


def test_a_missing_file_suggests_the_one_with_a_similar_name(write: Write) -> None:
    path = write(HEAD)
    wanted = path.parent / "stduy.yaml"
    with pytest.raises(StudyFileError) as caught:
        read_study(wanted)
    assert str(caught.value) == f"{wanted}: there is no such file; did you mean {path}?"


def test_a_missing_file_in_a_missing_folder_is_an_error_all_the_same(tmp_path: Path) -> None:
    wanted = tmp_path / "no" / "study.yaml"
    with pytest.raises(StudyFileError) as caught:
        read_study(wanted)
    assert str(caught.value) == f"{wanted}: there is no such file"


def test_a_folder_in_place_of_a_study_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="cannot be read"):
        read_study(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(StudyFileError, match=r"study\.yaml: this is not a text file"):
        read_study(path)


def test_a_control_character_in_the_file_is_not_valid_yaml(complaint: Complaint) -> None:
    assert "not valid YAML" in complaint("name: a\x07b\n")


def test_what_looks_like_a_date_is_a_word_and_no_error_of_the_library(complaint: Complaint) -> None:
    says = complaint(HEAD + "space: {filters: 2024-02-30}\n")
    assert says == "study.yaml:3: space.filters: '2024-02-30' is not a number"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("space: !!set {filters}", "3: not valid YAML: the tag tag:yaml.org,2002:set means nothin"),
        ("space: &a {filters: *a}", "3: not valid YAML: *a stands inside what it names"),
        ("space: *a", "3: not valid YAML: *a is used, and no &a stands before it"),
        ("space: {<<: 3}", "3: not valid YAML: << takes over a mapping"),
        ("space: {? [a] : 3}", "3: not valid YAML: a list or a mapping cannot be a key"),
        ("space: " + "[" * 5000, "3: not valid YAML: lists and mappings lie more than 16 deep"),
        ("space: " + "{" * 5000, "3: not valid YAML: a list or a mapping cannot be a key"),
        ("space: " + "{a: " * 5000, "3: not valid YAML: lists and mappings lie more than 16 deep"),
        ("name: " + "9" * 5000, "3: not valid YAML: "),
        ("search: {seed: " + "9" * 5000 + "}", "is a number of 5,000 digits; 100 are the most"),
        ('name2: "\\ud800"', "3: not valid YAML: half a character, or a NUL, stands in a text"),
        ('name2: "\\U00110000"', "not valid YAML: "),
    ],
    ids=lambda text: text[:30],
)
def test_what_only_a_library_or_an_attacker_writes_is_refused_on_its_line(
    complaint: Complaint, text: str, expected: str
) -> None:
    says = complaint(f"{HEAD}{text}\n")
    assert expected in says
    assert says.startswith("study.yaml:")
    assert len(says) < 300


def test_names_inside_names_are_counted_wherever_they_are_used(complaint: Complaint) -> None:
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcde", "bcdef", strict=True)
    ]
    says = complaint(HEAD + "\n".join(rows) + "\n")
    assert says.startswith("study.yaml:7: not valid YAML: there are more than 10,000 values")


def test_a_mapping_takes_over_the_keys_of_another(write: Write) -> None:
    text = "space:\n  units1: &u {low: 16, high: 64}\n  units2:\n    <<: *u\n    high: 32\n"
    assert read_study(write(HEAD + text)).space.units2 == IntRange(16, 32)


def test_a_file_larger_than_any_study_is_not_read(complaint: Complaint) -> None:
    says = complaint(HEAD + "# more\n" * 10_000)
    assert says == "study.yaml: is larger than 64 KiB, the most that a study file may be"


def test_a_long_run_of_digits_is_no_duration_and_is_told_at_once(complaint: Complaint) -> None:
    began = time.process_time()
    assert "is not a duration" in complaint(HEAD + f"search: {{timeout: '{'9' * 60_000}'}}\n")
    assert time.process_time() - began < 1


def test_a_message_about_a_long_value_is_short(complaint: Complaint) -> None:
    says = complaint(HEAD + f"space: {{filters: {'x' * 30_000}, layers: [{'a, ' * 5000}]}}\n")
    assert len(says) < 2000


def test_of_many_mistakes_the_first_are_told_and_the_others_counted(complaint: Complaint) -> None:
    lines = complaint(HEAD + "".join(f"key{i}: 1\n" for i in range(50))).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "study.yaml: and 30 more mistakes like these"


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("search: {epochs: 18446744073709551616}", "100,000"),
        ("search: {trials: 3000000000}", "1,000,000"),
        ("search: {sampler: {name: tpe, startup_trials: 3000000000}}", "1,000,000"),
        ("search: {pruner: {name: median, warmup_epochs: 3000000000}}", "100,000"),
        ("search: {early_stopping: 3000000000}", "100,000"),
        ("search: {timeout: 1e300}", "31,622,400"),
        ("search: {stall_timeout: 99999999d}", "31,622,400"),
        ("search: {max_parameters: 1e15}", "1,000,000,000,000"),
        ("search: {seed: 4294967296}", "4,294,967,295"),
    ],
    ids=str,
)
def test_what_is_more_than_anybody_means_is_refused(
    complaint: Complaint, text: str, most: str
) -> None:
    says = complaint(f"{HEAD}{text}\n")
    assert f"is above {most}, the most that can be asked for" in says
    assert says.startswith("study.yaml:3: search.")


def test_a_grid_too_fine_to_be_listed_is_refused(complaint: Complaint) -> None:
    text = "space: {dropout: {low: 0, high: 0.5, step: 1e-9}}\nsearch: {sampler: grid}\n"
    assert "dropout has 500,000,001 points, and 100,000 are the most" in complaint(HEAD + text)


def test_a_step_too_small_to_be_counted_is_refused(complaint: Complaint) -> None:
    says = complaint(HEAD + "space: {dropout: {low: 0, high: 0.5, step: 1e-300}}\n")
    assert says.endswith("there are more than 1e+15 steps of 1e-300; leave step out")


@pytest.mark.parametrize("name", ["hpsearch.db", "checkpoints", "Checkpoints", "x.db-wal", "nul"])
def test_a_study_cannot_have_the_name_of_what_lies_beside_it(
    complaint: Complaint, name: str
) -> None:
    says = complaint(f"name: {name}\ndata: {{source: digits}}\n")
    assert says.startswith(f"study.yaml:1: name: '{name}' is the name of a file or folder of hpse")
