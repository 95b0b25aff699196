"""How many of a set of jobs one machine can complete in time, at most: a linear program, solved by a greedy walk.

A job has a release, a deadline and an amount of work; the machine works on one job at a time, may stop and resume any
job at no cost, and knows all jobs in advance. The maximum number of jobs in time (1 | r_j, pmtn | sum U_j; Lawler 1990,
Baptiste 1999) is at most that of the relaxation in which a share of a job counts as that share of it. Amounts of work
y_j <= p_j can be scheduled if and only if no interval holds more than fits into it (Horn 1974):

    sum of y_j over jobs released at or after s and due at or before t  <=  t - s      for all s < t

Such amounts form a polymatroid, so the greedy walk that gives each job in turn, from the largest value per second of
work to the least (1 / p_j, hence from the shortest to the longest), as much as still fits is optimal (Edmonds 1970).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_JOBS = 2000
"""Jobs that are looked at together. More make the bound tighter, and cost memory and time in proportion."""
BLOCK_SEARCH = 500
"""A block ends before the widest gap between releases among its last so many jobs."""
TOLERANCE_S = 1e-9
"""Rounding: a job that lacks less room than this fits."""


@dataclass(frozen=True, eq=False)
class Jobs:
    """Jobs for one machine, in order of release; each array has shape [n], seconds.

    Attributes:
        release_s: from when each can be worked on.
        deadline_s: by when it must be complete.
        work_s: how long the machine needs for it.
    """

    release_s: Floats
    deadline_s: Floats
    work_s: Floats

    def __len__(self) -> int:
        return self.release_s.size

    def part(self, chosen: slice | NDArray[np.bool_]) -> Jobs:
        """Some of them."""
        return Jobs(self.release_s[chosen], self.deadline_s[chosen], self.work_s[chosen])


def most_in_time(jobs: Jobs) -> float:
    """The largest sum of shares of jobs that the machine can complete in time: no schedule has more jobs in time.

    Exact (the linear program's value) up to `BLOCK_JOBS` jobs. Of more it is the sum over blocks of consecutive
    releases, each with the machine to itself, which is at least as much.
    """
    return math.fsum(
        float(np.where(part.work_s > 0, _granted(part) / np.where(part.work_s > 0, part.work_s, 1.0), 1.0).sum())
        for part in map(jobs.part, _blocks(jobs.release_s))
    )


def all_in_time(jobs: Jobs) -> NDArray[np.bool_]:
    """Which jobs a greedy walk accepts, shape [n]: all of them together can be completed in time.

    From the shortest to the longest, each is accepted if it fits whole beside those accepted before.
    """
    accepted = np.zeros(len(jobs), bool)
    for part in _blocks(jobs.release_s):
        accepted[part] = _granted(jobs.part(part), whole=True) >= jobs.work_s[part]
    return accepted


def _blocks(release_s: Floats) -> list[slice]:
    """Stretches of jobs of at most `BLOCK_JOBS`, each ending before a wide gap."""
    blocks, start, n = [], 0, release_s.size
    while n - start > BLOCK_JOBS:
        first = start + BLOCK_JOBS - BLOCK_SEARCH
        gaps_s = np.diff(release_s[first - 1 : start + BLOCK_JOBS])
        stop = first + int(np.argmax(gaps_s))
        blocks.append(slice(start, stop))
        start = stop
    return [*blocks, slice(start, n)] if n > start else blocks


def _granted(jobs: Jobs, *, whole: bool = False) -> Floats:
    """The work that the greedy walk gives each job, shape [n]; with `whole`, all that it needs or nothing."""
    room = Room(jobs)
    if room.holds(jobs.work_s):
        return jobs.work_s.copy()
    granted = np.zeros(len(jobs))
    for job in np.lexsort((jobs.release_s, jobs.work_s)).tolist():
        work_s, left_s = float(jobs.work_s[job]), room.left_s(job)
        share_s = work_s if left_s >= work_s - TOLERANCE_S else 0.0 if whole else max(left_s, 0.0)
        if share_s > 0:
            room.take(job, share_s)
            granted[job] = share_s
    return granted


class Room:
    """How much work still fits into every interval from a release to a deadline.

    A job lies in the intervals that begin at or before its release and end at or after its deadline: the rows up to its
    own and the columns from its own on. Asking for the least room there, and taking from it, cost the square root of
    the number of columns per row: columns are kept in groups, each with its least room and with what is still to be
    taken from all of it.
    """

    def __init__(self, jobs: Jobs) -> None:
        begins_s, self._row = np.unique(jobs.release_s, return_inverse=True)
        ends_s, self._column = np.unique(jobs.deadline_s, return_inverse=True)
        self._group = max(math.isqrt(ends_s.size), 1)
        groups = -(-ends_s.size // self._group)
        lengths = np.full((begins_s.size, groups * self._group), np.inf)
        lengths[:, : ends_s.size] = ends_s[None, :] - begins_s[:, None]
        lengths[lengths <= 0] = np.inf  # no job lies there
        self._room_s = lengths
        self._taken_s = np.zeros((begins_s.size, groups))
        self._least_s = lengths.reshape(begins_s.size, groups, self._group).min(axis=2)

    def holds(self, work_s: Floats) -> bool:
        """Whether all this work fits, shape [n]; only to be asked before any is taken."""
        inside = np.zeros(self._room_s.shape)
        np.add.at(inside, (self._row, self._column), work_s)
        inside = np.cumsum(np.cumsum(inside[::-1], axis=0)[::-1], axis=1)
        return bool((inside <= self._room_s + TOLERANCE_S).all())

    def left_s(self, job: int) -> float:
        """The most work that can be added to a job."""
        rows, column = self._row[job] + 1, self._column[job]
        group = column // self._group
        own = self._room_s[:rows, column : (group + 1) * self._group].min(axis=1) - self._taken_s[:rows, group]
        return float(min(own.min(), self._least_s[:rows, group + 1 :].min(initial=np.inf)))

    def take(self, job: int, work_s: float) -> None:
        """Add this much work to a job."""
        rows, column = self._row[job] + 1, self._column[job]
        group = column // self._group
        start, stop = group * self._group, (group + 1) * self._group
        self._room_s[:rows, column:stop] -= work_s
        self._least_s[:rows, group] = self._room_s[:rows, start:stop].min(axis=1) - self._taken_s[:rows, group]
        self._taken_s[:rows, group + 1 :] += work_s
        self._least_s[:rows, group + 1 :] -= work_s
