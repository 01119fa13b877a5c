"""The command ``evalrun power``: how many items, before a run is begun."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from evalrun_api.detectable import least_items, least_items_for_bound, least_items_to_pass
from evalrun_runner.comparing.sample_sizes import (
    ChangedShare,
    chance_to_pass,
    detectable_difference,
    items_for_difference,
    usual_changed_share,
)
from evalrun_runner.comparing.words import percentage_points
from evalrun_runner.errors import InputError, counted
from evalrun_runner.statistics.interval import percent
from evalrun_runner.statistics.power import items_to_pass
from evalrun_runner.statistics.proportions import wilson

USUAL_SCORE = 0.8


@dataclass(frozen=True, slots=True)
class PowerOptions:
    """Options of ``evalrun power``."""

    items: int | None
    difference: float | None
    margin: float | None
    minimum: float | None
    score: float | None
    discordant: float | None
    noise: float
    repeats: int
    confidence: float
    chance: float
    json: bool


@dataclass(frozen=True, slots=True)
class PowerAnswer:
    """One thing that the numbers say, for people and for programs."""

    name: str
    value: float | None
    sentence: str


def power(options: PowerOptions) -> int:
    """Print what the numbers say; return the exit code.

    Raises:
        InputError: An option is out of range, or nothing is asked.
    """
    _check(options)
    changed = _changed(options)
    answers = list(_answers(options, changed))
    if options.json:
        document = {
            "answers": {answer.name: answer.value for answer in answers},
            "assumed": {
                "discordant": changed.share,
                "noise": changed.noise,
                "repeats": changed.repeats,
                "confidence": options.confidence,
                "chance": options.chance,
            },
        }
        print(json.dumps(document, indent=2))
        return 0
    for answer in answers:
        print(answer.sentence)
    print(f"\nassumed: {_assumed(options, changed)}")
    return 0


def _answers(options: PowerOptions, changed: ChangedShare) -> Iterator[PowerAnswer]:
    of_ten = f"in {10 * options.chance:g} of 10 comparisons"
    if options.difference is not None:
        needed = items_for_difference(options.difference, changed, options.confidence, options.chance)
        what = f"a difference of {percentage_points(options.difference)} {of_ten}"
        yield PowerAnswer("itemsForDifference", needed, f"It takes {counted(needed)} to find {what}.")
        if changed.noise and changed.repeats == 1:
            least = ChangedShare(changed.share - changed.noise + 1e-12)
            fewest = items_for_difference(options.difference, least, options.confidence, options.chance)
            what = f"Repeats could save some of them: without any noise it would take {fewest:,}."
            yield PowerAnswer("itemsWithoutNoise", fewest, what)
    if options.items is not None:
        found = detectable_difference(options.items, changed, options.confidence, options.chance)
        items = counted(options.items)
        if found is None:
            what = f"With {items} no difference can be found {of_ten}, however great it is."
        else:
            verb = "finds" if options.items == 1 else "find"
            what = f"{items} {verb} a difference of {percentage_points(found)} or more {of_ten}."
        yield PowerAnswer("detectableDifference", found, what)
        score = USUAL_SCORE if options.score is None else options.score
        interval = wilson(score * options.items, options.items, options.confidence)
        low, high = (f"{100 * bound:.1f}%" for bound in (interval.low, interval.high))
        yield PowerAnswer(
            "intervalWidth", interval.width, f"One score of {100 * score:g}% then means: between {low} and {high}."
        )
    if options.margin is not None:
        yield from _of_margin(options, options.margin, changed)
    if options.minimum is not None:
        yield from _of_minimum(options, options.minimum)


def _of_margin(options: PowerOptions, margin: float, changed: ChangedShare) -> Iterator[PowerAnswer]:
    gate = f"A gate that allows a loss of {percentage_points(margin)}"
    least = least_items(margin, options.confidence)
    if least is None:
        yield PowerAnswer("leastItems", None, f"{gate} passes only a candidate that is better: equal ones never do.")
        return
    if options.items is not None and options.items < least:
        yield PowerAnswer(
            "leastItems",
            least,
            f"{gate} can never pass with {counted(options.items)}: it takes {least:,}, even if no item changes.",
        )
    else:
        yield PowerAnswer("leastItems", least, f"{gate} takes {counted(least)} or more, even if no item changes.")
        if options.items is not None:
            passes = chance_to_pass(options.items, margin, changed, options.confidence)
            yield PowerAnswer(
                "chanceToPass", passes, f"An equally good candidate then passes it in {100 * passes:.0f} of 100 runs."
            )
    unchanged = least_items_to_pass(margin, options.confidence) or least
    if unchanged > least:
        what = (
            f"If no item changes at all, it passes from {unchanged:,} items on: beside that bound it has an exact one."
        )
        yield PowerAnswer("itemsIfUnchanged", unchanged, what)
    needed = items_to_pass(margin, changed.effective, confidence=options.confidence, power=options.chance) or unchanged
    yield PowerAnswer(
        "itemsToPass",
        needed,
        f"It takes {needed:,} items for an equally good candidate to pass it in {10 * options.chance:g} of 10 runs.",
    )


def _of_minimum(options: PowerOptions, minimum: float) -> Iterator[PowerAnswer]:
    least = least_items_for_bound(minimum, options.confidence)
    gate = f"A gate with min: {minimum:g}"
    if least is None:
        yield PowerAnswer("leastItemsForMinimum", None, f"{gate} can never pass, with any number of items.")
    elif options.items is not None and options.items < least:
        what = f"{gate} can never pass with {counted(options.items)}: it takes {least:,}, all of them right."
        yield PowerAnswer("leastItemsForMinimum", least, what)
    else:
        what = f"{gate} takes {counted(least)} or more, and exactly so many if all are right."
        yield PowerAnswer("leastItemsForMinimum", least, what)


def _changed(options: PowerOptions) -> ChangedShare:
    score = USUAL_SCORE if options.score is None else options.score
    share = usual_changed_share(score) if options.discordant is None else options.discordant
    if options.noise > share:
        raise InputError(
            f"--noise {options.noise:g}: more items flip between runs of one model than change between two "
            f"({share:.3g})\nhint: give --discordant as well"
        )
    return ChangedShare(share, options.noise, options.repeats)


def _assumed(options: PowerOptions, changed: ChangedShare) -> str:
    if options.discordant is None:
        score = USUAL_SCORE if options.score is None else options.score
        why = f"{100 * changed.share:.1f}% of items change between two models near {100 * score:g}%, as is usual"
    else:
        why = f"{100 * changed.share:.1f}% of items change between the two models"
    repeats = f"; {changed.repeats} answers of each item, {100 * changed.noise:.1f}% noise" if changed.noise else ""
    return f"{why}{repeats}; {percent(options.confidence, 6)} confidence. --discordant says otherwise"


def _check(options: PowerOptions) -> None:
    if all(one is None for one in (options.items, options.difference, options.margin, options.minimum)):
        raise InputError("nothing is asked: give --items, --difference, --margin or --min")
    if options.items is not None and options.items < 1:
        raise InputError(f"--items {options.items}: expected 1 or more")
    if options.repeats < 1:
        raise InputError(f"--repeats {options.repeats}: expected 1 or more")
    if options.repeats > 1 and not options.noise:
        raise InputError(
            f"--repeats {options.repeats}: repeats only remove noise, so --noise is needed\n"
            "hint: `evalrun compare A A2` of one model run twice prints the share of flipped items"
        )
    for name, value, low, high in (
        ("--difference", options.difference, 0.0, 1.0),
        ("--score", options.score, 0.0, 1.0),
        ("--discordant", options.discordant, 0.0, 1.0),
        ("--chance", options.chance, 0.0, 1.0),
    ):
        if value is not None and not low < value < high:
            raise InputError(f"{name} {value:g}: expected a number above {low:g} and below {high:g}, such as 0.02")
    for name, value in (("--margin", options.margin), ("--noise", options.noise), ("--min", options.minimum)):
        if value is not None and not 0 <= value <= 1:
            raise InputError(f"{name} {value:g}: expected a number from 0 to 1, such as 0.02 for two points")
    if not 0.5 <= options.confidence < 1:
        raise InputError(f"--confidence {options.confidence:g}: expected a number from 0.5 to below 1, such as 0.95")
