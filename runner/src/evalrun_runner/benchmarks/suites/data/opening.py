"""Opening of data files: decompressed, out of archives, decoded; errors name the file, the row and the byte."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa

from evalrun_runner.errors import InputError, first_line

_ZIP = b"PK\x03\x04"
_WORKBOOK = "[Content_Types].xml"
"""Entry of every Office file, which is a zip archive."""
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """How a text file is written. A byte-order mark of UTF-8 is never part of the text."""

    name: str = "utf-8"
    errors: str = "strict"

    @property
    def is_utf8(self) -> bool:
        """Whether it is UTF-8."""
        return self.name.lower().replace("_", "-") in ("utf-8", "utf8")

    @property
    def codec(self) -> str:
        """Python's codec."""
        return "utf-8-sig" if self.is_utf8 else self.name


def open_members(file: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the content of a data file: decompressed, and each file of a zip archive by itself.

    Yields:
        The name to say in messages, and the bytes.

    Raises:
        InputError: The file is an Office file.
        OSError: The file cannot be opened; see ``naming_damage`` for damaged files.
    """
    with file.open("rb") as raw:
        start = raw.read(6)
        raw.seek(0)
        if not start.startswith(_ZIP):
            yield file.name, _decompressed(raw, start)
            return
        with zipfile.ZipFile(raw) as archive:
            names = sorted(entry.filename for entry in archive.infolist() if not entry.is_dir())
            if _WORKBOOK in names:
                raise InputError(f"its data cannot be read: {file.name} is an Office file; save the sheet as CSV")
            for name in names:
                if not any(part.startswith((".", "__")) for part in PurePosixPath(name).parts):
                    with archive.open(name) as member:
                        yield f"{file.name}/{name}", member


@contextmanager
def naming_damage(file: Path) -> Iterator[None]:
    """Convert errors of reading and decompression inside the block into an ``InputError`` that names the file."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError, pa.ArrowException) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise InputError(f"its data cannot be read: {file.name}: {why}") from error


def _decompressed(raw: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(raw)  # type: ignore[return-value]  # a binary file
    if start.startswith(b"BZh"):
        return bz2.open(raw)
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(raw)
    for magic, codec in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x04\x22\x4d\x18", "lz4")):
        if start.startswith(magic):
            stream: IO[bytes] = io.BufferedReader(pa.CompressedInputStream(raw, codec))
            return stream
    return raw


@contextmanager
def open_text(name: str, stream: IO[bytes], encoding: TextEncoding, newline: str | None) -> Iterator[io.TextIOBase]:
    """Decode a stream inside the block; ``newline`` as of ``open``.

    Raises:
        InputError: The encoding is unknown, or the bytes are not written in it.
    """
    try:
        text = io.TextIOWrapper(stream, encoding=encoding.codec, errors=encoding.errors, newline=newline)
    except LookupError as error:
        raise InputError(f"dataset_kwargs: {first_line(error)}; an example of an encoding is utf-8") from error
    try:
        with naming_bytes(name, stream, encoding):
            yield text
    finally:
        text.detach()


@contextmanager
def naming_bytes(name: str, stream: IO[bytes], encoding: TextEncoding) -> Iterator[None]:
    """Convert errors of decoding inside the block into an ``InputError`` that names the row and the byte."""
    try:
        yield
    except UnicodeError as error:
        place = _undecodable(name, stream, encoding) if _rewind(stream) else _not_in(f"{name}: its text", encoding)
        raise InputError(f"its data cannot be read: {place}") from error


def _rewind(stream: IO[bytes]) -> bool:
    try:
        stream.seek(0)
    except (OSError, ValueError):
        return False  # zstd and lz4 are read forwards only.
    return True


def _undecodable(name: str, stream: IO[bytes], encoding: TextEncoding) -> str:
    """Return where the first byte stands that the encoding does not know. The decoder itself tells only its block."""
    decoder = codecs.getincrementaldecoder(encoding.codec)()
    row, offset, hint = 1, 0, "cp1252"
    while chunk := stream.read(_CHUNK):
        if not offset and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            hint = "utf-16"
        pending = len(decoder.getstate()[0])
        try:
            row += decoder.decode(chunk).count("\n")
        except UnicodeDecodeError as error:
            row += error.object[: error.start].count(b"\n")
            byte = f"byte 0x{error.object[error.start]:02x} at position {offset - pending + error.start + 1}"
            return _not_in(f"{name}, row {row}: {byte}", encoding, hint)
        except UnicodeError:
            break
        offset += len(chunk)
    return _not_in(f"{name}, row {row}: its text", encoding, hint)


def _not_in(place: str, encoding: TextEncoding, hint: str = "cp1252") -> str:
    return (
        f"{place} is not {encoding.name}\nhint: name the encoding that the file is written in, for example "
        f"dataset_kwargs: {{encoding: {hint}}}"
    )
