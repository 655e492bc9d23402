"""Choices, variations and templates through supabase-js with a user's token."""

from collections.abc import Awaitable, Callable
from typing import Any

from devstack import StackInfo
from tests.running_app import RunningApp, running_app
from tests.support import User

REQUEST = {"prompts": [{"text": "a {{animal}}"}, {"text": "{big|small} {{animal}}"}], "choices": {"mode": "all"}}
FOX = [{"text": "a fox"}]


async def create(app: RunningApp, request: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await app.call("rpc", "create_batch", {"p_request": request})
    assert answer["error"] is None, answer
    return answer["data"]["batch"]["generations"]


async def test_an_app_expands_choices_and_variations(stack: StackInfo, user: User) -> None:
    async with running_app("rpc.mjs", stack, {"email": user.email, "password": user.password}) as app:
        chosen = await create(app, {"prompts": [{"text": "{red|blue} fox"}], "choices": {"mode": "all"}})
        seeded = await create(app, {"prompts": FOX, "variations": {"seeds": [7, 0]}})
        refused = await app.call("rpc", "create_batch", {"p_request": {"prompts": FOX, "variations": {"count": 11}}})

    assert [item["prompt"] for item in chosen] == ["red fox", "blue fox"]
    assert [item["seed"] for item in seeded] == [7, 0]
    assert (refused["status"], refused["error"]["code"]) == (422, "PT422")


async def test_an_app_keeps_and_uses_templates_that_strangers_do_not_see(
    stack: StackInfo, user: User, new_user: Callable[[], Awaitable[User]]
) -> None:
    other = await new_user()
    async with (
        running_app("rpc.mjs", stack, {"email": user.email, "password": user.password}) as app,
        running_app("rpc.mjs", stack, {"email": other.email, "password": other.password}) as stranger,
    ):
        template = {"name": "zoo", "request": REQUEST}
        saved = (await app.call("rpc", "save_batch_template", {"p_template": template}))["data"]["template"]
        listed = await app.call("rpc", "list_batch_templates", {})
        use = {"template": {"id": saved["id"], "values": {"animal": "{red|blue} fox"}}}
        made = await create(app, use)
        which = {"p_template_id": saved["id"]}
        refused = [
            await stranger.call("rpc", "get_batch_template", which),
            await stranger.call("rpc", "rename_batch_template", {**which, "p_name": "mine"}),
            await stranger.call("rpc", "delete_batch_template", which),
            await stranger.call("rpc", "create_batch", {"p_request": use}),
        ]
        renamed = await app.call("rpc", "rename_batch_template", {**which, "p_name": "farm"})
        deleted = await app.call("rpc", "delete_batch_template", which)

    assert [one["id"] for one in listed["data"]["templates"]] == [saved["id"]]
    assert [item["prompt"] for item in made] == ["a {red|blue} fox", "big {red|blue} fox", "small {red|blue} fox"]
    assert [(one["status"], one["error"]["code"]) for one in refused] == [(404, "PT404")] * 4
    assert renamed["data"]["template"]["name"] == "farm"
    assert deleted["data"] == {"deleted": saved["id"]}
