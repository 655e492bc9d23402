"""The commands `template save`, `list`, `show`, `rename`, `delete`, `publish` and `submit`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchgen.cli.commands import open_client
from batchgen.cli.commands import submit as submit_request
from batchgen.cli.details_commands import preview as preview_request
from batchgen.cli.formatting import table_of
from batchgen.cli.options import FollowOptions, RunAs
from batchgen.cli.output import Output
from batchgen.client.ids import short_id
from batchgen.client.templates import BatchTemplate, Placeholder, Row
from batchgen.errors import InvalidRequest
from batchgen.exit_codes import DONE
from batchgen.models import BatchRequest, Choices, CreatedBatch, TemplateUse, Variations
from batchgen.settings import Settings
from batchgen.text import printable


@dataclass(frozen=True)
class Filling:
    """What `template submit` puts into a template."""

    values: Row
    rows: Sequence[Row] | None
    values_have_choices: bool
    choices: Choices | None
    variations: Variations | None
    batch_name: str | None
    client_key: str | None
    again: str


async def save(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    name: str,
    *,
    request: Mapping[str, Any] | None,
    batch_id: str | None,
    defaults: Row,
    replace: bool,
) -> int:
    async with await open_client(out, settings, run_as, "Saving …") as client:
        template = await client.save_template(name, request, batch_id=batch_id, defaults=defaults, replace=replace)
    return _print(out, template, f"Template {printable(template.name)} saved{_needs(template)}.")


async def show_list(out: Output, settings: Settings, run_as: RunAs) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            templates = await client.templates()
    if out.as_json:
        out.json([one.model_dump(mode="json", exclude={"request", "defaults"}) for one in templates])
    elif templates:
        rows = [
            (
                printable(one.name),
                str(one.prompts),
                printable(", ".join(_with_default(placeholder) for placeholder in one.placeholders)),
                ("yours" if one.is_own else "public") + (", public" if one.is_own and one.is_public else ""),
            )
            for one in templates
        ]
        out.show(table_of("Template", "Prompts", "Placeholders", "Whose", rows=rows, right="Prompts"))
    else:
        out.note("No templates yet. Make one with batchgen template save.")
    return DONE


async def show(out: Output, settings: Settings, run_as: RunAs, name: str) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            template = await client.template(name)
    if out.as_json:
        return _print(out, template, "")
    out.lines([f"{printable(template.name)}  {template.id}{'  public' if template.is_public else ''}"])
    out.lines(printable(_with_default(one)) for one in template.placeholders)
    out.lines(printable(line) for line in json.dumps(template.request, indent=2, ensure_ascii=False).splitlines())
    return DONE


async def rename(out: Output, settings: Settings, run_as: RunAs, name: str, new_name: str) -> int:
    async with await open_client(out, settings, run_as, "Renaming …") as client:
        template = await client.rename_template(name, new_name)
    return _print(out, template, f"The template is named {printable(template.name)} now.")


async def delete(out: Output, settings: Settings, run_as: RunAs, name: str) -> int:
    async with await open_client(out, settings, run_as, "Deleting …") as client:
        deleted = await client.delete_template(name)
    if out.as_json:
        out.json({"deleted": str(deleted)})
    else:
        out.lines([f"Template {printable(name)} deleted."])
    return DONE


async def publish(out: Output, settings: Settings, run_as: RunAs, name: str, *, is_public: bool) -> int:
    async with await open_client(out, settings, run_as, "Publishing …") as client:
        template = await client.publish_template(name, is_public=is_public)
    return _print(out, template, f"Template {printable(template.name)} is {'public' if is_public else 'private'}.")


async def submit(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    name: str,
    filling: Filling,
    following: FollowOptions | None,
    *,
    preview: bool = False,
) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        template = await client.template(name)
        request = BatchRequest(
            template=TemplateUse(
                id=template.id, values=filling.values, values_have_choices=filling.values_have_choices
            ),
            choices=filling.choices,
            variations=filling.variations,
            batch_name=filling.batch_name,
            client_key=filling.client_key,
        )
        if filling.rows is not None:
            _check_rows(filling, following, preview=preview)
            rows = [{**filling.values, **row} for row in filling.rows]
            made: list[CreatedBatch] = []
            try:
                async for created in client.submit_rows(template, rows, request, run=filling.again):
                    made.append(created)
                    out.note(f"Batch {short_id(created.id)} submitted: {created.total_count} pictures.")
            except InvalidRequest as error:
                if made:
                    out.note(f"{len(made)} batches are submitted; the same command goes on after them.")
                raise error from error.__cause__
            return _print_rows(out, made)
    if preview:
        return await preview_request(out, settings, run_as, request)
    return await submit_request(out, settings, run_as, request, following)


def _check_rows(filling: Filling, following: FollowOptions | None, *, preview: bool) -> None:
    """Refuse options that are for one batch."""
    given = {
        "--wait, --save-to and --contact-sheet": following,
        "--client-key": filling.client_key,
        "--preview": preview or None,
    }
    for options, value in given.items():
        if value is not None:
            raise InvalidRequest(
                f"{options} cannot be given with --csv, which may make several batches.",
                code="wrong_usage",
                field="csv",
                remedy="Leave it out; batchgen watch follows each batch.",
            )


def _print_rows(out: Output, made: Sequence[CreatedBatch]) -> int:
    if out.as_json:
        out.json([one.model_dump(mode="json") for one in made])
    else:
        pictures = sum(one.total_count for one in made)
        out.lines([f"{len(made)} batches with {pictures} pictures."])
    return DONE


def _print(out: Output, template: BatchTemplate, sentence: str) -> int:
    if out.as_json:
        out.json(template)
    else:
        out.lines([sentence])
    return DONE


def _needs(template: BatchTemplate) -> str:
    names = [one.name for one in template.placeholders]
    return f"; it takes values for {printable(', '.join(names))}" if names else ""


def _with_default(placeholder: Placeholder) -> str:
    return placeholder.name if placeholder.default is None else f"{placeholder.name}={placeholder.default}"
