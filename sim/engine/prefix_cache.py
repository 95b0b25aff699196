"""The prefix cache of an instance: what passes have computed there, shared by requests that begin alike.

A block enters when a pass that computed it completes. While requests hold it, it is stored once, however many they are.
When the last of them has its first token, the block stays until its room is needed: the least recently used leaves
first, of one request the last of its prompt.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence

from msgspec.structs import force_setattr

from flowsim.core.predictor import Predictor
from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request, reuse
from flowsim.engine.kv import KVCache
from flowsim.engine.waiting import Waiting


class PrefixCache(KVCache):
    """A KV cache whose blocks may be shared and outlive the requests that computed them.

    A request holds its first `context // block_tokens` blocks together with others, and the rest of its `kv_tokens`
    alone. Blocks that are only kept count as free: they leave when a request needs their room.

    Args:
        capacity_tokens: tokens of all its KV blocks.
        prefixes: how large a prefix block is, and which are kept.

    Attributes:
        entered, left: blocks that are cached, or no longer cached, since `settled` was last called.
    """

    def __init__(self, capacity_tokens: int, prefixes: Prefixes) -> None:
        super().__init__(capacity_tokens)
        self.block_tokens = prefixes.block_tokens
        self.entered: list[int] = []
        self.left: list[int] = []
        self._retention = prefixes.retention
        self._holders: dict[int, int] = {}
        """How many hold each block that is held."""
        self._kept: OrderedDict[int, None] = OrderedDict()
        """Cached blocks that nobody holds, least recently used first."""

    def __contains__(self, block: int) -> bool:
        """Whether a block is cached."""
        return block in self._holders or block in self._kept

    def take(self, request: Request) -> bool:
        """Give the request its blocks, those of its cached tokens shared; False, and nothing, if too few are free."""
        shared = self._shared(request)
        fresh = {block for block in shared if block not in self._holders}
        tokens = request.kv_tokens - (len(shared) - len(fresh)) * self.block_tokens
        if tokens > self.free_tokens:
            return False
        self.free_tokens -= tokens
        for block in shared:
            self._hold(block)
        return True

    def computed(self, request: Request, before: int) -> None:
        """A pass has completed that took a request's context from `before` on: its whole blocks enter.

        Of a block that is cached already the request drops its own copy.
        """
        for block in self._shared(request)[before // self.block_tokens :]:
            if block in self._holders:
                self.free_tokens += self.block_tokens
            elif block not in self._kept:
                self.entered.append(block)
            self._hold(block)

    def give_back(self, request: Request) -> None:
        """Free what the request holds alone, and keep what nobody else holds of the rest."""
        shared = self._shared(request)
        self.free_tokens += request.kv_tokens - len(shared) * self.block_tokens
        for block in reversed(shared):
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
                self._kept[block] = None
                self.free_tokens += self.block_tokens

    def trim(self) -> None:
        """Evict what there is no room for."""
        most = self._retention.blocks
        if self._retention.in_memory:
            most = min(most, self.free_tokens // self.block_tokens)
        while len(self._kept) > most:
            self.left.append(self._kept.popitem(last=False)[0])

    def settled(self) -> None:
        """Whoever must know of what has entered and left knows it."""
        self.entered, self.left = [], []

    def _hold(self, block: int) -> None:
        self._holders[block] = self._holders.get(block, 0) + 1
        self._kept.pop(block, None)

    def _shared(self, request: Request) -> Sequence[int]:
        return request.blocks[: request.context // self.block_tokens]


class PrefixWaiting(Waiting):
    """Waiting requests, of which each knows how much of its prompt is cached now.

    Args:
        kv: the cache of their instance.
        predictor: what the policy believes that the rest of a prompt takes.
    """

    def __init__(self, kv: PrefixCache, predictor: Predictor) -> None:
        super().__init__(by_arrival=False)
        self._kv = kv
        self._predictor = predictor
        self._waiting_for: defaultdict[int, dict[int, int]] = defaultdict(dict)
        """For each block that may be reused: which waiting requests have it, by id, and at which place."""

    def add(self, request: Request) -> None:
        """See `Waiting`."""
        for place in reversed(range(self._most(request))):
            self._waiting_for[request.blocks[place]][request.id] = place
        self.look_up(request)
        super().add(request)

    def look_up(self, request: Request) -> None:
        """Tell a request what of it is cached now."""
        self._reuse(request, self._run(request, 0))

    def remove(self, request: Request) -> bool:
        """See `Waiting`."""
        if not super().remove(request):
            return False
        for block in set(request.blocks[: self._most(request)]):
            waiting = self._waiting_for[block]
            del waiting[request.id]
            if not waiting:
                del self._waiting_for[block]
        return True

    def computed(self, request: Request, before: int) -> None:
        """See `PrefixCache.computed`."""
        self._kv.computed(request, before)

    def refresh(self) -> None:
        """Make room in the cache, then tell the waiting requests what has entered and left it."""
        kv = self._kv
        kv.trim()
        if not (kv.entered or kv.left):
            return
        runs: dict[int, int] = {}
        for block in kv.left:
            for id, place in self._waiting_for.get(block, {}).items():
                if place < runs.get(id, self._cached_blocks(id)):
                    runs[id] = place
        for block in kv.entered:
            for id, place in self._waiting_for.get(block, {}).items():
                if place == runs.get(id, self._cached_blocks(id)):
                    runs[id] = self._run(self.requests[id], place)
        kv.settled()
        for id, run in runs.items():
            self.change(self.requests[id], lambda request, run=run: self._reuse(request, run))  # type: ignore[misc]

    def _cached_blocks(self, id: int) -> int:
        return self.requests[id].cached // self._kv.block_tokens

    def _run(self, request: Request, known: int) -> int:
        """How many of its first blocks are cached, the first `known` of which are; all but the last token at most."""
        most = self._most(request)
        while known < most and request.blocks[known] in self._kv:
            known += 1
        return known

    def _most(self, request: Request) -> int:
        return min(len(request.blocks), (request.input_length - 1) // self._kv.block_tokens)

    def _reuse(self, request: Request, blocks: int) -> None:
        reuse(request, blocks * self._kv.block_tokens)
        force_setattr(request, "predicted_s", self._predictor.predict(request.tokens, request.context))
