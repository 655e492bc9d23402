"""A model of the order of claims, which sorts everything every time. The database must agree with it."""

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
    lone_crashes: int = 0
    is_suspect: bool = False
    """A worker died while it had the item."""
    is_alone: bool = False
    """Its worker has had nothing else since it took the item."""


@dataclass
class Model:
    """One worker, and turns that take no time."""

    per_user: int = 3
    in_all: int = 20
    max_retries: int = 3
    max_crashes: int = 3
    items: dict[UUID, Item] = field(default_factory=dict[UUID, Item])
    is_suspects_turn: bool = True
    suspects_in_a_row: int = 0

    def of(self, *states: str) -> list[Item]:
        return [item for item in self.items.values() if item.state in states]

    def running_of(self, user: int) -> int:
        return sum(item.user == user for item in self.of("running"))

    def claim(self, limit: int) -> set[UUID]:
        for item in self.of("expired"):
            self._crash(item)
        room = max(min(limit, self.in_all - len(self.of("running"))), 0)
        if room == 0 or any(item.is_suspect for item in self.of("running")):
            return set()
        others = self._ranked()
        chosen = others[:room]
        if suspect := self._first_suspect():
            if not others or self.is_suspects_turn:
                if self.of("running"):
                    return set()  # it makes way for the suspect, or others do not wait
                chosen = [suspect]
            self._note_turn(is_suspect=chosen == [suspect], have_others=bool(others))
        for item in self.of("running") if chosen else ():
            item.is_alone = False
        is_alone = len(chosen) == 1 and not self.of("running")
        for item in chosen:
            item.state, item.is_alone = "running", is_alone
        return {item.id for item in chosen}

    def fail(self, item: Item, *, retryable: bool) -> None:
        if retryable and item.retries < self.max_retries:
            item.retries += 1
            item.state, item.is_suspect = "delayed", False
        else:
            item.state = "ended"

    def requeue(self, item: Item) -> None:
        item.state, item.lone_crashes, item.is_suspect = "waiting", 0, False

    def _crash(self, item: Item) -> None:
        item.lone_crashes += item.is_alone
        item.is_suspect = True
        item.state = "ended" if item.is_alone and item.lone_crashes >= self.max_crashes else "waiting"

    def _ranked(self) -> list[Item]:
        ranked: list[tuple[tuple[int, ...], Item]] = []
        waiting = [item for item in self.of("waiting") if not item.is_suspect]
        for user in {item.user for item in waiting}:
            mine = sorted((item for item in waiting if item.user == user), key=_place)
            running = self.running_of(user)
            for rank, item in enumerate(mine[: max(self.per_user - running, 0)], running + 1):
                ranked.append(((-item.priority, rank, item.batch, item.index), item))
        return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]

    def _first_suspect(self) -> Item | None:
        suspects = [
            item for item in self.of("waiting") if item.is_suspect and self.running_of(item.user) < self.per_user
        ]
        return min(suspects, key=_place, default=None)

    def _note_turn(self, *, is_suspect: bool, have_others: bool) -> None:
        if not is_suspect:
            self.is_suspects_turn = True
        elif have_others:
            self.suspects_in_a_row = (self.suspects_in_a_row + 1) % 2
            self.is_suspects_turn = self.suspects_in_a_row > 0


def _place(item: Item) -> tuple[int, int, int]:
    return -item.priority, item.batch, item.index
