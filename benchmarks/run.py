"""
``python -m benchmarks.run``: Taskyard and every peer that is installed, interleaved, several rounds; medians and spread.

    python -m benchmarks.run                     everything but what takes long, three rounds
    python -m benchmarks.run --quick             one small round, to see that it runs
    python -m benchmarks.run --only taskyard_sqlite,raw,huey_fsync
    python -m benchmarks.run --long              also the goals about many records, churn and ANALYZE
    python -m benchmarks.run --write             keep what was found: benchmarks/results.json and the chart of the docs
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import long, ours, raw
from benchmarks.chart import chart
from benchmarks.goals import judged, verdict
from benchmarks.growth import looks_table
from benchmarks.scenario import CONTENDERS, QUICK, TINY, Sizes, facts, measure
from benchmarks.servers import Missing, Servers, servers

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PICTURE = HERE.parent / "docs" / "explanation" / "benchmark.svg"
PAGE = PICTURE.with_name("speed.md")
COLUMNS = (
    ("enqueue", "submit/s"), ("enqueue_bulk", "bulk/s"), ("drain", "drain/s"), ("end_to_end", "e2e/s"),
    ("end_to_end_bulk", "e2e bulk/s"), ("start_p50_ms", "start p50 ms"), ("start_p99_ms", "p99 ms"), ("worker_cpu_us", "CPU µs"),
)  # fmt: skip

#: What only Taskyard has, a row each: what, its name with the store left open, its unit.
ALONE = (
    ("durable POST, 1 connection", "http.{}.post_1", "/s"), ("durable POST, 32", "http.{}.post_32", "/s"), ("durable POST, 128", "http.{}.post_128", "/s"),
    ("list of 50 over HTTP, 1", "http.{}.list_1", "/s"), ("list, 32", "http.{}.list_32", "/s"), ("list, 128", "http.{}.list_128", "/s"),
    ("get over HTTP, 1", "http.{}.get_1", "/s"), ("get, 32", "http.{}.get_32", "/s"), ("get, 128", "http.{}.get_128", "/s"),
    ("drain, handlers on threads", "threads.{}", "/s"), ("drain, a worker over HTTP", "over_http.{}", "/s"),
    ("submit→start at half of capacity, p50", "taskyard_{}.half_start_p50_ms", "ms"),
    ("submit→start at half of capacity, p99", "taskyard_{}.half_start_p99_ms", "ms"),
    ("submit→done seen by a waiting client, p50", "waited.{}.done_p50_ms", "ms"), ("the same, p99", "waited.{}.done_p99_ms", "ms"),
    ("statements at rest", "asked.{}.statements", "/s"), ("CPU of the server at rest", "rest.{}.idle_cpu_percent", "%"),
    ("memory of the server", "rest.{}.memory_mib", "MiB"), ("cold start", "rest.{}.cold_start_s", "s"),
)  # fmt: skip

Found = dict[str, list[float]]
Step = tuple[str, Callable[[], dict[str, float]]]


def steps(running: Servers, sizes: Sizes, log: Any, seconds: float) -> Iterator[Step]:
    """Yield what one round measures, ours and theirs in turns: what a noisy neighbour slows, it slows for all."""
    for name in CONTENDERS:
        yield name, lambda name=name: measure(name, running, sizes, log)  # type: ignore[misc]
        if name == "taskyard_sqlite":
            yield from _beside(running, sizes, "sqlite", seconds)
        if name == "taskyard_postgres":
            yield from _beside(running, sizes, "postgresql", seconds)
    count = max(200, sizes.bulk // 5)
    yield "processes", lambda: {"pool": ours.pooled(count), "children": ours.children(count)}
    yield "processes", lambda: {"drain": ours.drained_in_processes(running, max(200, count // 2))}


def _beside(running: Servers, sizes: Sizes, store: str, seconds: float) -> Iterator[Step]:
    bulk = max(raw.BATCH, sizes.bulk)
    yield f"raw.{store}", lambda: raw.measure(store, running.fresh(store), count=bulk, one=sizes.one)
    yield f"commits.{store}", lambda: ours.commits(running, store, sizes.one)
    yield f"waited.{store}", lambda: ours.waited(running, store, max(5, sizes.paced // 2))
    yield f"http.{store}", lambda: ours.http(running, store, seconds)
    yield "over_http", lambda: {store: ours.drained_over_http(running, store, sizes.bulk)}
    yield "threads", lambda: {store: ours.drained_in_threads(running, store, max(200, sizes.bulk // 2))}
    yield f"rest.{store}", lambda: ours.at_rest(running, store, seconds * 2)
    yield f"asked.{store}", lambda: ours.asked_at_rest(running, store, seconds * 4)


def run(rounds: int, sizes: Sizes, only: set[str], seconds: float, log: Any) -> tuple[Found, dict[str, str]]:
    """Return every figure of every round by its name, and why what is missing is."""
    found: Found = defaultdict(list)
    missing: dict[str, str] = {}
    with servers() as running:
        for turn in range(rounds):
            for name, step in steps(running, sizes, log, seconds):
                if (only and name.split(".")[0] not in only and name not in only) or name in missing:
                    continue
                print(f"round {turn + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
                try:
                    for figure, value in step().items():
                        found[f"{name}.{figure}"].append(value)
                except Missing as why:
                    missing[name] = str(why)
                except Exception as error:  # a peer that fails says so in its row; it must not end the run
                    missing[name] = f"failed: {type(error).__name__}: {error}"
    return found, missing


def table(found: Found, missing: dict[str, str]) -> str:
    """Return the contenders as a table in Markdown: medians, and the spread of the drain's rounds."""
    lines = [
        "| | keeps a record | " + " | ".join(title for _, title in COLUMNS) + " | drain, least–most |",
        "|---|---" + "|--:" * (len(COLUMNS) + 1) + "|",
    ]
    for name in CONTENDERS:
        about = facts(name)
        if f"{name}.drain" not in found:
            if name in missing:
                lines.append(
                    f"| {name} | {about['KEEPS']} | missing: {missing[name]} |" + " |" * len(COLUMNS)
                )
            continue
        cells = [_cell(found.get(f"{name}.{figure}")) for figure, _ in COLUMNS]
        drain = found[f"{name}.drain"]
        lines.append(
            f"| {name} | {about['KEEPS']} | {' | '.join(cells)} | {min(drain):,.0f}–{max(drain):,.0f} |"
        )
    return "\n".join(lines)


def alone_table(found: Found) -> str:
    """Return what was measured of Taskyard alone, a row each."""
    lines = ["| | SQLite | PostgreSQL | |", "|---|--:|--:|---|"]
    for what, name, unit in ALONE:
        stores = ("sqlite", "postgres" if name.startswith("taskyard") else "postgresql")
        lines.append(
            f"| {what} | {' | '.join(_cell(found.get(name.format(each))) for each in stores)} | {unit} |"
        )
    return "\n".join(lines)


def _cell(values: list[float] | None) -> str:
    if not values:
        return "–"
    value = median(values)
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def goals_table(medians: dict[str, float]) -> str:
    lines = ["| # | what | must | reach | found | |", "|---|---|--:|--:|--:|---|"]
    for goal, value in judged(medians):
        sign = "≤" if goal.most else "≥"
        shown = (
            "–"
            if value is None
            else f"{value:.2f} {goal.unit}"
            if value < 100
            else f"{value:.0f} {goal.unit}"
        )
        lines.append(
            f"| {goal.number} | {goal.what} | {sign} {goal.must:g} | {goal.reach:g} | {shown} | {verdict(goal, value)} |"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Return what kind of machine this is; not which."""
    model = "unknown"
    with contextlib.suppress(OSError):
        model = next(line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def bars(found: Found) -> list[tuple[str, float, str]]:
    shown = [
        (name.replace("_", " "), median(found[f"{name}.drain"]), "ours" if name.startswith("taskyard") else facts(name)["KEEPS"])
        for name in CONTENDERS
        if f"{name}.drain" in found
    ]  # fmt: skip
    return sorted(shown, key=lambda bar: -bar[1])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small round")
    parser.add_argument(
        "--tiny", action="store_true", help="a handful of tasks, to test the benchmark itself"
    )
    parser.add_argument("--rounds", type=int, help="how many rounds; 3 unless --quick")
    parser.add_argument("--only", default="", help="names, with commas: contenders, raw, commits, waited, http, over_http, threads, rest, asked, processes")  # fmt: skip
    parser.add_argument(
        "--long", action="store_true", help="also the goals about many records, churn and ANALYZE"
    )
    parser.add_argument("--records", type=int, default=5_000_000, help="how many records --long compares with 10,000")  # fmt: skip
    parser.add_argument("--churn", type=int, default=300_000, help="how many tasks --long churns without a vacuum")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="keep what was found, over what was kept before")
    asked = parser.parse_args(arguments)
    small = asked.quick or asked.tiny
    sizes = TINY if asked.tiny else QUICK if asked.quick else Sizes()
    only = set(filter(None, asked.only.split(",")))
    with tempfile.NamedTemporaryFile(prefix="benchmark-", suffix=".log", delete=False) as log:
        print(f"what the contenders print: {log.name}", file=sys.stderr)
        found, missing = run(asked.rounds or (1 if small else 3), sizes, only, 0.5 if small else 3.0, log)
    if asked.long:
        with servers() as running:
            for name, value in long.measure(running, asked.records, asked.churn).items():
                found[f"long.{name}"].append(value)
    return report(found, missing, write=asked.write)


def machine_line(kept: dict[str, Any]) -> str:
    return (
        f"Measured on {kept['date']}: {kept['processor']}, {kept['cores']} cores, {kept['memory_gib']} GiB, {kept['system']}, "
        f"Python {kept['python']}; all on loopback."
    )


def into_page(page: Path, text: str) -> None:
    """Put *text* between the marks of a page of the docs."""
    begin, end = "<!-- measured -->", "<!-- /measured -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def shown_missing(missing: dict[str, str]) -> str:
    return "\n".join(f"- missing: {name}: {why}" for name, why in missing.items())


def report(found: Found, missing: dict[str, str], *, write: bool) -> int:
    if write:
        kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"figures": {}}
        found = defaultdict(list, {**kept["figures"], **found})
        missing = {
            name: why
            for name, why in {**kept.get("missing", {}), **missing}.items()
            if f"{name}.drain" not in found
        }
    medians = {name: median(values) for name, values in found.items()}
    print(
        f"\n{table(found, missing)}\n\n{alone_table(found)}\n\n{goals_table(medians)}\n\n{looks_table(medians)}\n"
    )
    print(shown_missing(missing))
    if write:
        parts = [
            machine_line(machine()),
            table(found, missing),
            shown_missing(missing),
            "What was measured of Taskyard alone:",
            alone_table(found),
            "## The goals",
            goals_table(medians),
            looks_table(medians),
        ]
        into_page(PAGE, "\n\n".join(filter(None, parts)))
        figures = {name: [round(value, 3) for value in values] for name, values in sorted(found.items())}
        RESULTS.write_text(
            json.dumps({"machine": machine(), "missing": missing, "figures": figures}, indent=1) + "\n"
        )
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_text(chart("Tasks drained per second by one worker, logarithmic", bars(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
