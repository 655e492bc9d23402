"""create_batch never answers with a fault of ours and never writes half a batch, whatever JSON it gets; preview_batch
answers the same.

`BATCHGEN_FUZZ_CASES=20000` tries as many, others each time.
"""

import json
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from database_harness import Database, Row, query, refused
from hypothesis import given

from tests.fuzzing import CASES, corpus, fuzzed, json_texts

CORPUS = corpus()
NO_JSON = {"22P02", "22P05", "22003", "54001", "54000"}
"""What Postgres' own reader of JSON says, before a function is called. PostgREST answers with 400; with 413 or 500
where the text is nested too deeply (54…), depending on its version: nothing of ours is asked before that."""
OURS = {"PT409", "PT422", "PT429"}

HALVES = """
  select b.id, b.total_count, count(distinct g.id) as items, count(distinct q.generation_id) as queued
  from public.batch_generations b
  left join public.image_generations g on g.batch_id = b.id and g.user_id = b.user_id and g.status = 'pending'
  left join batchgen.queue q on q.generation_id = g.id
  where %s::uuid is null or b.id = %s
  group by b.id
  having count(distinct g.id) <> b.total_count or count(distinct q.generation_id) <> b.total_count
"""


def said(answer: Row | psycopg.Error) -> tuple[object, ...]:
    """The SQLSTATE, and the code, field and message of a refusal, which may be reported instead of raised."""
    if not isinstance(answer, psycopg.Error):
        refusal: Row = answer["refusal"] or {}
        return ("PT402" if refusal.get("code") == "credits_short" else "PT429", refusal.get("code"))
    if answer.sqlstate in {"PT402", "PT429"}:
        return (answer.sqlstate, json.loads(answer.diag.message_detail or "")["code"])
    detail: Row = json.loads(answer.diag.message_detail or "") if answer.sqlstate in OURS else {}
    return (answer.sqlstate, *(detail.get(key) for key in ("code", "index", "field", "limit", "message", "remedy")))


class Victim:
    """One user who sends everything, with limits out of the way; and what came of it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.user = db.new_user()
        self.batches: set[UUID] = set()
        db.run(
            "update batchgen.settings set max_waiting_per_user = 1000000, default_daily_limit = 1000000,"
            " default_hourly_limit = 1000000"
        )

    def send(self, text: str) -> Row | None:
        """The batch, or None where the text was refused in a way that is the sender's fault."""
        try:
            shown = self.preview(text)
        except UnicodeEncodeError:
            return None  # no text of ours leaves this process
        try:
            rows = self.db.as_user(self.user, "select public.create_batch(%s::jsonb) as answer", text)
        except psycopg.Error as error:
            self._judge(error, text, shown)
            return None
        assert not isinstance(shown, psycopg.Error), f"the preview was refused: {shown}"
        assert shown["refusal"] is None
        self._compare(shown, rows[0]["answer"]["batch"])
        batch = rows[0]["answer"]["batch"]
        assert len(batch["generations"]) == batch["total_count"]
        self.batches.add(UUID(batch["id"]))
        assert self.halves(batch["id"]) == []
        return batch

    def preview(self, text: str) -> Row | psycopg.Error:
        """The preview of the same text, or the error that refused it."""
        try:
            return self.db.as_user(self.user, "select public.preview_batch(%s::jsonb) as answer", text)[0]["answer"]
        except psycopg.Error as error:
            return error

    def _compare(self, shown: Row, batch: Row) -> None:
        """The batch is what the preview showed."""
        assert shown["batch_id"] in (None, batch["id"])
        made = [(item["index"], item["prompt"]) for item in batch["generations"]]
        if shown["sample_seed"] is None:  # otherwise each request draws its own sample
            assert [(item["index"], item["prompt"]) for item in shown["items"]] == made
        assert shown["count"] == len(made)
        for item, previewed in zip(batch["generations"], shown["items"], strict=True):
            assert previewed["seed"] in (None, str(item["seed"]))

    def halves(self, batch_id: str | None = None) -> list[Row]:
        return self.db.run(HALVES, batch_id, batch_id)

    def check_what_is_written(self) -> None:
        """Nothing but the accepted batches, each of them whole."""
        assert self.halves() == []
        assert {row["id"] for row in self.db.run("select id from public.batch_generations")} == self.batches
        assert self.db.run("select id from public.image_generations where batch_id is null") == []
        assert self.db.run("select client_key from batchgen.requests where batch_id is null") == []
        items = self.db.value("select count(*) from public.image_generations")
        used = self.db.run("select daily_generations_count as n from public.user_rate_limits")
        assert sum(row["n"] for row in used) == items

    def _judge(self, error: psycopg.Error, text: str, shown: Row | psycopg.Error) -> None:
        assert said(shown) == said(error), f"the preview answered otherwise: {shown}"
        if error.sqlstate in OURS:
            detail = json.loads(error.diag.message_detail or "")
            assert {"code", "message", "index", "field", "limit", "remedy"} <= set(detail)
            return
        assert error.sqlstate in NO_JSON, f"{error.sqlstate}: {error}"
        with refused(error.sqlstate):
            query(self.db.admin, "select %s::jsonb", text)


@pytest.fixture(scope="module")
def victim(shared_db: Database) -> Iterator[Victim]:
    victim = Victim(shared_db)
    yield victim
    victim.check_what_is_written()


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_gets_an_answer_of_ours_or_is_no_json(victim: Victim, name: str) -> None:
    victim.send(CORPUS[name]())


@pytest.mark.timeout(max(120, CASES))
def test_no_request_meets_a_fault_of_ours_or_leaves_half_a_batch(db: Database) -> None:
    victim = Victim(db)
    sent = 0

    @fuzzed(600)
    @given(json_texts)
    def send(text: str) -> None:
        nonlocal sent
        sent += 1
        victim.send(text)

    send()

    victim.check_what_is_written()
    assert sent >= (CASES or 600)
    assert len(victim.batches) > sent / 10, "the cases are all refused: they try nothing"
