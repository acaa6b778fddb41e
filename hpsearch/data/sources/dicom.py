"""DICOM as a format of Pillow: pictures of medicine in their own units, read by pydicom.

Grey values are those after the rescaling that the file says, such as Hounsfield units, so that one
range counts for files of several devices; a window is `pictures.range`. MONOCHROME1 is a negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

FORMAT = "DICOM"
PREAMBLE_BYTES, MARK = 128, b"DICM"
NEGATIVE = "negative"  # in a picture's info: low values are white
GREY = ("MONOCHROME1", "MONOCHROME2")


def _begins(head: bytes) -> bool:
    """Whether a file may be DICOM: its preamble is empty, and the mark comes after it."""
    return head == bytes(len(head))


class DicomImageFile(ImageFile.ImageFile):
    """A file of one or several frames, in mode L, I, F or RGB."""

    format = FORMAT
    format_description = "DICOM"

    def _open(self) -> None:
        assert self.fp is not None
        if self.fp.read(PREAMBLE_BYTES + len(MARK))[PREAMBLE_BYTES:] != MARK:
            raise SyntaxError("not a DICOM file")
        try:
            import pydicom  # noqa: F401
        except ImportError:
            raise OSError(
                "is DICOM, which pydicom reads; install it with pip install 'hpsearch[dicom]'"
            ) from None
        self._dataset = self._read(stop_before_pixels=True)
        found = self._dataset
        if "Rows" not in found or "Columns" not in found:
            raise OSError("is DICOM without a picture")
        self._size = (int(found.Columns), int(found.Rows))
        self.n_frames = int(found.get("NumberOfFrames") or 1)
        self._frame = 0
        self._mode = self._mode_of(found)
        if found.PhotometricInterpretation == GREY[0]:
            self.info[NEGATIVE] = True
        self.tile = []

    def _read(self, stop_before_pixels: bool) -> Any:
        import pydicom

        assert self.fp is not None
        self.fp.seek(0)
        return pydicom.dcmread(self.fp, stop_before_pixels=stop_before_pixels)

    @staticmethod
    def _mode_of(found: Any) -> str:
        if found.PhotometricInterpretation not in GREY:
            return "RGB"
        scale = float(found.get("RescaleSlope", 1)), float(found.get("RescaleIntercept", 0))
        if not all(number.is_integer() for number in scale):
            return "F"
        plain = scale == (1, 0) and "ModalityLUTSequence" not in found
        shallow = int(found.BitsAllocated) == 8 and not found.get("PixelRepresentation", 0)
        return "L" if plain and shallow else "I"

    def seek(self, frame: int) -> None:
        """Go to a frame; EOFError where there is none."""
        if not 0 <= frame < self.n_frames:
            raise EOFError(f"has {self.n_frames} frame(s)")
        self._frame = frame

    def tell(self) -> int:
        return self._frame

    def load(self) -> Any:
        """Read the pixels of the frame."""
        if getattr(self, "_loaded", None) != self._frame:
            values = self._values()
            kind = {"L": np.uint8, "I": np.int32, "F": np.float32, "RGB": np.uint8}[self.mode]
            self.im = Image.fromarray(values.astype(kind)).im
            self._loaded = self._frame
        return super().load()

    def _values(self) -> NDArray[Any]:
        from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
        from pydicom.pixels.utils import pixel_array

        found = self._read(stop_before_pixels=False)
        stored = pixel_array(found, index=self._frame if self.n_frames > 1 else None)
        if found.PhotometricInterpretation == "PALETTE COLOR":
            stored = apply_color_lut(stored, found)
            return stored >> 8 if stored.dtype.itemsize == 2 else stored
        if found.PhotometricInterpretation not in GREY:
            return stored
        values = np.asarray(apply_modality_lut(stored, found))
        if "PixelPaddingValue" in found:
            padding = stored == found.PixelPaddingValue
            if padding.any() and not padding.all():
                values = np.where(padding, values[~padding].min(), values)
        if self.mode == "L" and NEGATIVE in self.info:
            return 255 - values  # Pillow takes negatives of 8 bits for read as they are meant
        return values


def register() -> None:
    """Let Pillow open DICOM, and know `.dcm`; pydicom is loaded with the first such file."""
    Image.register_open(FORMAT, DicomImageFile, _begins)
    Image.register_extensions(FORMAT, [".dcm", ".dicom"])
