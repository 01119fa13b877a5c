"""Keys of items: 64 bits of a hash each.

A million items against a million have two different ones of the same 64 bits with a chance of about 5 in 10^8.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np

from evalrun_runner.comparing.scored import KeyArray

DIGITS = 16
"""Hexadecimal digits of a key."""


def keys_of_hashes(hashes: Iterable[str]) -> KeyArray:
    """Return the keys of sha256 hashes in hexadecimal digits, by their first 64 bits.

    Raises:
        ValueError: One of them is none.
    """
    return keys_of_digits("".join([one[:DIGITS] for one in hashes]))


def keys_of_digits(digits: str) -> KeyArray:
    """Return the keys of hexadecimal digits, `DIGITS` for each key.

    Raises:
        ValueError: One of them is none.
    """
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


def keys_of_names(names: Iterable[str]) -> KeyArray:
    """Return the keys of texts."""
    digests = b"".join([hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest() for name in names])
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def combined(first: KeyArray, second: KeyArray) -> KeyArray:
    """Return keys of pairs of keys, as FNV-1a mixes words: equal pairs have equal keys, in every process."""
    prime = np.uint64(0x100000001B3)
    with np.errstate(over="ignore"):
        return ((first * prime) ^ second) * prime


def document_hash(doc: Mapping[str, object]) -> str:
    """Return lm-eval's ``doc_hash`` of a document."""
    return text_hash(json.dumps(doc, indent=2, default=str, ensure_ascii=False))


def text_hash(text: str) -> str:
    """Return lm-eval's hash of a text: sha256 in hexadecimal digits."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
