"""Templates, choices and variations on the command line, beside a real worker."""

import json

from shell import Shell


async def test_submit_makes_variations_and_choices(signed_in: Shell) -> None:
    varied = await signed_in.run("submit", "a fox", "--variations", "3", "--seed", "0", "--json")
    seeded = await signed_in.run("submit", "a fox", "--seeds", "7,0", "--json")
    chosen = await signed_in.run("submit", "{red|blue} fox", "--choices", "all", "--json")
    wrong = await signed_in.run("submit", "{red|blue fox", "b", "--choices", "all", "--json")

    assert [item["seed"] for item in varied.json["generations"]] == [0, 1, 2]
    assert [item["seed"] for item in seeded.json["generations"]] == [7, 0]
    assert [item["prompt"] for item in chosen.json["generations"]] == ["red fox", "blue fox"]
    assert wrong.code == 2
    assert (wrong.error["code"], wrong.error["field"]) == ("choices_syntax", "prompts[0].text")
    assert wrong.error["message"] == "Prompt 1 has { at character 1 and no } that closes it."


async def test_a_template_is_saved_shown_submitted_and_deleted(signed_in: Shell) -> None:
    saved = await signed_in.run("template", "save", "zoo", "a {{animal}}", "a {{color}} owl", "--default", "color=grey")
    listed = await signed_in.run("template", "list")
    shown = await signed_in.run("template", "show", "zoo")
    missing = await signed_in.run("template", "submit", "zoo", "--json")
    shown_first = await signed_in.run("template", "submit", "zoo", "--set", "animal=fox", "--preview", "--json")
    made = await signed_in.run("template", "submit", "zoo", "--set", "animal=fox", "--wait", "--json")
    renamed = await signed_in.run("template", "rename", "zoo", "farm", "--json")
    deleted = await signed_in.run("template", "delete", "farm")
    gone = await signed_in.run("template", "show", "farm", "--json")

    assert saved.stdout == "Template zoo saved; it takes values for animal, color.\n", saved.stderr
    assert "animal, color=grey" in listed.stdout
    assert '"text": "a {{animal}}"' in shown.stdout
    assert (missing.code, missing.error["field"]) == (2, "template.values.animal")
    assert [item["prompt"] for item in shown_first.json["items"]] == ["a fox", "a grey owl"]
    assert made.code == 0, made.stderr
    assert [item["prompt"] for item in made.json["generations"]] == ["a fox", "a grey owl"]
    assert renamed.json["name"] == "farm"
    assert deleted.stdout == "Template farm deleted.\n"
    assert (gone.code, gone.error["code"]) == (2, "template_not_found")


async def test_the_rows_of_a_csv_file_become_batches_once(signed_in: Shell) -> None:
    await signed_in.run("template", "save", "pairs", "a {{animal}}", "a {{color}} {{animal}}")
    table = "animal,color\r\n" + "".join(f'"fox, {n}",red\r\n' for n in range(7))

    first = await signed_in.run("template", "submit", "pairs", "--csv", "-", "--json", stdin=table)
    again = await signed_in.run("template", "submit", "pairs", "--csv", "-", "--json", stdin=table)
    wrong = await signed_in.run("template", "submit", "pairs", "--csv", "-", "--json", stdin="animal,size\nfox,2\n")
    waiting = await signed_in.run("template", "submit", "pairs", "--csv", "-", "--wait", "--json", stdin=table)

    assert [batch["total_count"] for batch in first.json] == [8, 6], first.stderr
    assert first.json[0]["generations"][1]["prompt"] == "a red fox, 0"
    assert [batch["id"] for batch in again.json] == [batch["id"] for batch in first.json]
    assert (wrong.code, wrong.error["field"]) == (2, "template.rows[0].size")
    assert (waiting.code, waiting.error["code"]) == (2, "wrong_usage")


async def test_a_template_comes_from_json_with_placeholders_for_numbers(signed_in: Shell) -> None:
    request = {"prompts": ["a fox", {"text": "an owl", "seed": "{{seed}}"}], "shared_settings": {"width": "{{width}}"}}

    saved = await signed_in.run("template", "save", "sized", "--json-file", "-", "--json", stdin=json.dumps(request))
    made = await signed_in.run(
        "template", "submit", "sized", "--set", "seed=0", "--set", "width=256", "--choices", "all", "--json"
    )

    assert saved.code == 0, saved.stderr
    assert made.json["generations"][1]["seed"] == 0
    shown = await signed_in.run("show", made.json["batch"]["id"], "--json")
    assert shown.json["generations"][0]["width"] == 256
