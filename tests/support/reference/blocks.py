"""The KV blocks of an instance: who holds them, and which ones a prefix cache keeps, counted anew each time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowsim.core.prefix_cache import Prefixes
from flowsim.core.request import Request


class Blocks:
    """So many blocks of `block_tokens`; those of prefixes are shared."""

    def __init__(self, total: int, block_tokens: int, prefixes: Prefixes | None) -> None:
        self.total, self.block_tokens, self.prefixes = total, block_tokens, prefixes
        self.holding: list[Request] = []  # launched, and not finished
        self.kept: list[int] = []  # cached blocks that nobody holds, the least recently used first

    def blocks_of(self, request: Request) -> int:
        return math.ceil(request.input_length / self.block_tokens)

    def fits(self, request: Request) -> bool:
        return self.blocks_of(request) * self.block_tokens <= self.free_tokens

    @property
    def free_tokens(self) -> int:
        """Shared blocks are there once, the rest of each prompt for itself."""
        size = self.prefixes.block_tokens if self.prefixes else 0
        alone = [self.blocks_of(r) * self.block_tokens - len(self.shared(r)) * size for r in self.holding]
        return self.total * self.block_tokens - sum(alone) - len(self.held) * size

    def shared(self, request: Request) -> list[int]:
        """The blocks that a request holds together with others."""
        return list(request.blocks[: request.context // self.prefixes.block_tokens]) if self.prefixes else []

    @property
    def held(self) -> set[int]:
        return {block for request in self.holding for block in self.shared(request)}

    def hold(self, request: Request) -> None:
        """A request is launched."""
        self.holding.append(request)
        assert self.free_tokens >= 0
        self.take_held()

    def take_held(self) -> None:
        """What somebody holds now is no longer kept for nobody."""
        self.kept = [block for block in self.kept if block not in self.held]

    def release(self, request: Request) -> None:
        """A request is through: what nobody else holds is now the most recently used, its first block most of all."""
        self.holding.remove(request)
        self.kept += [block for block in reversed(list(dict.fromkeys(self.shared(request)))) if block not in self.held]

    def evict(self) -> None:
        """Drop what there is no room for."""
        assert self.prefixes is not None
        size, limit = self.prefixes.block_tokens, self.prefixes.retention
        while self.kept and (
            len(self.kept) > limit.blocks or (limit.in_memory and len(self.kept) * size > self.free_tokens)
        ):
            self.kept.pop(0)

    def cached_tokens(self, requests: Sequence[Request]) -> list[int]:
        """How many tokens of each are cached, from its start; the last one is never."""
        assert self.prefixes is not None
        size, cached = self.prefixes.block_tokens, self.held | set(self.kept)
        found = []
        for request in requests:
            known = 0
            for block in request.blocks:
                if block not in cached or known + size >= request.input_length:
                    break
                known += size
            found.append(known)
        return found
