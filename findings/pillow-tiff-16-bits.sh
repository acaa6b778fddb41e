#!/bin/sh
# Pillow: two kinds of TIFF of 16 bits come as other pictures, without an error or a warning.
# Expected by its handbook (Image file formats, TIFF): plane-interleaved images of several bands are
# read; these have no compression. And by TIFF 6.0, PhotometricInterpretation: where it is WhiteIsZero, 0 is white, as Pillow
# has it for 8 bits.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "pillow==13.0.0" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$folder/seen.py" <<'PYTHON'
import importlib.metadata
import io

import numpy as np
import tifffile
from PIL import Image

for name in ("pillow", "tifffile"):
    print(name, importlib.metadata.version(name))


def through(values, **options):
    """Return what Pillow and what tifffile read of the same file."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    file.seek(0)
    with Image.open(file) as opened:
        by_pillow = np.asarray(opened)
    return by_pillow, tifffile.imread(io.BytesIO(file.getvalue()))


planes = np.arange(3 * 8 * 8, dtype=np.uint16).reshape(3, 8, 8) * 300
together, _ = through(planes.transpose(1, 2, 0).copy(), photometric="rgb")
apart, right = through(planes, photometric="rgb", planarconfig="separate")
right = (right.transpose(1, 2, 0) >> 8).astype(np.uint8)
print("RGB of 16 bits, upper bytes of the first pixels of the second line")
print("expected:     ", right[1, :3].tolist())
print("bands together", together[1, :3].tolist())
print("bands apart   ", apart[1, :3].tolist())

levels = np.array([[0, 255]], np.uint8)
eight, _ = through(levels, photometric="miniswhite")
sixteen, _ = through(levels.astype(np.uint16) * 257, photometric="miniswhite")
print("0 and the highest value, where 0 is white")
print("expected: white, black")
print("8 bits:  ", eight[0].tolist())
print("16 bits: ", sixteen[0].tolist())
wrong_planes = np.array_equal(together, right) and not np.array_equal(apart, right)
wrong_white = eight[0].tolist() == [255, 0] and sixteen[0].tolist() == [0, 65535]
raise SystemExit(0 if wrong_planes and wrong_white else 1)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/seen.py"
