"""Text from models, data sets and suites, made fit to be shown: what is invisible is named, what is long is cut.

Markup is not escaped here: the templates escape all text that they are given.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiner: without them words of Persian and Hindi, and many emoji, fall apart."""
_MARKS_IN_A_ROW = 4
"""Combining marks that any writing system puts on one letter; piled higher, they cover the lines around them."""
_UNUSUAL = re.compile(r"[^\n\t -~]")
_PILE = re.compile(
    r"([\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u0483-\u0489]{4})"
    r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u0483-\u0489]+"
)


def visible(text: str) -> str:
    r"""Name every character that cannot be seen or that changes the place of others.

    Controls, marks of direction, invisible format characters, halves of surrogate pairs and code points without a
    character become ``⟦U+202E⟧``. Line ends and tabs stay; ``\r\n`` and a lone ``\r`` become ``\n``.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _PILE.sub(r"\1", _UNUSUAL.sub(lambda match: _shown(match[0]), lines))


def cut(text: str, most: int) -> tuple[str, int]:
    """Cut a text in its middle.

    Args:
        text: The text.
        most: Characters that may stay, at least 2.

    Returns:
        The text, with ``…`` on a line of its own for what was cut, and the number of characters that were cut.
    """
    if len(text) <= most:
        return text, 0
    head = most // 2
    tail = most - head
    left_out = len(text) - most
    return f"{text[:head]}\n… {left_out:,} characters are cut here …\n{text[-tail:]}", left_out


def shown(text: str, most: int) -> str:
    """Cut a text, then name what is invisible in it: what is cut costs nothing."""
    return visible(cut(text, most)[0])


def one_line(text: str, most: int = 300) -> str:
    """Bring a text onto one line of at most ``most`` characters, invisible ones named."""
    line = " ".join(text[: 4 * most].split())
    return visible(line if len(line) <= most else line[: most - 1] + "…")


def in_markdown(text: str, most: int = 200) -> str:
    """Escape a text for Markdown, in one line: no markup, no links, no mentions, no cell of a table ends in it."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~@&$:.-])", _entity, one_line(text, most))


def _entity(match: re.Match[str]) -> str:
    character = match[1]
    # A dot or colon matters only in links, a plus only where a line begins; written as they are, numbers, times and
    # sentences stay readable in the source.
    return character if character in ".:-()" or (character == "+" and match.start() > 0) else f"&#{ord(character)};"


@cache
def _shown(character: str) -> str:
    if character in _JOINERS:
        return character
    category = unicodedata.category(character)
    if category in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return f"⟦U+{ord(character):04X}⟧"
    return character
