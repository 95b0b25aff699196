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
from bisect import bisect_left
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

BLOCK_JOBS = 2000
"""Jobs that are looked at together. More make the bound tighter, and cost memory and time in proportion."""
BLOCK_SEARCH = 500
"""A block ends where the least work is left among this number of its last jobs."""
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

    def part(self, chosen: slice | Whole) -> Jobs:
        """Some of them."""
        return Jobs(self.release_s[chosen], self.deadline_s[chosen], self.work_s[chosen])


def most_in_time(jobs: Jobs) -> float:
    """The largest sum of shares of jobs that the machine can complete in time: no schedule has more jobs in time.

    Exact (the linear program's value) as long as no busy period has more than `BLOCK_JOBS` jobs. A longer one is taken
    in blocks of consecutive releases, each with the machine to itself, which gives at least as much.
    """
    needed_s = np.where(jobs.work_s > 0, jobs.work_s, 1.0)
    return math.fsum(np.where(jobs.work_s > 0, _granted(jobs) / needed_s, 1.0).tolist())


def all_in_time(jobs: Jobs) -> Flags:
    """Which jobs a greedy walk accepts, shape [n]: all of them together can be completed in time.

    From the shortest to the longest, each is accepted if it fits whole beside those accepted before.
    """
    return _granted(jobs, whole=True) >= jobs.work_s


def _granted(jobs: Jobs, *, whole: bool = False) -> Floats:
    """The work that the greedy walk gives each job, shape [n]; with `whole`, all that it needs or nothing."""
    granted_s = jobs.work_s.copy()
    for block in _crowded(jobs):
        granted_s[block] = _walk(jobs.part(block), whole=whole)
    return granted_s


def _walk(jobs: Jobs, *, whole: bool) -> Floats:
    """The work that each of the jobs of a block gets, shape [n].

    The walk begins after the most jobs, from the shortest on, that all fit together.
    """
    order = np.lexsort((jobs.release_s, jobs.work_s))
    rank = np.argsort(order)
    fitting = bisect_left(range(1, len(jobs) + 1), True, key=lambda n: not all_fit(jobs.part(np.flatnonzero(rank < n))))
    first, rest = rank < fitting, order[fitting:]
    granted = np.where(first, jobs.work_s, 0.0)
    if not rest.size:
        return granted
    room = Room(jobs, np.flatnonzero(first), rest)
    for place, job in enumerate(rest.tolist()):
        work_s, left_s = float(jobs.work_s[job]), room.left_s(place)
        share_s = work_s if left_s >= work_s - TOLERANCE_S else 0.0 if whole else max(left_s, 0.0)
        if share_s > 0:
            room.take(place, share_s)
            granted[job] = share_s
    return granted


def all_fit(jobs: Jobs) -> bool:
    """Whether all jobs can be completed in time: whether they are under preemptive earliest deadline first."""
    waiting: list[tuple[float, float]] = []  # deadlines, and the work that is left
    now_s = 0.0
    each = zip(jobs.release_s.tolist(), jobs.deadline_s.tolist(), jobs.work_s.tolist(), strict=True)
    for release_s, deadline_s, work_s in [*each, (math.inf, math.inf, 0.0)]:
        while waiting and now_s < release_s:
            due_s, left_s = waiting[0]
            if now_s + left_s > release_s:
                heapreplace(waiting, (due_s, left_s - (release_s - now_s)))
                break
            now_s += left_s
            if now_s > due_s + TOLERANCE_S:
                return False
            heappop(waiting)
        now_s = max(now_s, release_s)
        heappush(waiting, (deadline_s, work_s))
    return True


def _crowded(jobs: Jobs) -> list[slice]:
    """The busy periods in which not all jobs fit in order of release, in blocks of at most `BLOCK_JOBS`.

    While the machine works on all that has been released it is busy; jobs of one such period leave those of another
    alone, since all work released after the beginning of an interval is done by the end of the period. A block ends
    where the least work is left among the last `BLOCK_SEARCH` jobs.
    """
    if not len(jobs):
        return []
    before_s = np.concatenate([[0.0], np.cumsum(jobs.work_s)[:-1]])
    idle_s = np.maximum.accumulate(jobs.release_s - before_s)
    done_s = before_s + jobs.work_s + idle_s
    left_s = np.concatenate([[0.0], done_s[:-1] - jobs.release_s[1:]])  # at each release
    late = done_s > jobs.deadline_s
    edges = [*np.flatnonzero(left_s <= 0).tolist(), len(jobs)]
    found = []
    for start, stop in pairwise(edges):
        while stop - start > BLOCK_JOBS:
            first = start + BLOCK_JOBS - BLOCK_SEARCH
            cut = first + int(np.argmin(left_s[first : start + BLOCK_JOBS]))
            found.append(slice(start, cut))
            start = cut
        found.append(slice(start, stop))
    return [block for block in found if late[block].any()]


def _inside(work_s: Floats, row: Whole, column: Whole, shape: tuple[int, int]) -> Floats:
    """The work of the jobs in each interval, by the rows and columns of jobs."""
    inside = np.zeros(shape)
    np.add.at(inside, (row, column), work_s)
    return np.cumsum(np.cumsum(inside[::-1], axis=0)[::-1], axis=1)


class Room:
    """How much work still fits into every interval from a release to a deadline.

    A job lies in the intervals that begin at or before its release and end at or after its deadline: the rows up to its
    own and the columns from its own on. Asking for the least room there, and taking from it, cost the square root of
    the number of columns per row: columns are kept in groups, each with its least room and with what is still to be
    taken from all of it.

    Args:
        jobs: all jobs.
        first: those that get all their work before any other gets some.
        rest: those to ask about, by their place here. Intervals that hold the same of these are one.
    """

    def __init__(self, jobs: Jobs, first: Whole, rest: Whole) -> None:
        begins_s, row = np.unique(jobs.release_s, return_inverse=True)
        ends_s, column = np.unique(jobs.deadline_s, return_inverse=True)
        room_s = ends_s[None, :] - begins_s[:, None]
        room_s[room_s <= 0] = np.inf  # no job lies there
        room_s -= _inside(jobs.work_s[first], row[first], column[first], room_s.shape)
        rows, self._row = np.unique(row[rest], return_inverse=True)
        columns, self._column = np.unique(column[rest], return_inverse=True)
        room_s = np.minimum.reduceat(room_s[: rows[-1] + 1], np.concatenate([[0], rows[:-1] + 1]), axis=0)
        room_s = np.minimum.reduceat(room_s, columns, axis=1)
        self._group = max(math.isqrt(columns.size), 1)
        groups = -(-columns.size // self._group)
        self._room_s = np.full((rows.size, groups * self._group), np.inf)
        self._room_s[:, : columns.size] = room_s
        self._taken_s = np.zeros((rows.size, groups))
        self._least_s = self._room_s.reshape(rows.size, groups, self._group).min(axis=2)

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
