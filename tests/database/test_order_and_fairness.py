"""The order of claims: examples of the rule, and random histories compared with a plain Python model."""

import random
from uuid import UUID

from claim_model import Item, Model
from database_harness import Database, Row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def owners(claims: list[Row]) -> list[UUID]:
    return [claim["user_id"] for claim in claims]


def test_a_user_runs_at_most_three_items(db: Database) -> None:
    user = db.new_user()
    db.submit(user, prompts=10)

    claims = db.claim()

    assert [claim["batch_index"] for claim in claims] == [0, 1, 2]
    assert db.claim() == []
    db.complete(claims[1])
    assert [claim["batch_index"] for claim in db.claim()] == [3]


def test_twenty_items_run_in_all(db: Database) -> None:
    for _ in range(10):
        db.submit(prompts=3)

    assert len(db.claim(7)) == 7
    claims = db.claim()

    assert len(claims) == 13
    assert db.claim() == []
    db.release(claims[0])
    assert len(db.claim()) == 1


def test_a_bulk_user_does_not_starve_a_small_one(db: Database) -> None:
    bulk, small = db.new_user(), db.new_user()
    for _ in range(3):
        db.submit(bulk, prompts=10)
    db.submit(small, prompts=2)

    claims = db.claim(4)

    assert sorted(owners(claims)) == sorted([bulk, bulk, small, small])


def test_a_users_first_item_goes_before_another_ones_second(db: Database) -> None:
    early, late = db.new_user(), db.new_user()
    db.submit(early, prompts=5)
    [first] = db.claim(1)
    db.submit(late, prompts=2)

    [second] = db.claim(1)

    assert (first["user_id"], second["user_id"]) == (early, late)


def test_priority_goes_before_fairness_but_not_above_the_limit_of_a_user(db: Database) -> None:
    urgent, other = db.new_user(), db.new_user()
    db.submit(other, prompts=3)
    db.submit(urgent, prompts=5)
    db.run("update public.image_generations set priority = 1 where user_id = %s", urgent)

    claims = db.claim(4)

    assert owners(claims) == [urgent, urgent, urgent, other]


def test_a_raised_limit_takes_effect_at_the_next_claim_and_so_does_a_lowered_one(db: Database) -> None:
    db.submit(prompts=10)
    db.claim()

    db.run("update batchgen.settings set max_parallel_per_user = 5")
    assert len(db.claim()) == 2
    db.run("update batchgen.settings set max_parallel_per_user = 4")
    [done] = db.run("select generation_id, lease_id, user_id from batchgen.queue where state = 'running' limit 1")
    db.complete(done)

    assert db.claim() == []


def test_a_delayed_item_does_not_hold_up_its_users_others(db: Database) -> None:
    db.submit(prompts=4)
    for claim in db.claim():
        db.fail(claim, retryable=True)

    assert [claim["batch_index"] for claim in db.claim()] == [3]


def test_one_claim_takes_as_many_as_a_high_limit_allows_in_turns(db: Database) -> None:
    """Far more than are ranked at a time; who runs something already waits for the others to come level."""
    db.run("update batchgen.settings set max_parallel_per_user = 40, max_parallel_global = 100")
    ahead, behind = db.new_user(), db.new_user()
    for _ in range(6):
        db.submit(ahead, prompts=10)
    db.claim(10)
    for _ in range(6):
        db.submit(behind, prompts=10)

    claims = db.claim(37)

    # 10 of the other user, then by turns, the earlier one first.
    assert [owners(claims).count(user) for user in (ahead, behind)] == [14, 23]
    assert len(db.claim(100)) == 33
    assert owners(db.run("select user_id from batchgen.queue where state = 'running'")).count(ahead) == 40


class History:
    """One random history, told to the database and to the model alike."""

    def __init__(self, db: Database, chance: random.Random) -> None:
        self.db = db
        self.chance = chance
        self.model = Model()
        self.users = [db.new_user() for _ in range(4)]
        self.leases: dict[UUID, Row] = {}
        self.batches = 0

    def step(self, action: str) -> None:
        getattr(self, action)()
        self.check_limits()

    def enqueue(self) -> None:
        user = self.chance.randrange(len(self.users))
        batch = self.db.submit(self.users[user], prompts=self.chance.randint(2, 10))
        self.batches += 1
        for row in batch["generations"]:
            item = Item(UUID(row["id"]), user, self.batches, row["index"])
            self.model.items[item.id] = item

    def claim(self) -> None:
        limit = self.chance.choice([0, 1, 1, 2, 3, 4, 5, 7, 9, 100])
        expected = self.model.claim(limit)
        claims = self.db.claim(limit)
        assert {claim["generation_id"] for claim in claims} == expected
        self.leases.update({claim["generation_id"]: claim for claim in claims})

    def complete(self) -> None:
        if item := self.any_of("running"):
            self.db.complete(self.leases[item.id])
            item.state = "ended"

    def fail(self) -> None:
        if item := self.any_of("running"):
            retryable = self.chance.random() < 0.7
            self.db.fail(self.leases[item.id], retryable=retryable)
            self.model.fail(item, retryable=retryable)

    def release(self) -> None:
        if item := self.any_of("running"):
            self.db.release(self.leases[item.id])
            item.state = "waiting"

    def expire(self) -> None:
        if item := self.any_of("running"):
            self.db.expire(self.leases[item.id])
            item.state = "expired"

    def make_due(self) -> None:
        self.db.make_due()
        for item in self.model.of("delayed"):
            item.state = "waiting"

    def prioritise(self) -> None:
        if item := self.any_of("waiting", "delayed", "running"):
            item.priority = self.chance.randint(-1, 2)
            self.db.run("update public.image_generations set priority = %s where id = %s", item.priority, item.id)

    def limit(self) -> None:
        self.model.per_user, self.model.in_all = self.chance.randint(1, 9), self.chance.randint(1, 20)
        sql = "update batchgen.settings set max_parallel_per_user = %s, max_parallel_global = %s"
        self.db.run(sql, self.model.per_user, self.model.in_all)

    def cancel(self) -> None:
        if item := self.any_of("waiting", "delayed", "running"):
            self.db.run("update public.image_generations set status = 'failed' where id = %s", item.id)
            item.state = "ended"

    def requeue(self) -> None:
        if item := self.any_of("ended", "running"):
            self.db.run("update public.image_generations set status = 'pending' where id = %s", item.id)
            if item.state == "running":
                item.state = "waiting"  # its crashes stay counted: it never ended
            else:
                self.model.requeue(item)

    def delete(self) -> None:
        if item := self.any_of("waiting", "delayed", "running", "ended"):
            self.db.run("delete from public.image_generations where id = %s", item.id)
            del self.model.items[item.id]

    def any_of(self, *states: str) -> Item | None:
        found = self.model.of(*states)
        return self.chance.choice(found) if found else None

    def check_limits(self) -> None:
        """No claim has gone above the limits. Lowered ones let what runs already run on."""
        rows = self.db.run("select user_id, count(*) as running from batchgen.queue where state = 'running' group by 1")
        expected = {self.users[user]: 0 for user in range(len(self.users))}
        for item in self.model.of("running", "expired"):
            expected[self.users[item.user]] += 1
        assert {row["user_id"]: row["running"] for row in rows} == {u: n for u, n in expected.items() if n}


ACTIONS = (
    ["claim"] * 6
    + ["enqueue"] * 4
    + ["complete"] * 4
    + ["fail"] * 2
    + ["expire"] * 2
    + ["release", "make_due", "prioritise", "limit", "cancel", "requeue", "delete"]
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), actions=st.lists(st.sampled_from(ACTIONS), min_size=10, max_size=45))
def test_claims_agree_with_the_model_in_any_history(shared_db: Database, seed: int, actions: list[str]) -> None:
    _forget_everything(shared_db)
    history = History(shared_db, random.Random(seed))
    history.enqueue()

    for action in actions:
        before = {user: history.model.running_of(user) for user in range(4)}
        in_all = sum(before.values())
        history.step(action)
        for user in range(4):
            assert history.model.running_of(user) <= max(history.model.per_user, before[user])
        assert len(history.model.of("running")) <= max(history.model.in_all, in_all)

    _drain(history)


def _drain(history: History) -> None:
    """Nothing is forgotten: whatever happened before, everything that waits is claimed in the end."""
    for _ in range(500):
        history.make_due()
        history.claim()
        running = history.model.of("running")
        for item in running:
            history.db.complete(history.leases[item.id])
            item.state = "ended"
        if not history.model.of("waiting", "running", "delayed", "expired"):
            break
    assert history.db.value("select count(*) from batchgen.queue") == 0
    wrong = history.db.run("select * from public.batch_generations where status in ('pending', 'processing')")
    assert wrong == []


def _forget_everything(db: Database) -> None:
    db.run("truncate auth.users, batchgen.touched cascade")
    db.run("update batchgen.turns set suspects_at = '-infinity', suspects_in_a_row = 0")
    db.run("update batchgen.settings set max_parallel_per_user = 3, max_parallel_global = 20, suspect_turn_seconds = 0")
