#!/bin/sh
# soundfile: FLAC that does not say how long it is (as encoders write it to a pipe) cannot be read.
# RFC 9639, 8.2: a number of 0 samples in the stream info means that it is unknown; such a file is
# valid. Expected: its samples, from "read" or in blocks. Seen: a length of 2 ** 63 - 1, a
# ValueError from "read", and an error from blocks, for each is followed by a seek.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "soundfile==0.14.0" "numpy==2.4.6"
cat > "$folder/seen.py" <<'PYTHON'
import io

import numpy as np
import soundfile

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
samples = np.sin(np.arange(16_000) / 20) / 2
written = io.BytesIO()
soundfile.write(written, samples, 16_000, format="FLAC")
flac = bytearray(written.getvalue())
# The stream info begins at byte 8; its number of samples is the low 36 bits of bytes 18 to 25.
head = int.from_bytes(flac[18:26], "big")
assert head & (1 << 36) - 1 == len(samples)
flac[18:26] = (head & ~((1 << 36) - 1)).to_bytes(8, "big")


def tried(read):
    try:
        return len(read())
    except (ValueError, RuntimeError) as error:
        return type(error).__name__


def in_blocks():
    with soundfile.SoundFile(io.BytesIO(flac)) as file:
        return np.concatenate([file.read(4096) for _ in range(4)])


seen = (
    soundfile.info(io.BytesIO(flac)).frames,
    tried(lambda: soundfile.read(io.BytesIO(flac))[0]),
    tried(in_blocks),
)
print("frames, read, blocks:", *seen)
assert seen == (2**63 - 1, "ValueError", "LibsndfileError"), seen
PYTHON
"$folder/venv/bin/python" "$folder/seen.py"
