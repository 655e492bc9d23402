"""Details, pages, previews and models through supabase-js and the library, as a user and as somebody else."""

from batchgen import BatchgenClient, BatchRequest, Prompt
from devstack import StackInfo
from tests.running_app import running_app
from tests.support import User

TWO = {"prompts": [{"text": "a red fox", "seed": 0, "tags": ["Animals"]}, {"text": "a blue bird"}]}


async def test_the_app_previews_submits_and_shows_a_batch(stack: StackInfo, user: User) -> None:
    async with running_app("rpc.mjs", stack, {"email": user.email, "password": user.password}) as app:
        preview = (await app.call("rpc", "preview_batch", {"p_request": TWO}))["data"]
        batch = (await app.call("rpc", "create_batch", {"p_request": TWO}))["data"]["batch"]
        details = (await app.call("rpc", "batch_details", {"p_batch_id": batch["id"]}))["data"]
        page = (await app.call("rpc", "batches_page", {"p_tag": "animals", "p_state": "active"}))["data"]
        models = (await app.call("rpc", "get_models", {}))["data"]
        refused = await app.call("rpc", "batches_page", {"p_limit": 1000})

    assert [item["seed"] for item in preview["items"]] == ["0", None]
    assert preview["refusal"] is None
    assert details["items"][0]["seed"] == "0"
    assert [one["batch"]["id"] for one in page["batches"]] == [batch["id"]]
    assert models[0]["is_default"]
    assert models[0]["provider"] is None
    assert (refused["status"], refused["error"]["code"]) == (422, "PT422")


async def test_the_library_reads_the_same(stack: StackInfo, user: User) -> None:
    request = BatchRequest(prompts=(Prompt(text="a red fox"), Prompt(text="a blue bird")))
    async with await BatchgenClient.sign_in(stack.url, stack.publishable_key, user.email, user.password) as client:
        preview = await client.preview(request)
        batch = await client.submit(request)
        details = await client.details(batch.id)
        page = await client.page(search="BLUE")
        models = await client.models()

    assert preview.count == len(details.items) == 2
    assert [item.prompt for item in preview.items] == [item.prompt for item in details.items]
    assert [one.batch.id for one in page.batches] == [batch.id]
    assert models[0].width is not None
