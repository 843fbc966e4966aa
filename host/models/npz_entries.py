"""The arrays of an .npz file as typed entries: nothing in the file is trusted, and nothing is unpickled."""

import io
import math
import os
import zipfile
from typing import Final

import numpy as np

from celosia.host.models.errors import ModelError

MAX_BYTES: Final = 2**30
"""Largest file read, in bytes after decompression."""

MAX_LENGTH: Final = 2**20
"""Most elements of a vector of names or labels."""

MAX_TEXT: Final = 2**16
"""Most characters of a text."""

MAX_SOURCES: Final = 1024
"""Most tensors that a layer takes."""

MAX_DIMENSIONS: Final = 64
"""Most axes of a shape, as many as numpy's arrays have."""

_LAST_CHARACTER: Final = 0x10FFFF
_SURROGATES: Final = 0xD800, 0xDFFF


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of a .npz file, without trusting a size that the file states.

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged, or is larger than `MAX_BYTES`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > MAX_BYTES:
                raise ModelError(f"the arrays take {size} bytes, but at most {MAX_BYTES} are read.")
            return {
                member.filename.removesuffix(".npy"): _read_array(archive.read(member), member.filename)
                for member in members
            }
    except FileNotFoundError:
        raise ModelError("there is no such file.") from None
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"it cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # zipfile and its decompressors raise a dozen types on damaged files
        raise ModelError(f"it is damaged or no .npz file ({type(error).__name__}: {error}).") from None


def _read_array(content: bytes, name: str) -> np.ndarray:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(stream)
    except Exception as error:  # the header is Python text: whatever its evaluation raises
        raise ModelError(f'the entry "{name}" is no .npy array ({type(error).__name__}: {error}).') from None
    if dtype.kind not in "iufU":
        raise ModelError(f'the entry "{name}" has dtype {dtype}, but only integers, floats and texts are read.')
    if dtype.kind == "U" and dtype.itemsize > 4 * MAX_TEXT:
        raise ModelError(
            f'the entry "{name}" has texts of {dtype.itemsize // 4} characters; at most {MAX_TEXT} are read.'
        )
    expected, given = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if min((0, *shape)) < 0 or expected != given:
        raise ModelError(f'the entry "{name}" has {given} bytes, but shape {shape} of {dtype} needs {expected}.')
    values = np.frombuffer(content, dtype, offset=stream.tell())
    if dtype.kind == "U":
        _check_characters(np.frombuffer(content, f"{dtype.byteorder}u4", offset=stream.tell()), name)
    return values.reshape(shape[::-1]).T if fortran_order else values.reshape(shape)


def _check_characters(codes: np.ndarray, name: str) -> None:
    """Refuse what is no character, which Python makes no text of, or none that can be printed."""
    low, high = _SURROGATES
    wrong = codes[(codes > _LAST_CHARACTER) | ((codes >= low) & (codes <= high))]
    if wrong.size:
        raise ModelError(f'the entry "{name}" contains {wrong[0]:#x}, which is no character.')


def _wrong(key: str, array: np.ndarray, wanted: str) -> ModelError:
    return ModelError(f'the entry "{key}" is {array.dtype} of shape {array.shape}, but {wanted} would be right.')


class Entries:
    """The entries of a file, with sentences for what is missing, of the wrong kind, or unknown.

    Every method but ``in`` raises :class:`ModelError` when the entry `key` is not what its name says; the sentence ends
    with what is `wanted`.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def array(self, key: str, wanted: str = "an array") -> np.ndarray:
        """Return an array of any shape."""
        if key not in self._arrays:
            raise ModelError(f'the entry "{key}" is missing; {wanted} would be right.')
        self._read.add(key)
        return self._arrays[key]

    def _scalar(self, key: str, kinds: str, wanted: str) -> np.ndarray:
        array = self.array(key, wanted)
        if array.dtype.kind not in kinds or array.shape != ():
            raise _wrong(key, array, wanted)
        return array

    def text(self, key: str, wanted: str = "one text") -> str:
        """Return one text."""
        return str(self._scalar(key, "U", wanted))

    def integer(self, key: str) -> int:
        """Return one integer."""
        return int(self._scalar(key, "iu", "one integer"))

    def number(self, key: str) -> float:
        """Return one number."""
        return float(self._scalar(key, "iuf", "one number"))

    def numbers(self, key: str) -> float | np.ndarray:
        """Return one number, or an array of numbers."""
        array = self.array(key, wanted := "one number or an array of numbers")
        if array.dtype.kind not in "iuf":
            raise _wrong(key, array, wanted)
        return array if array.ndim else float(array)

    def truth(self, key: str) -> bool:
        """Return whether an integer, 0 or 1, is 1."""
        if (value := self.integer(key)) not in (0, 1):
            raise ModelError(f'the entry "{key}" is {value}, but 0 or 1 would be right.')
        return value == 1

    def vector(self, key: str, kinds: str, wanted: str, most: int = MAX_LENGTH) -> list[str] | list[int]:
        """Return a vector of a dtype of one of the `kinds`, numpy's letters, and of at most so many elements."""
        array = self.array(key, wanted)
        if array.size > most:
            raise _wrong(key, array, f"{wanted} with at most {most} elements")
        if array.ndim != 1 or (array.dtype.kind not in kinds and array.size):
            raise _wrong(key, array, wanted)
        return array.tolist()

    def shapes(self, key: str) -> list[list[int]]:
        """Return the shapes of the tensors that a layer takes, all with as many axes: the rows of a matrix."""
        array = self.array(key, wanted := "a matrix of integers, one shape in each row,")
        if len(array.shape) != 2 or array.dtype.kind not in "iu":
            raise _wrong(key, array, wanted)
        if len(array) > MAX_SOURCES or array.shape[1] > MAX_DIMENSIONS:
            raise _wrong(key, array, f"at most {MAX_SOURCES} shapes of {MAX_DIMENSIONS} sizes")
        return array.tolist()

    def refuse_others(self) -> None:
        """Refuse a file with entries that nobody asked for."""
        if others := sorted(self._arrays.keys() - self._read):
            raise ModelError(f"the entries {', '.join(others)} are unknown; only those of the format are read.")
