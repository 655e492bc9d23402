"""A model is data: one row has its provider, inputs and price, and is read at each claim."""

import os
from decimal import Decimal

import pytest
from database_harness import Database, Row, refused

NEW = "insert into batchgen.models (name, provider, provider_model, inputs, price_usd, estimated_seconds) values"
FLUX = NEW + """ ('flux', 'fal', 'fal-ai/flux', '{"prompt": "prompt", "seed": {"name": "seed"}}', 0.025, 3.5)"""

of_a_new_project = pytest.mark.skipif(
    os.environ.get("BATCHGEN_TEST_PROJECT", "new") != "new", reason="says what a new project begins with"
)
of_an_old_project = pytest.mark.skipif(
    os.environ.get("BATCHGEN_TEST_PROJECT", "new") != "app", reason="says what an older project keeps"
)


def claim_of(db: Database, name: str) -> Row:
    model = db.value("select id from public.models where name = %s", name)
    db.submit(shared_settings={"model_id": str(model)})
    return db.claim_one()


def test_one_insert_offers_a_model(db: Database) -> None:
    db.run(FLUX)

    claim = claim_of(db, "flux")

    assert (claim["model_provider"], claim["model"], claim["model_version"]) == ("fal", "fal-ai/flux", None)
    assert claim["input_spec"] == {"prompt": "prompt", "seed": {"name": "seed"}}
    assert claim["estimated_seconds"] == 3.5
    app = db.one("select * from public.models where name = 'flux'")
    assert (app["display_name"], app["replicate_id"], app["is_active"]) == ("flux", "fal-ai/flux", True)
    assert (app["cost_per_generation"], app["estimated_time_seconds"]) == (0.025, 4)
    assert (app["supports_seed"], app["supports_negative_prompt"]) == (True, False)


def test_one_update_moves_a_model_and_the_app_sends_the_inputs_it_takes_there(db: Database) -> None:
    db.run(FLUX)

    db.run(
        "update batchgen.models set provider = 'comfyui', provider_model = 'local', provider_version = 'v2',"
        """ inputs = '{"prompt": "6.text", "negative_prompt": "7.text"}' where name = 'flux'"""
    )

    claim = claim_of(db, "flux")
    assert (claim["model_provider"], claim["model"], claim["model_version"]) == ("comfyui", "local", "v2")
    app = db.one("select * from public.models where name = 'flux'")
    assert app["replicate_id"] == "fal-ai/flux"
    assert (app["supports_seed"], app["supports_negative_prompt"]) == (False, True)


def test_an_update_of_something_else_leaves_what_the_app_was_told_of_the_inputs(db: Database) -> None:
    db.run(FLUX)
    db.run("update public.models set supports_seed = false, supports_negative_prompt = true where name = 'flux'")

    db.run("update batchgen.models set price_usd = 0.5 where name = 'flux'")

    app = db.one("select * from public.models where name = 'flux'")
    assert (app["supports_seed"], app["supports_negative_prompt"], app["cost_per_generation"]) == (False, True, 0.5)


def test_a_version_that_the_request_names_comes_before_the_models_own(db: Database) -> None:
    db.run(FLUX)
    db.run("update batchgen.models set provider_version = 'own' where name = 'flux'")
    model = db.value("select id from public.models where name = 'flux'")
    db.submit(shared_settings={"model_id": str(model), "model_version": "named"})

    assert db.claim_one()["model_version"] == "named"


@pytest.mark.parametrize(
    "wrong",
    [
        """inputs = '{"seed": {"name": "seed"}}'""",
        """inputs = '{"prompt": null}'""",
        """inputs = '"prompt"'""",
        "price_usd = -0.01",
        "price_usd = 1000.01",
        "price_usd = 'NaN'",
        "estimated_seconds = -1",
        "provider = ''",
    ],
)
def test_a_wrong_row_is_refused_and_nothing_is_written(db: Database, wrong: str) -> None:
    db.run(FLUX)
    before = db.run("select * from public.models order by id")

    with refused("23514"):
        db.run(f"update batchgen.models set {wrong} where name = 'flux'")  # noqa: S608

    assert db.run("select * from public.models order by id") == before


@pytest.mark.parametrize("cost", ["NaN", "Infinity", "-1", "5000000"])
def test_a_price_of_the_apps_that_cannot_be_one_is_none(db: Database, cost: str) -> None:
    db.run("insert into public.models (name, display_name, replicate_id) values ('odd', 'Odd', 'acme/odd')")
    db.run("update public.models set cost_per_generation = %s where name = 'odd'", cost)

    assert db.value("select price_usd from batchgen.models where name = 'odd'") is None


def test_the_apps_own_price_counts_where_the_provider_has_none(db: Database) -> None:
    db.run(
        "insert into public.models (name, display_name, replicate_id, cost_per_generation)"
        " values ('old', 'Old', 'acme/old', 0.0035)"
    )

    row = db.one("select * from batchgen.models where name = 'old'")
    assert (row["provider"], row["provider_model"], row["price_usd"]) == ("offline", "acme/old", Decimal("0.0035"))


@pytest.mark.parametrize(
    "mending",
    [
        "update batchgen.models set inputs = '{\"prompt\": \"text\"}' where name = 'flux'",
        "update batchgen.model_providers set provider = 'replicate'",
        "delete from batchgen.model_providers",
    ],
    ids=["in the view", "moved", "no provider any more"],
)
def test_a_model_waits_until_its_row_is_mended_and_no_other_one_does(db: Database, mending: str) -> None:
    db.run("delete from batchgen.model_providers")
    db.run(FLUX)
    faulty = claim_of(db, "flux")
    db.fail(faulty, code="inputs_missing", retryable=True, retry_after_seconds=600, model_fault=True)
    db.submit()
    assert {claim["model"] for claim in db.claim()} == {"batchgen/offline-sketch"}
    assert db.run("select * from batchgen.providers") == []

    db.run(mending)
    db.run("update batchgen.queue set due_at = now() where state = 'delayed'")

    again = [claim for claim in db.claim() if claim["batch_id"] == faulty["batch_id"]]
    assert {claim["attempt"] for claim in again} == {1}
    assert len(again) == 2


@of_a_new_project  # an older one may refuse to delete what items name
def test_a_model_that_was_deleted_takes_its_provider_and_its_breaker_along(db: Database) -> None:
    db.run(FLUX)
    faulty = claim_of(db, "flux")
    db.fail(faulty, code="inputs_missing", retryable=True, retry_after_seconds=600, model_fault=True)

    db.run("delete from batchgen.models where name = 'flux'")

    assert db.run("select * from batchgen.breakers") == []
    db.run("update batchgen.queue set due_at = now() where state = 'delayed'")
    assert {claim["model_provider"] for claim in db.claim()} == {"offline"}


@of_a_new_project
def test_a_new_project_has_the_known_models_switched_off_and_the_offline_one_on(db: Database) -> None:
    rows = db.run(
        "select is_active, is_default, provider, count(*) as n from batchgen.models group by 1, 2, 3 order by 4"
    )

    assert [tuple(row.values()) for row in rows] == [(True, True, "offline", 1), (False, False, "replicate", 12)]


@of_a_new_project
def test_a_known_model_that_is_switched_on_is_ordered_at_its_provider(db: Database) -> None:
    db.run("update batchgen.models set is_active = true where provider_model = 'stability-ai/sdxl'")

    claim = claim_of(db, "stability-ai/sdxl")

    assert (claim["model_provider"], claim["model"]) == ("replicate", "stability-ai/sdxl")
    assert len(claim["model_version"]) == 64


@of_an_old_project
def test_an_older_project_keeps_its_models_where_they_are(db: Database) -> None:
    assert db.run("select * from batchgen.model_providers") == []
    assert db.value("select count(*) from batchgen.models where provider <> 'offline'") == 0


def test_a_project_takes_on_its_known_models_when_it_asks_for_it(db: Database) -> None:
    db.run("delete from public.models where not is_default")
    db.run(
        "insert into public.models (name, display_name, replicate_id, cost_per_generation, is_active) values"
        " ('mine', 'Mine', 'black-forest-labs/flux-schnell', 1, true), ('own', 'Own', 'acme/own', 1, true)"
    )

    assert db.value("select batchgen.adopt_known_models()") == 1

    row = db.one("select * from batchgen.models where name = 'mine'")
    assert (row["provider"], row["price_usd"], row["display_name"]) == ("replicate", Decimal("0.003"), "Mine")
    assert db.value("select provider from batchgen.models where name = 'own'") == "offline"
    assert db.value("select batchgen.adopt_known_models()") == 0


def test_a_model_that_a_project_has_placed_itself_is_not_moved(db: Database) -> None:
    db.run("delete from public.models where not is_default")
    db.run(NEW + " ('mine', 'fal', 'black-forest-labs/flux-schnell', null, 0.01, 2)")

    assert db.value("select batchgen.adopt_known_models()") == 0

    assert db.value("select provider from batchgen.models where name = 'mine'") == "fal"
