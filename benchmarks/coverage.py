"""How often the intervals hold the true value: `python -m benchmarks.coverage` writes the tables of docs/intervals.md.

The truth is known: misses that follow an AR(1) process; and an M/M/1 queue under two policies, first come first served
(FCFS) and last come first served without preemption (LCFS), on the same arrivals and services. A service takes 1 on
average, and the waiting time in the queue W stands for the TTFT:

    FCFS  P(W > t) = rho exp(-(1 - rho) t)
    LCFS  P(W > t) = rho P(B > t)           with B a busy period, whose density has a Bessel function (Kleinrock 1975)
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import integrate, optimize, signal, special, stats

from flowsim.io.counts import percent
from flowsim.results.bootstrap import FEWEST_STRETCHES, share_interval, stretch_count
from flowsim.results.differences import QUANTILES, Difference, ServedTrace
from flowsim.results.interval import Interval
from flowsim.studies.paired import paired

Floats = NDArray[np.float64]
PAGE = Path(__file__).parents[1] / "docs" / "intervals.md"
LENGTHS = (1000, 3000, 10_000, 30_000)
REPLICATIONS = (5, 8, 10, 20, 30)
REPETITIONS = 500


@dataclass(frozen=True)
class Queue:
    """An M/M/1 queue whose services take 1 on average.

    Attributes:
        load: the arrival rate, below 1.
        slo: of the waiting time.
    """

    load: float
    slo: float

    def waits(self, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """The waiting times of `n` consecutive arrivals under FCFS and LCFS, each shape [n]; the warm-up left out."""
        warmup = int(20 / (1 - self.load) ** 2)
        arrivals = np.cumsum(rng.exponential(1 / self.load, warmup + n))
        services = rng.exponential(1.0, warmup + n)
        return fcfs(arrivals, services)[warmup:], lcfs(arrivals, services)[warmup:]

    def fcfs_beyond(self, t: float) -> float:
        """P(W > t) under FCFS."""
        return self.load * math.exp(-(1 - self.load) * t)

    def lcfs_beyond(self, t: float) -> float:
        """P(W > t) under LCFS."""
        root = math.sqrt(self.load)

        def density(x: float) -> float:
            return math.exp(-((1 - root) ** 2) * x) * float(special.ive(1, 2 * x * root)) / (x * root)

        return self.load * (1 - float(integrate.quad(density, 0, t, limit=500)[0]))

    def truth(self, figure: str) -> float:
        """FCFS less LCFS: attainment, or a quantile of the waiting time."""
        if figure == "attainment":
            return self.lcfs_beyond(self.slo) - self.fcfs_beyond(self.slo)
        late = 1 - QUANTILES[figure]
        first = max(0.0, math.log(self.load / late) / (1 - self.load))
        last = optimize.brentq(lambda t: self.lcfs_beyond(t) - late, 0, 2000) if late < self.load else 0.0
        return first - float(last)


def fcfs(arrivals: Floats, services: Floats) -> Floats:
    """Waiting times of one server that takes the first in the queue, shape [n]."""
    begun = np.cumsum(services) - services
    starts: Floats = np.maximum.accumulate(arrivals - begun) + begun
    return starts - arrivals


def lcfs(arrivals: Floats, services: Floats) -> Floats:
    """Waiting times of one server that takes the last in the queue and lets it finish, shape [n]."""
    waits, came, took = [0.0] * arrivals.size, arrivals.tolist(), services.tolist()
    now, queue, coming = 0.0, [], 0
    while coming < len(came) or queue:
        if not queue:
            now = max(now, came[coming])
            queue.append(coming)
            coming += 1
        chosen = queue.pop()
        waits[chosen] = now - came[chosen]
        now += took[chosen]
        while coming < len(came) and came[coming] <= now:
            queue.append(coming)
            coming += 1
    return np.array(waits)


def correlated_hits(n: int, memory: float, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether each of `n` requests is in time: an AR(1) process with this coefficient, below a threshold."""
    shocks = rng.normal(size=n) * math.sqrt(1 - memory**2)
    shocks[0] = rng.normal()
    return signal.lfilter([1.0], [1.0, -memory], shocks) < stats.norm.ppf(share)


@dataclass(frozen=True)
class Row:
    """What came of the intervals of one figure.

    Attributes:
        figure: which, and of what.
        n: requests.
        known: the share of the repetitions that gave an interval.
        covered: the share of those that hold the true value.
        marked: the share that the screen marks as too narrow.
        stretches: on how many the median interval rests.
    """

    figure: str
    n: int
    known: float
    covered: float
    marked: float
    stretches: float


def of_queue(queue: Queue, n: int, repetitions: int, figures: Sequence[str] = ("attainment",)) -> list[Row]:
    """Paired differences of two policies on one trace of a queue."""
    rng = np.random.default_rng([n, round(100 * queue.load), round(queue.slo)])
    found: dict[str, list[tuple[Interval, float]]] = {name: [] for name in figures}
    for seed in range(repetitions):
        served = [ServedTrace(np.ones(n, bool), waits <= queue.slo, waits, None) for waits in queue.waits(n, rng)]
        difference = Difference(*served, seed=seed)
        for name in figures:
            if name == "attainment":
                apart = served[0].attained.astype(float) - served[1].attained
                found[name].append((difference.attainment, stretch_count(apart)))
            else:
                found[name].append((difference.ttft_s[name], difference.stretches[name]))
    where = f"load {queue.load:g}, SLO {queue.slo:g}"
    return [_row(f"{name}, {where}", n, found[name], queue.truth(name)) for name in figures]


def of_hits(memory: float, share: float, n: int, repetitions: int) -> list[Row]:
    """Attainment of one policy whose misses follow an AR(1) process."""
    rng, found = np.random.default_rng([n, round(100 * memory)]), []
    for _ in range(repetitions):
        hits = correlated_hits(n, memory, share, rng)
        found.append((share_interval(hits), stretch_count(~hits)))
    return [_row(f"attainment {percent(share, 0)}, AR(1) with {memory:g}", n, found, share)]


def over_replications(draw: Callable[..., Floats], n: int, repetitions: int) -> tuple[float, float]:
    """Of independent paired differences with mean 1: how often Student's t and BCa hold it."""
    rng = np.random.default_rng(n)
    found = [paired(draw(rng, n), np.zeros(n), seed=seed) for seed in range(repetitions)]
    return (
        float(np.mean([contains(pair.interval, 1.0) for pair in found])),
        float(np.mean([contains(pair.bca, 1.0) for pair in found])),
    )


def contains(interval: Interval, truth: float) -> bool:
    """Whether an interval holds the true value."""
    return interval.low <= truth <= interval.high


def _row(figure: str, n: int, found: Sequence[tuple[Interval, float]], truth: float) -> Row:
    known = [contains(interval, truth) for interval, _ in found if not math.isnan(interval.low)]
    rests_on = np.array([number for _, number in found])
    marked = float((rests_on < FEWEST_STRETCHES).mean())
    return Row(figure, n, len(known) / len(found), float(np.mean(known)), marked, float(np.median(rests_on)))


def _normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(1.0, 1.0, n)


def _skewed(rng: np.random.Generator, n: int) -> Floats:
    return rng.exponential(1.0, n)


QUEUES = (Queue(0.5, 3.0), Queue(0.7, 4.0), Queue(0.7, 8.0), Queue(0.9, 15.0))
DRAWS = {"normal": _normal, "skewed (exponential)": _skewed}


def tables(repetitions: int, jobs: int) -> dict[str, str]:
    """The tables of the page in Markdown, by name."""
    work = [delayed(of_hits)(memory, 0.9, n, repetitions) for memory in (0.0, 0.5, 0.9) for n in LENGTHS[:-1]]
    work += [delayed(of_queue)(queue, n, repetitions) for queue in QUEUES for n in LENGTHS]
    work += [delayed(of_queue)(QUEUES[1], n, repetitions, tuple(QUANTILES)) for n in LENGTHS[:-1]]
    rows = [row for some in Parallel(jobs)(work) for row in some]
    head = "| figure | requests | stretches | marked | known | covered |\n|---|---|---|---|---|---|\n"
    lines = [
        f"| {row.figure} | {row.n:,} | {row.stretches:.0f} | {percent(row.marked, 0)} | {percent(row.known, 0)} "
        f"| {percent(row.covered)} |"
        for row in sorted(rows, key=lambda row: row.figure)
    ]
    pairs = [(name, n, *over_replications(draw, n, repetitions)) for name, draw in DRAWS.items() for n in REPLICATIONS]
    more = "| differences | replications | Student's t | BCa |\n|---|---|---|---|\n"
    return {
        "one trace": head + "\n".join(lines),
        "replications": more
        + "\n".join(f"| {name} | {n} | {percent(t)} | {percent(bca)} |" for name, n, t, bca in pairs),
    }


def write_tables(page: Path, written: Mapping[str, str]) -> None:
    """Write tables into a page, each between two comments with its name."""
    text = page.read_text(encoding="utf-8")
    for name, table in written.items():
        begin, end = f"<!-- coverage: {name} -->\n", "\n<!-- end -->"
        before, rest = text.split(begin)
        text = before + begin + table + end + rest.split(end, 1)[1]
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Write the tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description="Coverage of intervals.")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    write_tables(PAGE, tables(options.repetitions, options.jobs))


if __name__ == "__main__":
    main()
