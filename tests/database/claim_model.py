"""The order of claims in plain Python: sort everything, every time. What the database must agree with."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass
class Item:
    id: UUID
    user: int
    batch: int
    index: int
    priority: int = 0
    state: str = "waiting"  # delayed, waiting, running, expired, ended
    retries: int = 0
    crashes: int = 0


@dataclass
class Model:
    per_user: int = 3
    in_all: int = 20
    max_retries: int = 3
    max_crashes: int = 3
    items: dict[UUID, Item] = field(default_factory=dict[UUID, Item])

    def of(self, *states: str) -> list[Item]:
        return [item for item in self.items.values() if item.state in states]

    def running_of(self, user: int) -> int:
        return sum(item.user == user for item in self.of("running"))

    def claim(self, limit: int) -> set[UUID]:
        for item in self.of("expired"):
            item.crashes += 1
            item.state = "ended" if item.crashes >= self.max_crashes else "waiting"
        ranked: list[tuple[tuple[int, ...], Item]] = []
        for user in {item.user for item in self.of("waiting")}:
            mine = sorted((item for item in self.of("waiting") if item.user == user), key=_place)
            running = self.running_of(user)
            for rank, item in enumerate(mine[: max(self.per_user - running, 0)], running + 1):
                ranked.append(((-item.priority, rank, item.batch, item.index), item))
        ranked.sort(key=lambda pair: pair[0])
        room = max(min(limit, self.in_all - len(self.of("running"))), 0)
        chosen = [item for _, item in ranked[:room]]
        for item in chosen:
            item.state = "running"
        return {item.id for item in chosen}

    def fail(self, item: Item, *, retryable: bool) -> None:
        if retryable and item.retries < self.max_retries:
            item.retries += 1
            item.state = "delayed"
        else:
            item.state = "ended"

    def requeue(self, item: Item) -> None:
        item.state, item.crashes = "waiting", 0


def _place(item: Item) -> tuple[int, int, int]:
    return -item.priority, item.batch, item.index
