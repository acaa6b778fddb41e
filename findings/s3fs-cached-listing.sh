#!/bin/sh
# s3fs: an object that another client wrote is not found once its folder was listed.
# Expected by the documentation: "exists", "cat_file" and "open" answer for the object itself;
# fsspec's listings cache is described as one of listings.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "s3fs==2026.9.0" "fsspec==2026.9.0" "moto[server]==5.2.5"
cat > "$folder/seen.py" <<'PYTHON'
import importlib.metadata
import logging
import os

os.environ.update(
    AWS_ACCESS_KEY_ID="anybody", AWS_SECRET_ACCESS_KEY="anything", AWS_DEFAULT_REGION="us-east-1"
)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
import boto3
import s3fs
from moto.server import ThreadedMotoServer

for name in ("s3fs", "fsspec", "moto", "botocore"):
    print(name, importlib.metadata.version(name))
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
url = "http://{}:{}".format(*server.get_host_and_port())
other = boto3.client("s3", endpoint_url=url)
other.create_bucket(Bucket="bucket")
fs = s3fs.S3FileSystem(endpoint_url=url)
fs.pipe_file("bucket/folder/first", b"1")
fs.ls("bucket/folder")
other.put_object(Bucket="bucket", Key="folder/second", Body=b"2")


def found(read):
    try:
        return bool(read())
    except FileNotFoundError:
        return False


def got():
    fs.get_file("bucket/folder/second", os.path.join(os.path.dirname(__file__), "got"))
    return True


asked = {
    "exists": lambda: fs.exists("bucket/folder/second"),
    "cat_file": lambda: fs.cat_file("bucket/folder/second"),
    "open": lambda: fs.open("bucket/folder/second").read(),
    "get_file": got,
}
before = {name: found(read) for name, read in asked.items()}
fs.invalidate_cache()
after = {name: found(read) for name, read in asked.items()}
print("expected: found by all of", ", ".join(asked))
print("seen after a listing:   ", before)
print("after invalidate_cache: ", after)
server.stop()
as_known = {"exists": False, "cat_file": False, "open": False, "get_file": True}
raise SystemExit(0 if before == as_known and all(after.values()) else 1)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/seen.py"
