"""Templates, choices and variations through the library."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from batchgen import (
    BatchgenClient,
    BatchRequest,
    Choices,
    Conflict,
    InvalidRequest,
    NotFound,
    Prompt,
    SharedSettings,
    TemplateUse,
    Variations,
)
from tests.support import User

ClientOf = Callable[[User], Awaitable[BatchgenClient]]
ANIMALS = BatchRequest(
    prompts=(Prompt(text="a {{animal}} in {{style}}"), Prompt(text="a sleeping {{animal}}")),
    shared_settings=SharedSettings(width=512, height=512),
)


async def test_choices_and_variations_are_expanded_by_the_database(client: BatchgenClient) -> None:
    colors = BatchRequest(prompts=(Prompt(text="{red|blue} fox"),), choices=Choices(mode="all"))
    seeds = BatchRequest(prompts=(Prompt(text="a fox"),), variations=Variations(seeds=(7, 0)))

    assert [item.prompt for item in (await client.submit(colors)).generations] == ["red fox", "blue fox"]
    assert [item.seed for item in (await client.submit(seeds)).generations] == [7, 0]


async def test_a_template_is_saved_listed_renamed_used_and_deleted(client: BatchgenClient) -> None:
    saved = await client.save_template("animals", ANIMALS, defaults={"style": "oil"})
    again = await client.save_template("animals", ANIMALS, defaults={"style": "oil"})
    await client.rename_template("animals", "zoo")
    [listed] = await client.templates()
    template = await client.template("zoo")

    assert again == saved
    assert (listed.name, listed.prompts, listed.is_own) == ("zoo", 2, True)
    assert [(one.name, one.default) for one in template.placeholders] == [("animal", None), ("style", "oil")]
    use = TemplateUse(id=template.id, values={"animal": "fox {{style}}"})
    batch = await client.submit(BatchRequest(template=use))
    assert [item.prompt for item in batch.generations] == ["a fox {{style}} in oil", "a sleeping fox {{style}}"]
    await client.delete_template("zoo")
    assert await client.templates() == ()
    with pytest.raises(NotFound):
        await client.submit(BatchRequest(template=use))


async def test_a_batch_becomes_a_template_without_its_seeds(client: BatchgenClient) -> None:
    batch = await client.submit(BatchRequest(prompts=(Prompt(text="one", seed=1, tags=("t",)), Prompt(text="two"))))

    template = await client.save_template("kept", batch_id=batch.id)

    assert template.request is not None
    assert template.request["prompts"] == [{"text": "one", "tags": ["t"]}, {"text": "two"}]


async def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(client: BatchgenClient) -> None:
    await client.save_template("animals", ANIMALS)

    with pytest.raises(Conflict, match="animals"):
        await client.save_template("animals", {"prompts": [{"text": "another"}]})
    replaced = await client.save_template("animals", {"prompts": [{"text": "another"}]}, replace=True)
    assert replaced.prompts == 1


async def test_an_unknown_name_is_refused_with_similar_ones(client: BatchgenClient) -> None:
    await client.save_template("animals", ANIMALS)

    with pytest.raises(NotFound) as refused:
        await client.template("animal")
    assert refused.value.remedy == "Did you mean animals?"


async def test_other_users_see_a_template_once_an_operator_publishes_it(
    client: BatchgenClient, operator: BatchgenClient, client_of: ClientOf, new_user: Callable[[], Awaitable[User]]
) -> None:
    name = f"shared {uuid4()}"
    template = await client.save_template(name, ANIMALS)
    other = await client_of(await new_user())

    with pytest.raises(NotFound):
        await other.template(template.id)
    with pytest.raises(InvalidRequest, match="Only an operator may publish"):
        await client.publish_template(template.id)
    await operator.publish_template(template.id)

    assert (await other.template(name)).is_own is False
    with pytest.raises(NotFound):
        await other.delete_template(name)
    await client.delete_template(name)


async def test_rows_become_batches_of_even_size_and_nothing_twice(client: BatchgenClient) -> None:
    template = await client.save_template("animals", ANIMALS, defaults={"style": "oil"})
    rows = [{"animal": f"fox {number}"} for number in range(6)]

    first = [batch async for batch in client.submit_rows(template, rows)]
    again = [batch.id async for batch in client.submit_rows(template, rows)]
    anew = [batch.id async for batch in client.submit_rows(template, rows, run="second")]

    assert [batch.total_count for batch in first] == [6, 6]
    prompts = [item.prompt for batch in first for item in batch.generations]
    assert prompts[::2] == [f"a fox {number} in oil" for number in range(6)]
    assert again == [batch.id for batch in first]
    assert not set(anew) & set(again)


async def test_rows_with_other_settings_become_batches_of_their_own(client: BatchgenClient) -> None:
    sized = {"prompts": [{"text": "{{animal}}"}, {"text": "b"}], "shared_settings": {"width": "{{width}}"}}
    template = await client.save_template("sized", sized)
    rows = [{"animal": "fox", "width": 512}, {"animal": "owl", "width": 512}, {"animal": "cat", "width": 256}]

    assert [batch.total_count async for batch in client.submit_rows(template, rows)] == [4, 2]


async def test_rows_that_make_more_items_than_prompts_go_into_smaller_batches(client: BatchgenClient) -> None:
    template = await client.save_template("varied", {"prompts": [{"text": "{{animal}}"}], "variations": {"count": 4}})

    batches = [batch async for batch in client.submit_rows(template, [{"animal": str(n)} for n in range(5)])]

    assert sum(batch.total_count for batch in batches) == 20
    assert max(batch.total_count for batch in batches) == 8
