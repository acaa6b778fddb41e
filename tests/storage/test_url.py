"""The password of a Postgres URL may lie in a file: it is used, and it is never shown."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from fixtures_storage import GUARDED_PASSWORD, GUARDED_ROLE, PostgresServer

from hpsearch.errors import StorageError
from hpsearch.storage.storage import open_storage
from hpsearch.storage.url import (
    PASSWORD_FILE_VARIABLE,
    network_file_system,
    parse_url,
    shown_url,
    without_secrets,
)

URL = "postgresql://ann@db/hpsearch"


@pytest.fixture
def password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the environment names; it is for the test to write it."""
    path = tmp_path / "password"
    monkeypatch.setenv(PASSWORD_FILE_VARIABLE, str(path))
    return path


@pytest.mark.parametrize(
    ("content", "password"),
    [
        ("correct-horse\n", "correct-horse"),
        ("correct-horse", "correct-horse"),
        ("p@ss:w/ord?%20#&=\n\n", "p@ss:w/ord?%20#&="),
        (" spaces count \n", " spaces count "),
        ("пароль\n", "пароль"),
    ],
)
def test_the_password_of_a_file_is_the_urls_whatever_it_is_made_of(
    content: str, password: str, password_file: Path
) -> None:
    password_file.write_text(content, encoding="utf-8")
    parsed = parse_url(URL)
    assert parsed.password == password
    assert password not in shown_url(parsed)
    again = parse_url(parsed.render_as_string(hide_password=False))  # as a worker process gets it
    assert again == parsed


@pytest.mark.parametrize(
    "url",
    ["postgresql://ann:own@db/hpsearch", "postgresql://ann@db/hpsearch?password=own"],
)
def test_a_password_in_the_url_comes_before_the_file(url: str, password_file: Path) -> None:
    password_file.write_text("from-the-file")
    assert "from-the-file" not in parse_url(url).render_as_string(hide_password=False)


def test_sqlite_needs_no_password_and_reads_no_file(password_file: Path) -> None:
    assert not password_file.exists()
    assert parse_url("sqlite:///runs/hpsearch.db").password is None


def test_without_the_variable_libpq_finds_the_password_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PASSWORD_FILE_VARIABLE, "")
    assert parse_url(URL).password is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"s\xe9cret\n", "it is not text"),
        (b"s3cret\0\n", "it is not text"),
        ("s3cret é".encode() * 10**6, "it is longer than 65,536 bytes"),
    ],
)
def test_a_file_without_a_password_is_an_error_that_names_it(
    content: bytes | None, reason: str, password_file: Path
) -> None:
    if content is not None:
        password_file.write_bytes(content)
    with pytest.raises(StorageError, match=reason) as caught:
        parse_url(URL)
    assert str(password_file) in str(caught.value)
    assert PASSWORD_FILE_VARIABLE in str(caught.value)
    assert caught.value.__context__ is None, "an error of the decoder would quote the file"
    assert "s3cret" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(password_file: Path) -> None:
    os.mkfifo(password_file)
    with pytest.raises(StorageError, match="it is a pipe or a device"):
        parse_url(URL)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(password_file: Path) -> None:
    password_file.write_text("s3cret")
    password_file.chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        parse_url(URL)


def test_a_folder_in_the_place_of_the_file_is_named(password_file: Path) -> None:
    password_file.mkdir()  # what Docker makes of a secret whose file is missing
    with pytest.raises(StorageError, match="Is a directory"):
        parse_url(URL)


def test_postgres_opens_with_the_password_of_the_file(
    postgres_server: PostgresServer, password_file: Path
) -> None:
    postgres_server.create("password_file", owner=GUARDED_ROLE)
    url = postgres_server.url("password_file", GUARDED_ROLE)
    password_file.write_text(f"{GUARDED_PASSWORD}\n")
    storage = open_storage(url)
    try:
        assert GUARDED_PASSWORD not in repr(storage) + storage.shown
    finally:
        storage.close()
    postgres_server.drop("password_file")


def test_a_wrong_password_in_the_file_is_not_repeated(
    postgres_server: PostgresServer, password_file: Path
) -> None:
    password_file.write_text("tr0ub4dor\n")
    with pytest.raises(StorageError, match="password authentication failed") as caught:
        open_storage(postgres_server.url("postgres", GUARDED_ROLE))
    assert "tr0ub4dor" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach postgresql://ann:tr0ub4dor@db:5432/hp, trying again",
        "postgresql+psycopg://:tr0ub4dor@db/hp",
        "two: postgresql://ann:tr0ub4dor@db/hp and s3://key:tr0ub4dor@bucket",
        "postgresql://ann:tr0ub4dor:x@db/hp",
        "postgresql://ann:tr0ub4dor@x@db/hp",
        "postgresql://ann@db/hp?password=tr0ub4dor&sslmode=require",
        "host=db password=tr0ub4dor user=ann",
        "host=db password='tr0ub4dor' user=ann",
        'connect(host="db", password="tr0ub4dor")',
        "aws_secret_access_key=tr0ub4dor aws_session_token=tr0ub4dor",
        "PGPASSWORD=tr0ub4dor psql",
    ],
)
def test_no_password_stays_in_text(text: str) -> None:
    said = without_secrets(text)
    assert "tr0ub4dor" not in said
    assert "***" in said


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///runs/hpsearch.db: database is locked",
        "postgresql://ann@db:5432/hp?sslmode=require",
        "http://127.0.0.1:8080/ is for ann@db",
        "trial 7 passed epoch 3: test accuracy 0.9",
        "",
    ],
)
def test_text_without_a_password_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


MOUNTS = """
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/local\\040disk xfs rw 0 0
//box/share /mnt cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ann/runs/hpsearch.db", "nfs4"),
        ("/home/local disk/hpsearch.db", None),
        ("/mnt/hpsearch.db", "cifs"),
        ("/srv/hpsearch.db", None),
        ("/homes/hpsearch.db", None),
    ],
)
def test_a_file_on_a_network_file_system_is_told_from_a_local_one(
    path: str, kind: str | None
) -> None:
    assert network_file_system(Path(path), MOUNTS.strip()) == kind


def test_a_tilde_in_the_path_of_a_database_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///~/hp.db").database == f"{tmp_path}/hp.db"
    open_storage("sqlite:///~/hp.db").close()
    assert (tmp_path / "hp.db").is_file() and not (tmp_path / "~").exists()
    with pytest.raises(StorageError, match="nobody of that name has a home here"):
        parse_url("sqlite:///~nobody-of-this-name/hp.db")
