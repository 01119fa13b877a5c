"""Measurements. Every function returns sections of the document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import (
    bootstrap_speed,
    code_speed,
    command_line,
    comparison,
    dispatch_bench,
    driver_scrape,
    operator_scale,
    operator_scrape,
    startup,
)
from bench.child import Child
from bench.pairs import Goal, Spread, in_rounds, percentile
from bench.reference_side import AsyncSide, ReferenceSide
from bench.report import Row, Section
from bench.runner_side import DIRECTORY, MEMORY, RunnerSide, SharedSide
from bench.sides import Run, data_type
from bench.toy import ToyMaker
from bench.workloads import CHOICE, GENERATE, Workload, write
from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.machine import has_gpu

SEED = 1234
MAX_MODEL_LEN = 2048
CACHE_BYTES = 1 << 30
REAL_SEQS = 16
"""Sequences that the engine of the real model batches at once."""
PROBE_ITEMS = 8


@dataclass(frozen=True, slots=True)
class Size:
    """Size of the measurements."""

    launches: int
    """Number of times that the sides are loaded, because the speed of processes differs by a few percent."""
    rounds: int
    """Number of rounds in each launch, except for multiple choice, which has one."""
    toy_rounds: int
    real_seconds: float
    """Seconds that ``LLM.generate`` takes for the items of a run on the real model, about."""
    real_choices: int
    """Number of multiple-choice items of a run on the real model."""
    toy_items: Mapping[str, int]
    generated: int
    """Maximum number of tokens of an answer."""
    driver_chunks: int
    dispatch_replicas: Sequence[int]
    scraped_windows: int
    """Number of pairs of windows, one with scrapes and one without."""
    operator_runs: int
    """Number of unfinished runs of an operator."""
    compared_items: int
    """Number of items of each of two runs that are compared."""


FULL = Size(3, 2, 2, 62.0, 6, {GENERATE: 512}, 64, 200_000, (8, 32, 128), 24, 5000, 1_000_000)
QUICK = Size(1, 1, 2, 1.0, 2, {GENERATE: 64}, 16, 5_000, (8,), 2, 200, 10_000)


@dataclass(frozen=True)
class Bench:
    """Run of the bench: the model, a scratch folder, the size, and a function to report progress."""

    model: Path
    scratch: Path
    size: Size
    say: Callable[[str], None]
    shared: dict[str, Path] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)

    def settings(self, model: Path, max_num_seqs: int) -> VllmSettings:
        """Return the engine's settings, equal for all sides."""
        args: dict[str, Any] = {"max_num_seqs": max_num_seqs, **data_type()}
        if not has_gpu():
            args["kv_cache_memory_bytes"] = CACHE_BYTES
        return VllmSettings(model=model, seed=SEED, max_model_len=MAX_MODEL_LEN, args=args)

    def toy(self) -> Path:
        """Return the toy model, which the first call makes."""
        if "toy" not in self.shared:
            self.shared["toy"] = self.scratch / "toy-model"
            Child(ToyMaker, self.model, self.shared["toy"], log=self.scratch / "toy.log").close()
        return self.shared["toy"]

    def real_items(self) -> Mapping[str, int]:
        """Return the items of a run on the real model, so many that ``LLM.generate`` takes ``size.real_seconds``.

        The first call measures the speed of this machine with a tenth of that time.
        """
        if GENERATE not in self.counted:
            count, seconds, settings = PROBE_ITEMS, 0.0, self.settings(self.model, REAL_SEQS)
            with self.sides("speed", (ReferenceSide, (settings,))) as (side,):
                while seconds < self.size.real_seconds / 10:
                    count *= 2
                    work = write(self.scratch / f"speed{count}", {GENERATE: count}, generated=self.size.generated)
                    side.call("raw", work[f"warm-{GENERATE}"])
                    seconds = side.call("raw", work[GENERATE]).engine
            self.counted[GENERATE] = max(PROBE_ITEMS, round(count * self.size.real_seconds / seconds))
            self.say(f"speed: {count} items take {seconds:.1f} s, so that a run has {self.counted[GENERATE]}")
        return {GENERATE: self.counted[GENERATE], CHOICE: self.size.real_choices}

    @contextmanager
    def sides(self, name: str, *made: tuple[Callable[..., Any], tuple[Any, ...]]) -> Iterator[list[Child]]:
        """Start children one after another, so that none loads while another one runs."""
        with ExitStack() as stack:
            children = []
            for make, arguments in made:
                log = self.scratch / f"{name}-{make.__name__}.log"
                children.append(stack.enter_context(Child(make, *arguments, log=log)))
                self.say(f"{name}: {make.__name__} is loaded")
            yield children

    def rounds(self, name: str, sides: Mapping[str, Callable[[], Run]], count: int) -> dict[str, list[Run]]:
        """Run the sides in alternating order, and report each run as it ends."""

        def reported(side: str, run: Callable[[], Run]) -> Callable[[], Run]:
            def timed() -> Run:
                done = run()
                self.say(f"{name}: {side}: {done.whole:.2f} s, {done.output_tokens} tokens generated")
                return done

            return timed

        return in_rounds({side: reported(side, run) for side, run in sides.items()}, count)


class Runs:
    """Measurements of several launches, by side, in the order of the rounds."""

    def __init__(self) -> None:
        self.taken: dict[str, list[Any]] = {}

    def add(self, taken: Mapping[str, Sequence[Any]]) -> None:
        """Append the measurements of a launch."""
        for side, listed in taken.items():
            self.taken.setdefault(side, []).extend(listed)


def real_model(bench: Bench) -> list[Section]:
    """Measure runner, ``LLM.generate`` and lm-eval's back end on the real model."""
    work = write(bench.scratch / "real", bench.real_items(), generated=bench.size.generated)
    settings = bench.settings(bench.model, REAL_SEQS)
    loads = {}
    for name, make, more in (("runner", RunnerSide, (work, bench.scratch / "load")), ("lm-eval", ReferenceSide, ())):
        with bench.sides("loading", (make, (settings, *more))) as (side,):
            loads[name] = side.call("load_seconds")
    generate, choice = Runs(), Runs()
    prompt_tokens = 0.0
    for launch in range(bench.size.launches):
        made = SharedSide, (settings, work, bench.scratch / f"real-runs{launch}")
        with bench.sides("real model", made) as (side,):
            for kind in (GENERATE, CHOICE):
                side.call("run", work[f"warm-{kind}"], DIRECTORY)
                side.call("lm_eval", work[f"warm-{kind}"])
            sides = {
                "LLM.generate": partial(side.call, "raw", work[GENERATE]),
                "runner": partial(side.call, "run", work[GENERATE], DIRECTORY),
                "lm-eval": partial(side.call, "lm_eval", work[GENERATE]),
            }
            generate.add(bench.rounds("generate", sides, bench.size.rounds))
            sides = {
                "runner": partial(side.call, "run", work[CHOICE], DIRECTORY),
                "lm-eval": partial(side.call, "lm_eval", work[CHOICE]),
            }
            choice.add(bench.rounds("multiple choice", sides, 1))
            prompt_tokens = side.call("prompt_tokens", work[CHOICE])
    return [
        _against_raw("Runner ÷ LLM.generate, real model", generate.taken, work[GENERATE]),
        _against_lm_eval(generate.taken, choice.taken, work, loads, prompt_tokens),
        _commits(generate.taken["runner"]),
    ]


def toy_model(bench: Bench) -> list[Section]:
    """Measure runner, ``LLM.generate`` and the cost of persistence with the fastest possible engine."""
    work = write(bench.scratch / "toy", bench.size.toy_items, generated=bench.size.generated)
    settings = bench.settings(bench.toy(), 64)
    runs = Runs()
    for launch in range(bench.size.launches):
        made = SharedSide, (settings, work, bench.scratch / f"toy-runs{launch}")
        with bench.sides("toy model", made) as (side,):
            side.call("run", work[f"warm-{GENERATE}"], DIRECTORY)
            side.call("raw", work[f"warm-{GENERATE}"])
            sides = {
                "LLM.generate": partial(side.call, "raw", work[GENERATE]),
                "runner": partial(side.call, "run", work[GENERATE], DIRECTORY),
                "runner, nothing kept": partial(side.call, "run", work[GENERATE], MEMORY),
            }
            runs.add(bench.rounds("toy", sides, bench.size.toy_rounds))
    return [
        _against_raw("Runner ÷ LLM.generate, toy model", runs.taken, work[GENERATE]),
        _persistence(runs.taken),
    ]


def entry_points(bench: Bench) -> list[Section]:
    """Measure ``AsyncLLM`` ÷ ``LLM``, which decides the engine that a replica should use."""
    rows, beside = [], {}
    for name, model, seqs in (("toy model", bench.toy(), 64), ("real model", bench.model, REAL_SEQS)):
        items = {GENERATE: (bench.size.toy_items if model != bench.model else bench.real_items())[GENERATE] // 2}
        folder = bench.scratch / f"entry-{name.split()[0]}"
        work = write(folder, items, generated=bench.size.generated)
        settings = bench.settings(model, seqs)
        with bench.sides(name, (AsyncSide, (settings,)), (ReferenceSide, (settings,))) as (asynchronous, reference):
            for side in (asynchronous, reference):
                side.call("raw", work[f"warm-{GENERATE}"])
            runs = bench.rounds(
                f"entry points, {name}",
                {
                    "AsyncLLM": partial(asynchronous.call, "raw", work[GENERATE]),
                    "LLM": partial(reference.call, "raw", work[GENERATE]),
                },
                bench.size.rounds,
            )
            loads = asynchronous.call("load_seconds"), reference.call("load_seconds")
        ratio = Spread.of_ratios(_rates(runs["AsyncLLM"]), _rates(runs["LLM"]))
        rows.append(Row(f"generated tokens/s, AsyncLLM ÷ LLM, {name}", ratio))
        beside[f"load, {name}: AsyncLLM"] = f"{loads[0]:.1f} s, LLM {loads[1]:.1f} s"
    how = (
        "All prompts at once, tokenized before the clock starts; `AsyncLLM` runs the engine core in a process of its "
        "own, `LLM` (an `LLMEngine`) here in the caller's."
    )
    return [Section("AsyncLLM ÷ LLM", how, rows, beside)]


def dispatch(bench: Bench) -> list[Section]:
    """Measure the dispatcher with simulated engines, and the driver at ten million items."""
    rows = []
    goals = {8: Goal(at_least=0.97), 32: Goal(at_least=0.95), 128: Goal(at_least=0.90)}
    for replicas in bench.size.dispatch_replicas:
        even = dispatch_bench.efficiencies(replicas)
        slow = dispatch_bench.efficiencies(replicas, slow=0.7)
        seeds = dispatch_bench.SEEDS[replicas]
        bench.say(f"dispatch: {replicas} replicas: {even['median']:.3f} of ideal")
        spread = Spread(even["min"], even["median"], even["max"], seeds)
        makespans = Spread(1 / slow["max"], slow["median_makespan_over_ideal"], 1 / slow["min"], seeds)
        rows.append(Row(f"ideal ÷ makespan, {replicas} replicas", spread, goals[replicas]))
        rows.append(Row(f"makespan ÷ ideal, {replicas} replicas, one 30% slow", makespans, Goal(at_most=1.05)))
    assert dispatch_bench.__doc__ is not None
    story = dispatch_bench.__doc__.split("\n\n")
    simulated = Section("Dispatch with simulated engines", "\n\n".join(story[2:4]), rows)
    return [simulated, _driver(bench, story[-1])]


def _driver(bench: Bench, how: str) -> Section:
    found = []
    for number in range(3):
        # Use a fresh process each time, because memory that was used before does not grow again.
        with Child(import_module, "bench.dispatch_bench", log=bench.scratch / f"driver{number}.log") as fresh:
            found.append(fresh.call("driver", bench.size.driver_chunks))
    bench.say(f"driver: {found[0]['items_per_s']:,.0f} items/s")

    def spread(key: str) -> Spread:
        return Spread.of(one[key] for one in found)

    rows = [
        Row("items dispatched", spread("items_per_s"), Goal(at_least=10_000), "/s"),
        Row("longest decision", spread("slowest_decision_ms"), unit="ms"),
        Row("memory for the plan", spread("plan_bytes_per_chunk"), unit="bytes a chunk"),
        Row("growth of the process at its peak", spread("peak_growth_mb"), unit="MB"),
    ]
    return Section(f"The driver at {found[0]['items']:,.0f} items", how, rows)


def driver_scrapes(bench: Bench) -> list[Section]:
    """Measure what scraping takes from a run, and what one scrape costs its driver."""
    return driver_scrape.measure(bench.scratch, bench.size.scraped_windows, bench.say)


def operator_scrapes(bench: Bench) -> list[Section]:
    """Measure the cost of scraping an operator that has seen many runs."""
    return [operator_scrape.measure(bench.scratch, bench.size.launches, bench.say)]


def bootstraps(bench: Bench) -> list[Section]:
    """Compare the BCa intervals with scipy's bootstrap."""
    return [bootstrap_speed.section(resamples=2_000 if bench.size is QUICK else 100_000, say=bench.say)]


def code(bench: Bench) -> list[Section]:
    """Measure programs a second in the sandbox."""
    return code_speed.measure(20 if bench.size is QUICK else 200, bench.size.toy_rounds + 1)


def operator_scales(bench: Bench) -> list[Section]:
    """Measure an operator with very many runs."""
    return [operator_scale.measure(bench.scratch, bench.size.operator_runs, 1, bench.say)]


def comparisons(bench: Bench) -> list[Section]:
    """Measure comparisons of two large runs."""
    return [comparison.measure(bench.size.compared_items, bench.scratch / "comparison", bench.say)]


def command_lines(bench: Bench) -> list[Section]:
    """Measure what a person waits for at a prompt."""
    return [command_line.measure(bench.say)]


def _rates(runs: Sequence[Run]) -> list[float]:
    return [run.output_rate for run in runs]


def _against_raw(title: str, runs: Mapping[str, Sequence[Run]], work: Workload) -> Section:
    runner, raw = runs["runner"], runs["LLM.generate"]
    ratio = Spread.of_ratios(_rates(runner), _rates(raw))
    how = (
        f"{work.items} items of a generative task. The runner is one replica without Ray: leases from the dispatcher, "
        "manifest and parts in a directory, tokenizing, scoring in its own process and commits included; its time runs "
        "from the first lease to the last commit. `LLM.generate` gets all prompts at once, already tokenized. Both use "
        "the same loaded engine in the same thread of the same process; its prefix cache is emptied before each run."
    )
    beside = {
        "runner": f"{Spread.of(_rates(runner)).median:,.0f} generated tokens/s",
        "LLM.generate": f"{Spread.of(_rates(raw)).median:,.0f}",
        "a run": f"{Spread.of(run.engine for run in raw).median:.1f} s",
    }
    return Section(title, how, [Row("generated tokens/s", ratio, Goal(at_least=0.99))], beside)


def _against_lm_eval(
    generate: Mapping[str, Sequence[Run]],
    choice: Mapping[str, Sequence[Run]],
    work: Mapping[str, Workload],
    loads: Mapping[str, float],
    prompt_tokens: float,
) -> Section:
    def wholes(runs: Sequence[Run]) -> list[float]:
        return [run.whole for run in runs]

    how = (
        "`lm_eval.simple_evaluate` with its vLLM back end against the runner, both on the same loaded engine: "
        "from loading the task to the results, for the runner with manifest, parts and verification. "
        f"Generative: {work[GENERATE].items} items. Multiple choice: {work[CHOICE].items} items of four choices, about "
        f"{prompt_tokens:,.0f} prompt tokens each; the runner asks for all choices of an item in one request."
    )
    rows = [
        Row(
            "wall time, generative",
            Spread.of_ratios(wholes(generate["runner"]), wholes(generate["lm-eval"])),
            Goal(at_most=0.9),
        ),
        Row(
            "wall time, multiple choice",
            Spread.of_ratios(wholes(choice["runner"]), wholes(choice["lm-eval"])),
            Goal(at_most=0.1),
        ),
    ]
    beside = {
        "generative": f"{Spread.of(wholes(generate['runner'])).median:.1f} s against "
        f"{Spread.of(wholes(generate['lm-eval'])).median:.1f} s",
        "multiple choice": f"{Spread.of(wholes(choice['runner'])).median:.1f} s against "
        f"{Spread.of(wholes(choice['lm-eval'])).median:.1f} s",
        "loading (not in the ratios)": f"{loads['runner']:.1f} s against {loads['lm-eval']:.1f} s",
        "scores, runner": _scores(generate["runner"], choice["runner"]),
        "scores, lm-eval": _scores(generate["lm-eval"], choice["lm-eval"]),
    }
    return Section("Runner ÷ lm-eval's own vLLM back end", how, rows, beside)


def _scores(*sides: Sequence[Run]) -> str:
    found = []
    for runs in sides:
        for metrics in runs[-1].results.values():
            found += [
                f"{name.replace(',', ' ')} {value:.3f}"
                for name, value in metrics.items()
                if isinstance(value, float) and "stderr" not in name
            ]
    return ", ".join(found)


def _commits(runs: Sequence[Run]) -> Section:
    def spread(values: Sequence[float]) -> Spread:
        return Spread(percentile(values, 0.5), percentile(values, 0.95), max(values), len(values))

    commits = [seconds for run in runs for seconds in run.commit_seconds]
    waits = [seconds for run in runs for seconds in run.waits]
    how = (
        "From the runner's generative runs above; here the columns are p50, p95 and the maximum over all chunks and "
        "items of all rounds. An item waits in its chunk until the chunk's last item has ended."
    )
    rows = [
        Row("from a chunk's last item to its part in the store", spread(commits), Goal(at_most=5.0), "s"),
        Row("from an item's end to its part in the store", spread(waits), unit="s"),
    ]
    return Section("Seconds until an answer is safe", how, rows, header=("p50", "p95", "max"))


def _persistence(runs: Mapping[str, Sequence[Run]]) -> Section:
    kept, dropped = runs["runner"], runs["runner, nothing kept"]
    ratio = Spread.of_ratios([run.whole for run in kept], [run.whole for run in dropped])
    how = (
        "The whole of a run, from loading the task to its results, with manifest, parts and results in a directory "
        "(every object synced to disk) ÷ the same in memory, in one process. The toy model does a chunk in a fraction "
        "of a second, so that the share of a commit is as large there as it gets."
    )
    commits = [seconds for run in kept for seconds in run.commit_seconds]
    beside = {
        "chunks a run": f"{len(kept[0].commit_seconds)}",
        "a run": f"{Spread.of(run.whole for run in kept).median:.1f} s",
        "seconds to commit a chunk, scoring included, p50": f"{percentile(commits, 0.5):.3f}",
    }
    return Section("Cost of persistence, toy model", how, [Row("wall time", ratio, Goal(at_most=1.01))], beside)


def start(bench: Bench) -> list[Section]:
    """Measure the start of a run and a whole process beside lm-eval's."""
    return startup.measure(bench.model, bench.scratch, 2 * bench.size.launches, bench.say)


MEASUREMENTS: Mapping[str, Callable[[Bench], list[Section]]] = {
    "startup": start,
    "real": real_model,
    "toy": toy_model,
    "entry": entry_points,
    "command-line": command_lines,
    "comparison": comparisons,
    "dispatch": dispatch,
    "driver-scrape": driver_scrapes,
    "operator-scrape": operator_scrapes,
    "operator-scale": operator_scales,
    "statistics": bootstraps,
    "code": code,
}
