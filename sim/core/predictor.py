"""What an instance asks of a predictor: how long a policy believes that work takes."""

from __future__ import annotations

from typing import Protocol

from flowsim.core.passes import Execution


class Predictor(Protocol):
    """Predicted seconds of a prompt alone, and of the rest of a pass."""

    def predict(self, tokens: int, context: int = 0) -> float:
        """Seconds that `tokens` take alone on top of `context`."""

    def left(self, execution: Execution, elapsed_s: float, tokens: int, since_s: float) -> float:
        """Seconds left of an execution.

        Args:
            execution: the pass.
            elapsed_s: how far it has got, seconds of its timeline.
            tokens: tokens of the forwards that have not completed.
            since_s: seconds since the last of its forwards completed, or since it began.
        """
