"""The state of an order, as far as it is known: one value for results of providers, errors, faults and the database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OrderState:
    """Whether an order is over, whether it is charged, and how long its job took. None: not known.

    While an order is not over, nobody knows yet that it costs nothing: `charged` is True or None then.
    """

    over: bool | None = None
    """Whether nothing more comes of the order. False: the next attempt resumes its job instead of ordering again."""
    charged: bool | None = None
    queued_seconds: float | None = None
    running_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.over is False and self.charged is False:
            object.__setattr__(self, "charged", None)

    def merge(self, newer: "OrderState") -> "OrderState":
        """Combine two states of one order; where both know a value, `newer` counts."""
        return OrderState(
            over=self.over if newer.over is None else newer.over,
            charged=self.charged if newer.charged is None else newer.charged,
            queued_seconds=self.queued_seconds if newer.queued_seconds is None else newer.queued_seconds,
            running_seconds=self.running_seconds if newer.running_seconds is None else newer.running_seconds,
        )


OPEN = OrderState(over=False)
"""The job may run, or may have made a picture."""
OVER = OrderState(over=True)
"""Whether it is charged is not known."""
CHARGED = OrderState(over=True, charged=True)
NOT_CHARGED = OrderState(over=True, charged=False)
PICTURE_LEFT = OrderState(over=False, charged=True)
"""The picture is paid for and was not received: the next attempt asks for it again."""
