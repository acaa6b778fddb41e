"""Checkpoints in an object store, over its protocol: what one worker writes another one finds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from made_trainings import config

from hpsearch.storage.checkpoints import Checkpoints

boto3 = pytest.importorskip("boto3")
s3fs = pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")

# Of the libraries of the server and of its clients, which close sockets late.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Return the address of a server that speaks S3, with the bucket `kept`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "anybody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="kept")
        yield f"http://{host}:{port}"
        s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def worker(folder: str) -> Checkpoints:
    """Return checkpoints as another process has them, with a file system of its own."""
    s3fs.S3FileSystem.clear_instance_cache()
    return Checkpoints(f"s3://kept/{folder}")


def test_what_another_worker_saved_is_found_after_a_save_that_failed(store: str) -> None:
    first, second = worker("after"), worker("after")
    assert first._fs is not second._fs
    assert second.save("study", "000001", config(), b"of another trial")
    first.largest_bytes = 1
    assert not first.save("study", "000000", config(), b"too large"), "it has seen what is there"
    assert second.save("study", "000000", config(), b"kept by another worker")
    assert first.load("study", "000000", config()) == b"kept by another worker"
    assert second.save("study", "000000", config(), b"kept by another worker, later")
    assert first.load("study", "000000", config()) == b"kept by another worker, later"


def test_room_and_removal_go_by_what_is_there_now(store: str) -> None:
    first, second = worker("room"), worker("room")
    assert second.save("study", "000001", config(), bytes(10))
    assert first.size_bytes("study") == 10
    assert second.save("study", "000000", config(), bytes(15))
    assert first.size_bytes("study") == 25
    first.largest_bytes = 25
    assert first.save("study", "000000", config(), bytes(12)), "it is there, and may be renewed"
    assert second.load("study", "000000", config()) == bytes(12)
    second.drop("study", "000000", config())
    assert first.load("study", "000000", config()) is None
    assert second.save("study", "000002", config(), bytes(3))
    first.drop_study("study")
    assert second.size_bytes("study") == 0
    assert second.load("study", "000002", config()) is None
