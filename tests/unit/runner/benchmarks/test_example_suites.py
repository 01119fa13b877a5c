"""The bundled suites: their answer keys are recomputed, and lm-eval loads and scores them.

Every item of `everyday_choice` carries a `check`: either `reviewed` (read and judged, the README lists it) or a small
declarative form, a kind and its arguments, that says what makes an option right. The tests work the form out for all
four options: only the key's may be right, and what the form speaks of must stand in the question. Every item of
`word_sums` carries the `expression` that its answer is the value of, made of the numbers of the question.
"""

from __future__ import annotations

import ast
import calendar
import json
import operator
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from lm_eval.tasks import TaskManager

SUITES = Path(__file__).parents[4] / "examples" / "suites"
QUICKSTART = SUITES / "quickstart"
LETTERS = "ABCD"
REVIEWED = "reviewed"


@dataclass(frozen=True)
class Choice:
    """An item of `everyday_choice`, the fields of its JSON line; `answer` is the index of the right option."""

    id: str
    question: str
    choices: list[str]
    answer: int
    category: str
    check: str


@dataclass(frozen=True)
class Sum:
    """An item of `word_sums`, the fields of its JSON line."""

    id: str
    question: str
    expression: str
    answer: int


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (QUICKSTART / name).read_text(encoding="utf-8").splitlines()]


CHOICES = [Choice(**row) for row in _lines("everyday_choice.test.jsonl")]
CHOICE_SHOTS = [Choice(**row) for row in _lines("everyday_choice.dev.jsonl")]
SUMS = [Sum(**row) for row in _lines("word_sums.test.jsonl")]
SUM_SHOTS = [Sum(**row) for row in _lines("word_sums.train.jsonl")]
CHECKED = [item for item in CHOICES + CHOICE_SHOTS if item.check != REVIEWED]


# --- reading numbers, words and quantities -------------------------------------------------------------------------

OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value_of(expression: str) -> Fraction:
    """The exact value of whole numbers joined by + - * / and brackets; anything else is refused."""

    def walk(node: ast.expr) -> Fraction:
        match node:
            case ast.Constant(value=int(number)):
                return Fraction(number)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -walk(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](walk(left), walk(right))
            case _:
                raise ValueError(f"{expression!r}: only whole numbers and + - * / are allowed")

    return walk(ast.parse(expression, mode="eval").body)


def number(option: str) -> Fraction:
    """The number an option begins with: '13th', '2 euros', '50%', '3/4', '1.5', '-5 degrees'."""
    found = re.match(r"(-?\d+(?:[./]\d+)?)(%?)", option)
    assert found, f"{option!r} does not begin with a number"
    return Fraction(found[1]) / (100 if found[2] else 1)


# A unit in its dimension's smallest one. Sources: SI prefixes; the 60-minute hour, the 24-hour day, the 7-day week.
UNITS = {
    "second": 1, "minute": 60, "hour": 3600, "day": 24 * 3600, "week": 7 * 24 * 3600,
    "millimetre": 1, "centimetre": 10, "metre": 1000, "kilometre": 1_000_000,
    "gram": 1, "kilogram": 1000, "millilitre": 1, "litre": 1000,
}  # fmt: skip


def quantity(option: str) -> Fraction:
    """'90 minutes' in seconds, '2 metres' in millimetres, '3 kilograms' in grams."""
    return number(option) * UNITS[option.split()[1].removesuffix("s")]


MONTHS = list(calendar.month_name)[1:]
WEEKDAYS = list(calendar.day_name)
SEASONS = ["Spring", "Summer", "Autumn", "Winter"]
ALPHABET = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
COMPASS = ["north", "east", "south", "west"]
SIDES = {"circle": 0, "triangle": 3, "square": 4, "rectangle": 4, "pentagon": 5, "hexagon": 6, "octagon": 8}
ROMAN = {"I": 1, "V": 5, "X": 10}
A_COMMON_YEAR, A_LEAP_YEAR = 2023, 2024


def days_in(month: str, year: int = A_COMMON_YEAR) -> int:
    return calendar.monthrange(year, MONTHS.index(month) + 1)[1]


def step(cycle: Sequence[str], start: str, by: str) -> str:
    """The member of a cycle that stands `by` (an expression) places after `start`."""
    return cycle[(cycle.index(start) + int(value_of(by))) % len(cycle)]


def minutes(clock: str) -> int:
    hours, rest = clock.split(":")
    return int(hours) * 60 + int(rest)


def continued(terms: list[int]) -> Fraction:
    """The next term of a sequence with a constant difference or a constant ratio."""
    differences = {b - a for a, b in pairwise(terms)}
    ratios = {Fraction(b, a) for a, b in pairwise(terms)}
    assert (len(differences) == 1) != (len(ratios) == 1), f"{terms} has no single rule"
    return Fraction(terms[-1] + differences.pop()) if len(differences) == 1 else terms[-1] * ratios.pop()


def roman(numeral: str) -> int:
    values = [ROMAN[letter] for letter in numeral]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def ranking(pairs: Sequence[str]) -> list[str]:
    """The one order, greatest first, in which every 'a>b' holds; refused if the pairs leave a choice."""
    above = {tuple(pair.split(">")) for pair in pairs}
    names = {name for pair in above for name in pair}
    order: list[str] = []
    while names:
        free = [n for n in names if not any(low == n and high in names for high, low in above)]
        assert len(free) == 1, f"{pairs} do not settle the order of {free}"
        order += free
        names -= set(free)
    return order


# --- the kinds of check --------------------------------------------------------------------------------------------

Test = Callable[[str], bool]
Kind = Callable[[list[str], list[str]], Test]  # (arguments, all options) -> whether an option is right


def _plain(option: str) -> str:
    """'The red box' -> 'red', 'Star' -> 'star'."""
    return re.sub(r"^the | box$", "", option.lower())


def _is(expected: Callable[[list[str]], str]) -> Kind:
    """The option names what the arguments lead to."""
    return lambda args, _: lambda option: _plain(option) == expected(args).lower()


def _equals(expected: Callable[[list[str]], Fraction | int]) -> Kind:
    """The option is the number that the arguments lead to."""
    return lambda args, _: lambda option: number(option) == expected(args)


def _holds(predicate: Callable[..., bool]) -> Kind:
    """The predicate is true of the option (lower case) and the arguments."""
    return lambda args, _: lambda option: predicate(option.lower(), *args)


def _top(key: Callable[[str], Any], best: Callable[..., Any] = max) -> Kind:
    """The option has the greatest (or least) key of all."""
    return lambda _, options: lambda option: key(option) == best(key(other) for other in options)


def _vowels(word: str) -> int:
    return sum(letter in "aeiou" for letter in word)


def _date(option: str) -> tuple[int, int]:
    day, month = option.split()
    return MONTHS.index(month), int(day)


KINDS: dict[str, Kind] = {
    # numbers
    "equals": _equals(lambda a: value_of(a[0])),
    "most": _top(number),
    "least": _top(number, min),
    "multiple_of": _holds(lambda o, n: number(o) % int(n) == 0),
    "prime": _holds(lambda o: int(o) > 1 and all(int(o) % d for d in range(2, int(o)))),
    "rounded": _equals(lambda a: round(Fraction(int(a[0]), int(a[1]))) * int(a[1])),
    "next": _equals(lambda a: continued([int(term) for term in a])),
    "roman": _holds(lambda o, n: roman(o.upper()) == int(n)),
    # quantities
    "convert": _equals(lambda a: quantity(f"1 {a[1]}") * value_of(a[0]) / quantity(f"1 {a[2]}")),
    "most_quantity": _top(quantity),
    "least_quantity": _top(quantity, min),
    # the clock and the calendar
    "clock": _is(lambda a: "{:02}:{:02}".format(*divmod((minutes(a[0]) + int(a[1])) % (24 * 60), 60))),
    "minutes_between": _equals(lambda a: minutes(a[1]) - minutes(a[0])),
    "days_in": _equals(lambda a: days_in(a[0], A_LEAP_YEAR if "leap" in a else A_COMMON_YEAR)),
    "has_days": _holds(lambda o, n: days_in(o.title()) == int(n)),
    "leap_year": _holds(lambda o: calendar.isleap(int(o))),
    "weekday": _is(lambda a: step(WEEKDAYS, a[0], a[1])),
    "month": _is(lambda a: step(MONTHS, a[0], a[1])),
    "month_number": _is(lambda a: MONTHS[int(a[0]) - 1]),
    "earliest_date": _top(_date, min),
    "season": _is(lambda a: step(SEASONS, a[0].title(), a[1])),
    # words and letters
    "alphabet_first": _top(str.lower, min),
    "alphabet_last": _top(str.lower),
    "vowels": _holds(lambda o, n: _vowels(o) == int(n)),
    "letters": _holds(lambda o, n: len(o) == int(n)),
    "most_letters": _top(len),
    "palindrome": _holds(lambda o: o == o[::-1]),
    "reversed": _is(lambda a: a[0][::-1]),
    "anagram": _holds(lambda o, word: sorted(o) == sorted(word) and o != word),
    "letter": _is(lambda a: step(ALPHABET, a[0], a[1])),
    "double_letter": _holds(lambda o: any(a == b for a, b in pairwise(o))),
    "begins_with_vowel": _holds(lambda o: _vowels(o[0]) == 1),
    "ends_with": _holds(lambda o, end: o.endswith(end)),
    "letter_count": _equals(lambda a: a[1].count(a[0])),
    "middle_letter": _is(lambda a: a[0][len(a[0]) // 2]),
    # shapes
    "sides_of": _equals(lambda a: SIDES[a[0]]),
    "has_sides": _holds(lambda o, n: SIDES[o] == int(n)),
    "most_sides": _top(lambda o: SIDES[o.lower()]),
    # order and place
    "top_of": _is(lambda a: ranking(a)[0]),
    "bottom_of": _is(lambda a: ranking(a)[-1]),
    "follows": _is(lambda a: a[1].split(",")[a[1].split(",").index(a[0]) + 1]),
    "nth": _is(lambda a: a[1].split(",")[int(a[0]) - 1]),
    "turn": _is(lambda a: step(COMPASS, a[0], {"right": "1", "left": "-1"}[a[1]])),
    "most_common": _is(lambda a: max((int(n), name) for n, name in (part.split("*") for part in a))[1]),
}


# --- what a question says in words ---------------------------------------------------------------------------------

SPELT = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBER_WORDS = {word: n for n, word in enumerate(SPELT, start=2)}
# Words that bring a number into a calculation without naming it.
IMPLIED = {
    "half": {1, 2}, "twice": {2}, "even": {2}, "dozen": {12}, "%": {100}, "week": {7}, "rectangular": {2},
    "third": {3}, "seventh": {7}, "after": {1}, "before": {1}, "yesterday": {1}, "tomorrow": {1}, "one": {1},
}  # fmt: skip


def stated_numbers(question: str) -> Counter[int]:
    """The numbers a question names, in digits or as words from two to twelve."""
    spelt = [NUMBER_WORDS[word] for word in re.findall(r"[a-z]+", question.lower()) if word in NUMBER_WORDS]
    return Counter([*map(int, re.findall(r"\d+", question)), *spelt])


def implied_numbers(question: str) -> set[int]:
    """The numbers that words such as 'half' and 'dozen' stand for."""
    return {n for word in re.findall(r"[a-z]+|%", question.lower()) for n in IMPLIED.get(word, ())}


# --- everyday_choice -----------------------------------------------------------------------------------------------


def test_there_are_two_hundred_items_and_a_few_examples() -> None:
    assert (len(CHOICES), len(CHOICE_SHOTS), len(SUMS), len(SUM_SHOTS)) == (120, 4, 80, 8)
    assert [item.id for item in CHOICES] == [f"everyday-{n:03}" for n in range(1, 121)]
    assert [item.id for item in SUMS] == [f"sums-{n:03}" for n in range(1, 81)]


def test_no_question_is_asked_twice() -> None:
    for items in (CHOICES + CHOICE_SHOTS, SUMS + SUM_SHOTS):
        asked = Counter(re.sub(r"\W+", " ", item.question.lower()).strip() for item in items)
        assert [question for question, times in asked.items() if times > 1] == []


@pytest.mark.parametrize("item", CHOICES + CHOICE_SHOTS, ids=lambda item: item.id)
def test_a_choice_has_four_different_options_and_a_key(item: Choice) -> None:
    assert len({option.casefold().strip(" .") for option in item.choices}) == len(item.choices) == len(LETTERS)
    assert item.answer in range(len(LETTERS))
    assert all(text and text == text.strip() for text in (item.question, item.category, item.check, *item.choices))
    assert item.question.endswith(("?", "..."))


def test_every_letter_is_right_equally_often() -> None:
    assert Counter(item.answer for item in CHOICES) == {0: 30, 1: 30, 2: 30, 3: 30}
    assert {item.answer for item in CHOICE_SHOTS} == {0, 1, 2, 3}


@pytest.mark.parametrize("item", CHECKED, ids=lambda item: item.id)
def test_exactly_the_key_passes_the_check(item: Choice) -> None:
    kind, *args = item.check.split()
    is_right = KINDS[kind](args, item.choices)
    assert [option for option in item.choices if is_right(option)] == [item.choices[item.answer]]


@pytest.mark.parametrize("item", CHECKED, ids=lambda item: item.id)
def test_a_check_refers_to_words_of_its_question(item: Choice) -> None:
    args = " ".join(item.check.split()[1:])
    in_check = {int(n) for n in re.findall(r"\d+", args)}
    assert in_check <= set(stated_numbers(item.question)) | implied_numbers(item.question)
    spoken = re.findall(r"[a-z]+", item.question.lower())
    assert [word for word in re.findall(r"[a-z]+", args.lower()) if word not in spoken] == []


def test_most_keys_are_recomputed() -> None:
    assert sum(item.check != REVIEWED for item in CHOICES) == 80
    assert {item.check.split()[0] for item in CHECKED} == set(KINDS)


def test_the_readme_lists_the_items_that_were_only_reviewed() -> None:
    listed = re.findall(r"^\| (.+?) \| (.+?) \|$", (SUITES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    by_reader = [item for item in CHOICES + CHOICE_SHOTS if item.check == REVIEWED]
    assert {tuple(row) for row in listed} >= {(item.question, item.choices[item.answer]) for item in by_reader}
    assert sum(question.endswith(("?", "...")) for question, _ in listed) == len(by_reader)


# --- word_sums -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", SUMS + SUM_SHOTS, ids=lambda item: item.id)
def test_a_sum_is_the_value_of_its_expression(item: Sum) -> None:
    assert value_of(item.expression) == item.answer > 0


@pytest.mark.parametrize("item", SUMS + SUM_SHOTS, ids=lambda item: item.id)
def test_a_sum_uses_the_numbers_in_its_question(item: Sum) -> None:
    stated, used = stated_numbers(item.question), Counter(int(n) for n in re.findall(r"\d+", item.expression))
    assert stated <= used, "a number of the question is not in the expression"
    known = set(stated) | implied_numbers(item.question)
    assert set(used) <= known, "a number of the expression is not in the question"


def test_only_whole_numbers_and_four_operations_are_evaluated() -> None:
    for foreign in ("2 ** 8", "abs(3)", "1.5 + 1", "x + 1"):
        with pytest.raises(ValueError, match="only whole numbers"):
            value_of(foreign)


# --- in lm-eval ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both tasks as lm-eval loads them by their tag, from the folder of the suite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(QUICKSTART)  # lm-eval resolves data_files against the working directory
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        manager = TaskManager(include_defaults=False, include_path=str(QUICKSTART))
        loaded: dict[str, Any] = manager.load(["evalrun_quickstart"])["tasks"]
        for task in loaded.values():
            task.build_all_requests(limit=None, rank=0, world_size=1)
        return loaded


def _score_of_texts(task: Any, respond: Callable[[dict[str, Any]], str], filter_name: str) -> list[float]:
    for request in task.instances:
        request.resps = [respond(request.doc)]
    task.apply_filters()
    return [
        float(task.process_results(request.doc, [request.filtered_resps[filter_name]])["exact_match"])
        for request in task.instances
    ]


def test_the_suites_contain_no_code() -> None:
    for path in QUICKSTART.glob("*.yaml"):
        yaml.safe_load(path.read_text(encoding="utf-8"))  # refuses !function and every other tag
    assert {path.suffix for path in QUICKSTART.rglob("*") if path.is_file()} == {".yaml", ".jsonl"}


def test_lm_eval_loads_both_tasks(tasks: dict[str, Any]) -> None:
    assert {name: len(task.eval_docs) for name, task in tasks.items()} == {"everyday_choice": 120, "word_sums": 80}
    assert {name: len(task.instances) for name, task in tasks.items()} == {"everyday_choice": 480, "word_sums": 80}


def test_a_choice_prompt_shows_examples_then_the_question(tasks: dict[str, Any]) -> None:
    first = tasks["everyday_choice"].instances[0]
    context, continuation = first.args
    options = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, CHOICES[0].choices, strict=True))
    assert context.startswith("The following are multiple choice questions")
    assert context.endswith(f"\n\n{CHOICES[0].question}{options}\nAnswer:")
    assert re.findall(r"Answer: ([ABCD])\n\n", context) == [LETTERS[shot.answer] for shot in CHOICE_SHOTS]
    assert continuation == " A"


def test_the_key_scores_one_and_every_other_letter_zero(tasks: dict[str, Any]) -> None:
    task = tasks["everyday_choice"]
    for doc in task.eval_docs:
        for letter in range(len(LETTERS)):
            answers = [(0.0 if choice == letter else -9.0, choice == letter) for choice in range(len(LETTERS))]
            assert task.process_results(doc, answers)["acc"] == (letter == doc["answer"])


def test_a_sum_prompt_shows_worked_examples_then_the_question(tasks: dict[str, Any]) -> None:
    context, settings = tasks["word_sums"].instances[0].args
    assert f"Question: {SUM_SHOTS[0].question}\nAnswer: 8 + 5 = 13. The answer is 13.\n\n" in context
    assert context.count("The answer is ") == 3  # as many as examples
    assert context.endswith(f"Question: {SUMS[0].question}\nAnswer:")
    assert settings["max_gen_toks"] == 64
    assert (settings["do_sample"], settings["temperature"]) == (False, 0.0)


@pytest.mark.parametrize(
    ("response", "strict", "flexible"),
    [
        (" {expression} = {answer}. The answer is {answer}.", 1, 1),
        (" The answer is {answer}.0", 1, 1),
        (" That makes {expression}, so ${answer}", 0, 1),
        (" 1 and 2 make {answer}.\n", 0, 1),
        (" {expression} = {answer}. The answer is {wrong}.", 0, 0),
        (" The answer is -{answer}.", 0, 0),
        (" I do not know.", 0, 0),
        ("", 0, 0),
    ],
)
def test_a_response_scores_as_each_filter_reads_it(
    tasks: dict[str, Any], response: str, strict: int, flexible: int
) -> None:
    def respond(doc: dict[str, Any]) -> str:
        return response.format(**doc, wrong=doc["answer"] + 1)

    assert set(_score_of_texts(tasks["word_sums"], respond, "strict-match")) == {strict}
    assert set(_score_of_texts(tasks["word_sums"], respond, "flexible-extract")) == {flexible}


def test_a_thousands_separator_does_not_matter(tasks: dict[str, Any]) -> None:
    def respond(doc: dict[str, Any]) -> str:
        return f" The answer is {doc['answer']:,} in all."

    assert set(_score_of_texts(tasks["word_sums"], respond, "strict-match")) == {1.0}
    assert any(item.answer >= 1000 for item in SUMS)  # the smallest number with a separator
