"""Templates of requests: save, list, read, rename, delete, publish, and submit many rows of values."""

import hashlib
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from batchgen.client.caller import Caller
from batchgen.client.project_queries import check_is_operator
from batchgen.client.submit import create_batch
from batchgen.errors import InvalidRequest, NotFound
from batchgen.models import BatchRequest, CreatedBatch, TemplateUse
from batchgen.text import printable
from batchgen.validation import closest_matches

MOST_ROWS = 10_000
USUAL_BATCH_SIZE = 10

Row = Mapping[str, str | int | float]


class Placeholder(BaseModel):
    """A placeholder of a template."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    default: str | None = None
    """None if every request has to give a value."""
    in_settings: bool = False
    """Whether it is used outside the prompts; rows of one batch then need the same value."""


class BatchTemplate(BaseModel):
    """A template of a request."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    name: str
    placeholders: tuple[Placeholder, ...] = ()
    prompts: int = 0
    """How many prompts it has."""
    is_public: bool = False
    is_own: bool = True
    created_at: datetime
    updated_at: datetime
    request: Mapping[str, Any] | None = None
    """The request with its placeholders; None in a list of templates."""
    defaults: Mapping[str, str] | None = None


async def read_templates(caller: Caller) -> tuple[BatchTemplate, ...]:
    answer = await caller.rpc("list_batch_templates", _acting(caller))
    return tuple(BatchTemplate.model_validate(row) for row in answer["templates"])


async def read_template(caller: Caller, which: UUID | str) -> BatchTemplate:
    """A template by its id or name; the caller's own come before public ones of the same name."""
    return await _call(caller, "get_batch_template", {"p_template_id": str(await _id_of(caller, which))})


async def save_template(
    caller: Caller,
    name: str,
    *,
    request: Mapping[str, Any] | None,
    batch_id: UUID | None,
    defaults: Row | None,
    replace: bool,
) -> BatchTemplate:
    template = {"name": name, "request": request, "batch_id": str(batch_id) if batch_id else None}
    template |= {"defaults": dict(defaults or {}), "replace": replace}
    present = {key: value for key, value in template.items() if value is not None}
    return await _call(caller, "save_batch_template", {"p_template": present}, resends=True)


async def rename_template(caller: Caller, which: UUID | str, name: str) -> BatchTemplate:
    arguments = {"p_template_id": str(await _id_of(caller, which)), "p_name": name}
    return await _call(caller, "rename_batch_template", arguments, resends=True)


async def delete_template(caller: Caller, which: UUID | str) -> UUID:
    arguments = {"p_template_id": str(await _id_of(caller, which)), **_acting(caller)}
    return UUID((await caller.rpc("delete_batch_template", arguments))["deleted"])


async def publish_template(caller: Caller, which: UUID | str, *, is_public: bool) -> BatchTemplate:
    check_is_operator(caller, "publish a template")
    arguments = {"p_template_id": str(await _id_of(caller, which)), "p_is_public": is_public}
    answer = await caller.rpc("publish_batch_template", arguments, resends=True)
    return _template(answer)


async def submit_rows(
    caller: Caller, template: BatchTemplate, rows: Sequence[Row], request: BatchRequest, run: str
) -> AsyncGenerator[CreatedBatch]:
    """Create batches from rows of values, as many rows in each as fit. `request` has everything but the rows.

    Each batch's `client_key` comes from its rows and `run`, so that sending the same rows again makes nothing twice.
    """
    if len(rows) > MOST_ROWS:
        raise InvalidRequest(
            f"There are {len(rows)} rows; at most {MOST_ROWS} are allowed.",
            code="too_many_rows",
            field="rows",
            limit=MOST_ROWS,
            remedy="Split the table.",
        )
    use = request.template or TemplateUse(id=template.id)
    at_once = max(1, USUAL_BATCH_SIZE // max(1, template.prompts or len((template.request or {}).get("prompts", ()))))
    start = 0
    for group in _groups(template, rows):
        done = 0
        while done < len(group):
            left = len(group) - done
            size = -(-left // -(-left // at_once))
            some = tuple(group[done : done + size])
            body = request.model_copy(update={"template": use.model_copy(update={"rows": some, "values": None})})
            key = _client_key(body, start + done, run)
            try:
                created = await create_batch(caller, body.model_copy(update={"client_key": key}))
            except InvalidRequest as error:
                if size > 1 and error.code in ("too_many_prompts", "out_of_range", "too_large"):
                    at_once = size // 2
                    continue
                raise
            yield created
            done += size
        start += done


def _groups(template: BatchTemplate, rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Neighbouring rows that give the same settings."""
    shared = [one.name for one in template.placeholders if one.in_settings]
    for _, group in groupby(rows, key=lambda row: [str(row.get(name, "")) for name in shared]):
        yield list(group)


def _client_key(body: BatchRequest, start: int, run: str) -> str:
    text = json.dumps([body.body(), start, run], sort_keys=True)
    return f"rows-{hashlib.sha256(text.encode()).hexdigest()}"


async def _id_of(caller: Caller, which: UUID | str) -> UUID:
    if isinstance(which, UUID):
        return which
    try:
        return UUID(which)
    except ValueError:
        pass
    templates = await read_templates(caller)
    found = next((one for one in templates if one.name == which), None)
    if found:
        return found.id
    near = closest_matches(which, [one.name for one in templates], 3)
    offered = ", ".join(printable(name, 60) for name in near)
    raise NotFound(
        f"There is no template named {printable(which, 60)}.",
        code="template_not_found",
        field="name",
        remedy=f"Did you mean {offered}?" if near else "batchgen template list shows all templates.",
    )


async def _call(caller: Caller, function: str, arguments: Mapping[str, Any], *, resends: bool = False) -> BatchTemplate:
    return _template(await caller.rpc(function, {**arguments, **_acting(caller)}, resends=resends))


def _template(answer: Mapping[str, Any]) -> BatchTemplate:
    template = answer["template"]
    return BatchTemplate.model_validate({**template, "prompts": len(template["request"]["prompts"])})


def _acting(caller: Caller) -> dict[str, Any]:
    return {"p_user_id": str(caller.user_id)} if caller.user_id else {}
