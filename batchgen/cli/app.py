"""The command line's parser. Exit codes: see `batchgen.exit_codes`."""

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchgen.cli.options import Edits, FollowOptions, RunAs
from batchgen.cli.output import Output
from batchgen.client.ids import check_batch_id
from batchgen.errors import BatchgenError, InvalidRequest
from batchgen.exit_codes import BROKEN, INTERRUPTED, INVALID, UNREAD

if TYPE_CHECKING:
    from batchgen.settings import Settings

Command = Callable[[Output, "Settings"], Coroutine[Any, Any, int]]
PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


class FileKind(StrEnum):
    """How a file holds prompts."""

    TEXT = "text"
    CSV = "csv"
    JSONL = "jsonl"


class MissedRule(StrEnum):
    """Which missed runs of a schedule are made up for."""

    SKIP = "skip"
    ONE = "one"
    ALL = "all"


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON: results to stdout, errors to stderr.")]
UserOption = Annotated[
    str | None,
    typer.Option(envvar="BATCHGEN_USER", help="Act as operator for this user: an id, its first digits, or an e-mail."),
]
OperatorOption = Annotated[
    bool,
    typer.Option("--operator", envvar="BATCHGEN_OPERATOR", help="Act as operator for all users, with the secret key."),
]
BatchIdArgument = Annotated[
    str,
    typer.Argument(
        callback=check_batch_id,
        metavar="ID",
        help="The batch's id or its first digits; latest or - is the newest batch.",
    ),
]
ItemOption = Annotated[
    list[str] | None,
    typer.Option("--item", metavar="ITEM", help="Only this item, by its number or id; can be repeated."),
]
ScheduleIdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The schedule's id or its first digits, at least four.")
]
CronOption = Annotated[
    str | None,
    typer.Option(metavar="CRON", help="Minute, hour, day of month, month, day of week: '0 9 * * mon-fri'."),
]
AtOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Run once: 2027-03-01T09:00 in --time-zone, or with an offset.")
]
MissedOption = Annotated[
    MissedRule | None, typer.Option(help="Which missed and refused runs are made up for: none, the last one or all.")
]
SaveToOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Wait, then download the pictures to this folder.")
]
VariationsOption = Annotated[
    int | None, typer.Option(metavar="N", help="Make each prompt N times, with random seeds or from --seed on.")
]
SeedsOption = Annotated[
    str | None, typer.Option(metavar="SEED,…", help="Make each prompt once with each of these seeds.")
]
ChoicesOption = Annotated[
    str | None,
    typer.Option(metavar="all|sample:N", help="Expand choices such as {red|blue}: every combination, or N of them."),
]
ChoicesSeedOption = Annotated[int | None, typer.Option(help="Makes --choices sample repeatable.")]
TemplateArgument = Annotated[str, typer.Argument(metavar="NAME", help="The template's name or id.")]
ValueOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A value of a placeholder; can be repeated.")
]
ContactSheetOption = Annotated[bool, typer.Option("--contact-sheet", help="Wait, then draw all pictures on one PNG.")]

app = typer.Typer(
    help="Submit and follow batches of image prompts on Supabase.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
storage = typer.Typer(
    help="Check the bucket, make thumbnails, switch access (operators).",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(storage, name="storage")
credits = typer.Typer(help="Show, grant and adjust credits.", invoke_without_command=True, rich_markup_mode=None)
app.add_typer(credits, name="credits")
template = typer.Typer(help="Keep and use templates of requests.", invoke_without_command=True, rich_markup_mode=None)
app.add_typer(template, name="template")
schedule = typer.Typer(help="Run requests at set times.", invoke_without_command=True, rich_markup_mode=None)
app.add_typer(schedule, name="schedule")


class CostsBy(StrEnum):
    """How costs are grouped."""

    BATCH = "batch"
    USER = "user"
    DAY = "day"
    MODEL = "model"


@dataclass
class State:
    """The options before the command."""

    output: Output
    env_file: Path | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Errors of usage are raised before the options are parsed, and must be JSON as well.
    state = State(Output(as_json="--json" in arguments))
    # Without a handler, Python would print realtime-py's warnings over the bars. A watch does not need Realtime.
    logging.getLogger("realtime").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    try:
        code: object = typer.main.get_command(app).main(arguments, "batchgen", standalone_mode=False, obj=state)
    except BatchgenError as error:
        return state.output.error(error)
    except typer.TyperException as error:
        return _print_usage_error(state.output, error)
    except typer.Abort:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - a bug must not look like exit code 1, a batch that failed
        traceback.print_exc()
        return BROKEN
    return code if isinstance(code, int) else 0


def _version(is_wanted: bool) -> None:
    if is_wanted:
        import importlib.metadata

        typer.echo(f"batchgen {importlib.metadata.version('batchgen')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option(envvar="BATCHGEN_ENV_FILE", metavar="FILE", help="Read settings from FILE instead of .env."),
    ] = None,
    as_json: JsonOption = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Submit and follow batches of image prompts on Supabase."""
    context.obj.env_file = env_file
    context.obj.output.as_json |= as_json
    _help_without_command(context)


@storage.callback()
def storage_commands(context: typer.Context) -> None:
    """Check the bucket of the pictures, make thumbnails, and say who can see pictures (operators)."""
    _help_without_command(context)


@template.callback()
def template_commands(context: typer.Context) -> None:
    """Keep and use templates of requests, with placeholders such as {{animal}}."""
    _help_without_command(context)


@credits.callback()
def credit_commands(context: typer.Context) -> None:
    """Show, grant and adjust the credits that users pay for pictures with."""
    _help_without_command(context)


@schedule.callback()
def schedule_commands(context: typer.Context) -> None:
    """Run requests at set times: once, or again and again by a cron expression."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
def submit(
    context: typer.Context,
    prompts: Annotated[list[str] | None, typer.Argument(help="The prompts, one argument each.")] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="One prompt per line, any number; or a .csv or .jsonl file; - is stdin."),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A list of prompts or a whole request as JSON; - is stdin.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model's name or id; batchgen models lists them. Default: the default model.")
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="A version of the model instead of its own.")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels.")] = None,
    steps: Annotated[int | None, typer.Option(help="Inference steps.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="How closely the model follows the prompt.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="For prompts without their own.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the first picture; each further one gets the next number.")
    ] = None,
    variations: VariationsOption = None,
    seeds: SeedsOption = None,
    choices: ChoicesOption = None,
    choices_seed: ChoicesSeedOption = None,
    name: Annotated[str | None, typer.Option(help="The batch's name.")] = None,
    client_key: Annotated[
        str | None, typer.Option(help="Safe resend: the same key and request return the same batch.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="For all pictures; can be repeated.")] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show items, price, time and limits; submit nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless all are completed.")] = False,
    save_to: SaveToOption = None,
    contact_sheet: ContactSheetOption = False,
    file_format: Annotated[
        FileKind | None, typer.Option("--format", help="Of --file, if its name does not tell.")
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the summary of a large file goes.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Submit a large file once more that was submitted whole before.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Submit a batch of prompts, or a file of any length as many batches.

    Give the prompts as arguments, as a file with one per line, or as JSON.
    """
    from batchgen.cli.input import request_from
    from batchgen.cli.prompts import choices_from, variations_from

    shared = {"model_id": model, "model_version": model_version, "width": width, "height": height}
    options: dict[str, Any] = {
        "shared": {**shared, "steps": steps, "guidance_scale": guidance_scale},
        "name": name,
        "client_key": client_key,
        "negative_prompt": negative_prompt,
        "seed": seed,
        "tags": tag or (),
        "choices": choices_from(choices, choices_seed),
        "variations": variations_from(variations, seeds),
    }
    if file is not None and not prompts and json_file is None and not preview:
        from batchgen.cli.job_input import job_from

        kind = file_format and file_format.value
        following = _following(wait, save_to, contact_sheet)
        job = job_from(file, kind, options, again=again, summary=summary, following=following)
        return _run(
            context,
            as_json,
            lambda out, settings: _job_commands().submit_file(out, settings, _run_as(user, operator), job),
        )
    request = request_from(prompts or (), file, json_file, **options)
    if preview:
        return _run(
            context,
            as_json,
            lambda out, settings: _details_commands().preview(out, settings, _run_as(user, operator), request),
        )
    following = _following(wait, save_to, contact_sheet)
    return _run(
        context,
        as_json,
        lambda out, settings: _commands().submit(out, settings, _run_as(user, operator), request, following),
    )


@app.command()
def watch(
    context: typer.Context,
    batch_id: BatchIdArgument,
    user: UserOption = None,
    operator: OperatorOption = False,
    save_to: SaveToOption = None,
    contact_sheet: ContactSheetOption = False,
    as_json: JsonOption = False,
) -> int:
    """Follow a batch live until its end.

    The exit code is 1 unless all pictures are completed.
    """
    following = FollowOptions(save_to, contact_sheet, every_snapshot=True)
    return _run(
        context,
        as_json,
        lambda out, settings: _commands().watch(out, settings, _run_as(user, operator), batch_id, following),
    )


@app.command("list")
def show_list(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    state: Annotated[
        str | None, typer.Option(help="pending, processing, completed, partial, failed, active, ended or trashed.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Batches with a picture that has this tag.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Text in the name or a prompt.")] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the newest batches."""
    run_as = _run_as(user, operator)
    if state is None and tag is None and search is None:
        return _run(context, as_json, lambda out, settings: _commands().show_list(out, settings, run_as, limit))
    return _run(
        context,
        as_json,
        lambda out, settings: _details_commands().find(
            out, settings, run_as, limit, state=state, tag=tag, search=search
        ),
    )


@app.command()
def show(
    context: typer.Context,
    batch_id: BatchIdArgument,
    everything: Annotated[
        bool, typer.Option("--long", help="All details: whole prompts, settings, addresses.")
    ] = False,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show one batch, item by item."""
    return _run(
        context,
        as_json,
        lambda out, settings: _commands().show(out, settings, _run_as(user, operator), batch_id, everything=everything),
    )


@app.command()
def cancel(
    context: typer.Context,
    batch_id: BatchIdArgument,
    item: ItemOption = None,
    waiting_only: Annotated[
        bool, typer.Option("--waiting-only", help="Let running items finish: they are paid for.")
    ] = False,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Cancel the items of a batch that wait or run.

    Waiting items end at once; running ones are cancelled at their provider.
    """
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().cancel(
            out, settings, _run_as(user, operator), batch_id, item, waiting_only=waiting_only
        ),
    )


@app.command()
def retry(
    context: typer.Context,
    batch_id: BatchIdArgument,
    item: ItemOption = None,
    prompt: Annotated[str | None, typer.Option(help="Another prompt for the items of --item.")] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help="Another negative prompt for them; empty removes it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed for them.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model for them: its name or id.")] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless all are completed.")] = False,
    save_to: SaveToOption = None,
    contact_sheet: ContactSheetOption = False,
    as_json: JsonOption = False,
) -> int:
    """Queue failed items of a batch again.

    With --item, they may get another prompt, negative prompt, seed or model.
    """
    edits = Edits(prompt, negative_prompt, seed, model)
    if edits and not item:
        raise InvalidRequest(
            "Changes need the items to change.", code="item_missing", field="item", remedy="Name them with --item."
        )
    following = _following(wait, save_to, contact_sheet)
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().retry(
            out, settings, _run_as(user, operator), batch_id, item, edits, following
        ),
    )


@app.command()
def save(
    context: typer.Context,
    batch_id: BatchIdArgument,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Also download the pictures to this folder.")] = None,
    item: ItemOption = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Keep a batch's pictures; --to downloads them.

    No retention setting removes kept pictures.
    """
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().save(out, settings, _run_as(user, operator), batch_id, item, to),
    )


@app.command()
def tag(
    context: typer.Context,
    batch_id: BatchIdArgument,
    tags: Annotated[list[str], typer.Argument(metavar="TAG", help="Tags; upper case becomes lower case.")],
    item: ItemOption = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Put tags on the pictures of a batch."""
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().tag(out, settings, _run_as(user, operator), batch_id, tags, item),
    )


@app.command()
def untag(
    context: typer.Context,
    batch_id: BatchIdArgument,
    tags: Annotated[list[str], typer.Argument(metavar="TAG", help="Tags; upper case becomes lower case.")],
    item: ItemOption = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Remove tags from the pictures of a batch."""
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().untag(out, settings, _run_as(user, operator), batch_id, tags, item),
    )


@app.command()
def delete(
    context: typer.Context,
    batch_id: BatchIdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    item: ItemOption = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Delete the pictures of a batch and their files for good."""
    from batchgen.cli.input import check_terminal, is_confirmed

    run_as = _run_as(user, operator)
    meant: list[str] = []

    async def announce(out: Output, settings: "Settings") -> int:
        meant.append(await _action_commands().announce(out, settings, run_as, batch_id))
        return 0

    if not yes:
        check_terminal()
        if code := _run(context, as_json, announce):
            return code
        which_ones = f"the pictures of {len(item)} of its items" if item else "all its pictures"
        if not is_confirmed(f"Delete {which_ones} for good?"):
            context.obj.output.note("Nothing was deleted.")
            return INTERRUPTED
    # Delete the batch that was shown, even if another one is the newest by now.
    which = meant[0] if meant else batch_id
    return _run(context, as_json, lambda out, settings: _action_commands().delete(out, settings, run_as, which, item))


@app.command()
def similar(
    context: typer.Context,
    batch_id: BatchIdArgument,
    item: ItemOption = None,
    count: Annotated[int | None, typer.Option(help="How many of each picture.")] = None,
    client_key: Annotated[
        str | None, typer.Option(help="Safe resend: the same key and request return the same batch.")
    ] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless all are completed.")] = False,
    save_to: SaveToOption = None,
    contact_sheet: ContactSheetOption = False,
    as_json: JsonOption = False,
) -> int:
    """Submit a new batch with the prompts and settings of pictures, and new seeds."""
    from batchgen.cli import new_batch_commands

    following = _following(wait, save_to, contact_sheet)
    return _run(
        context,
        as_json,
        lambda out, settings: new_batch_commands.similar(
            out, settings, _run_as(user, operator), batch_id, item, count, client_key, following
        ),
    )


@app.command()
def again(
    context: typer.Context,
    batch_id: BatchIdArgument,
    item: ItemOption = None,
    model: Annotated[str | None, typer.Option(help="Another model: its name or id.")] = None,
    model_version: Annotated[str | None, typer.Option(help="Another version of the model.")] = None,
    width: Annotated[int | None, typer.Option(help="Another width, in pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Another height, in pixels.")] = None,
    steps: Annotated[int | None, typer.Option(help="Other inference steps.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Another guidance scale.")] = None,
    client_key: Annotated[
        str | None, typer.Option(help="Safe resend: the same key and request return the same batch.")
    ] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless all are completed.")] = False,
    save_to: SaveToOption = None,
    contact_sheet: ContactSheetOption = False,
    as_json: JsonOption = False,
) -> int:
    """Submit a batch again as a new one, with the same seeds.

    Options give it another model or size.
    """
    from batchgen.cli import new_batch_commands
    from batchgen.models import SharedSettings

    following = _following(wait, save_to, contact_sheet)
    changes = SharedSettings(
        model_id=model,
        model_version=model_version,
        width=width,
        height=height,
        steps=steps,
        guidance_scale=guidance_scale,
    )
    return _run(
        context,
        as_json,
        lambda out, settings: new_batch_commands.again(
            out, settings, _run_as(user, operator), batch_id, item, changes, client_key, following
        ),
    )


@app.command("trash")
def put_into_trash(
    context: typer.Context,
    batch_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The batch to throw away; without one, the trash is listed."),
    ] = None,
    item: ItemOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many entries to list, newest first.")] = 20,
    before: Annotated[str | None, typer.Option(metavar="CURSOR", help="List the page after this one.")] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Put a batch, or pictures of it, into the trash; or list the trash.

    restore takes them back until they are deleted after some days.
    """
    from batchgen.cli import trash_commands

    run_as = _run_as(user, operator)
    if batch_id is None:
        if item:
            raise InvalidRequest(
                "--item needs the batch.", code="wrong_usage", field="id", remedy="Give the batch's id first."
            )
        return _run(
            context,
            as_json,
            lambda out, settings: trash_commands.show_trash(out, settings, run_as, limit=limit, before=before),
        )
    which = check_batch_id(batch_id)
    return _run(context, as_json, lambda out, settings: trash_commands.trash(out, settings, run_as, which, item))


@app.command()
def restore(
    context: typer.Context,
    batch_id: BatchIdArgument,
    item: ItemOption = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Take a batch, or pictures of it, out of the trash."""
    from batchgen.cli import trash_commands

    return _run(
        context,
        as_json,
        lambda out, settings: trash_commands.restore(out, settings, _run_as(user, operator), batch_id, item),
    )


@app.command("empty-trash")
def empty_trash(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> int:
    """Delete everything in the trash for good."""
    from batchgen.cli import trash_commands
    from batchgen.cli.input import check_terminal, is_confirmed

    if not yes:
        check_terminal()
        if not is_confirmed("Delete everything in the trash for good?"):
            context.obj.output.note("Nothing was deleted.")
            return INTERRUPTED
    return _run(context, as_json, lambda out, settings: trash_commands.empty_trash(out, settings, _run_as(user, False)))


@app.command()
def rate(
    context: typer.Context,
    batch_id: BatchIdArgument,
    stars: Annotated[int, typer.Argument(metavar="STARS", min=1, max=5, help="1 to 5.")],
    comment: Annotated[str | None, typer.Option(help="A sentence about the batch.")] = None,
    item: ItemOption = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Rate a batch, or with --item its pictures, with 1 to 5 stars.

    A later rating replaces the earlier one.
    """
    if comment is not None and item:
        raise InvalidRequest(
            "A comment is for a batch, not for its items.",
            code="wrong_usage",
            field="comment",
            remedy="Leave out --comment or --item.",
        )
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().rate(
            out, settings, _run_as(user, operator), batch_id, stars, comment, item
        ),
    )


@app.command()
def export(
    context: typer.Context,
    batch_ids: Annotated[
        list[str],
        typer.Argument(metavar="ID…", help="Ids of batches or their first digits; latest or - is the newest batch."),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The ZIP file to write; - is stdout. With --request: the folder for the files."
        ),
    ] = None,
    request: Annotated[
        bool, typer.Option("--request", help="Have a worker build the export; with --to, wait and download it.")
    ] = False,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Write the pictures of batches to a ZIP file.

    With a manifest that batchgen import runs again, and a table for spreadsheets.
    """
    for batch_id in batch_ids:
        check_batch_id(batch_id)
    return _run(
        context,
        as_json,
        lambda out, settings: _export_commands().export(
            out, settings, _run_as(user, operator), batch_ids, to, request=request
        ),
    )


@app.command("exports")
def show_exports(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the exports that workers build, with links while they are ready."""
    return _run(
        context,
        as_json,
        lambda out, settings: _export_commands().show_exports(out, settings, _run_as(user, operator), limit),
    )


@app.command("import")
def import_files(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="A manifest.json or a ZIP file of an export.")],
    model: Annotated[str | None, typer.Option(help="Run all items with this model, a name or an id.")] = None,
    again: Annotated[
        str, typer.Option(metavar="TEXT", help="Import once more what was imported before; each text once.")
    ] = "",
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Run the items of an export again as new batches.

    Repeating the same import submits nothing twice.
    """
    return _run(
        context,
        as_json,
        lambda out, settings: _export_commands().import_files(
            out, settings, _run_as(user, operator), files, model=model, again=again
        ),
    )


@app.command()
def login(
    context: typer.Context,
    email: Annotated[str | None, typer.Option(help="Asked for if missing.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    sign_up: Annotated[bool, typer.Option("--sign-up", help="Create an account.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Sign in with e-mail and password.

    Later commands use the session.
    """
    from batchgen.cli.input import password_from

    address, password = password_from(email, password_stdin=password_stdin, twice=sign_up)
    return _run(
        context, as_json, lambda out, settings: _commands().login(out, settings, address, password, sign_up=sign_up)
    )


@app.command()
def logout(context: typer.Context, as_json: JsonOption = False) -> int:
    """Sign out, here and on the server."""
    return _run(context, as_json, lambda out, settings: _commands().logout(out, settings))


@storage.command("check")
def storage_check(
    context: typer.Context,
    fix: Annotated[
        bool, typer.Option("--fix", help="Remove files without a row and archive rows without a file.")
    ] = False,
    grace_hours: Annotated[
        float, typer.Option(min=1, max=8760, help="Ignore files and rows younger than this many hours.")
    ] = 48,
    as_json: JsonOption = False,
) -> int:
    """Find files without a row of images, and rows without a file.

    The exit code is 1 if some are left.
    """
    return _run(
        context,
        as_json,
        lambda out, settings: _operator_commands().check_storage(out, settings, fix=fix, grace_hours=grace_hours),
    )


@schedule.command("create")
def create_schedule(
    context: typer.Context,
    prompts: Annotated[list[str] | None, typer.Argument(help="The prompts, one argument each.")] = None,
    file: Annotated[str | None, typer.Option(metavar="FILE", help="One prompt per line; - is stdin.")] = None,
    json_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A list of prompts or a whole request as JSON; - is stdin.")
    ] = None,
    cron: CronOption = None,
    at: AtOption = None,
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="IANA time zone of --cron and --at, such as Europe/Berlin.")
    ] = "UTC",
    missed: MissedOption = None,
    paused: Annotated[bool, typer.Option("--paused", help="Create it paused.")] = False,
    model: Annotated[str | None, typer.Option(help="A model's name or id.")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the schedule and its batches.")] = None,
    client_key: Annotated[
        str | None, typer.Option(help="Safe resend: the same key and schedule return the same schedule.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="For all pictures; can be repeated.")] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Run a request at a time, or again and again.

    Give the prompts as for batchgen submit; a JSON request has all settings.
    """
    from batchgen.cli.input import request_from

    shared = {"model_id": model, "width": width, "height": height}
    request = request_from(
        prompts or (),
        file,
        json_file,
        shared=shared,
        name=name,
        client_key=None,
        negative_prompt=None,
        seed=None,
        tags=tag or (),
    )
    times = _schedule_commands().read_times(cron, at, time_zone, needed=True)
    fields = {**times, "missed_runs": missed and missed.value, "paused": paused, "name": name, "client_key": client_key}
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().create(out, settings, _run_as(user, operator), request, fields),
    )


@schedule.command("list")
def list_schedules(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 100,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the schedules."""
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().show_list(out, settings, _run_as(user, operator), limit),
    )


@schedule.command("show")
def show_schedule(
    context: typer.Context,
    schedule_id: ScheduleIdArgument,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs, newest first.")] = 20,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show a schedule, its next runs and the batches that it made."""
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().show(out, settings, _run_as(user, operator), schedule_id, limit),
    )


@schedule.command("preview")
def preview_schedule(
    context: typer.Context,
    schedule_or_cron: Annotated[
        str, typer.Argument(metavar="ID|CRON", help="A schedule's id, or a cron expression in quotes.")
    ],
    time_zone: Annotated[str, typer.Option(metavar="ZONE", help="IANA time zone of a cron expression.")] = "UTC",
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show the next five runs of a schedule, or of any cron expression."""
    if len(schedule_or_cron.split()) > 1:
        context.obj.output.as_json |= as_json
        return _schedule_commands().preview_cron(context.obj.output, schedule_or_cron, time_zone)
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().preview(out, settings, _run_as(user, operator), schedule_or_cron),
    )


@schedule.command("edit")
def edit_schedule(
    context: typer.Context,
    schedule_id: ScheduleIdArgument,
    file: Annotated[str | None, typer.Option(metavar="FILE", help="New prompts, one per line; - is stdin.")] = None,
    json_file: Annotated[str | None, typer.Option(metavar="FILE", help="A new request as JSON; - is stdin.")] = None,
    cron: CronOption = None,
    at: AtOption = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="IANA time zone, such as Europe/Berlin.")
    ] = None,
    missed: MissedOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the schedule.")] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Change some fields of a schedule; new times count from now on."""
    from batchgen.cli.input import request_from

    request = None
    if file is not None or json_file is not None:
        request = request_from(
            (),
            file,
            json_file,
            shared={},
            name=None,
            client_key=None,
            negative_prompt=None,
            seed=None,
            tags=(),
        )
    times = _schedule_commands().read_times(cron, at, time_zone, needed=False)
    fields = {**times, "missed_runs": missed and missed.value, "name": name}
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().edit(
            out, settings, _run_as(user, operator), schedule_id, request, fields
        ),
    )


@schedule.command("pause")
def pause_schedule(
    context: typer.Context,
    schedule_id: ScheduleIdArgument,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Run nothing until it is resumed."""
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().pause(out, settings, _run_as(user, operator), schedule_id),
    )


@schedule.command("resume")
def resume_schedule(
    context: typer.Context,
    schedule_id: ScheduleIdArgument,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Go on with the next run; those of the pause are left out."""
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().resume(out, settings, _run_as(user, operator), schedule_id),
    )


@schedule.command("delete")
def delete_schedule(
    context: typer.Context,
    schedule_id: ScheduleIdArgument,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Delete a schedule; its batches stay."""
    return _run(
        context,
        as_json,
        lambda out, settings: _schedule_commands().delete(out, settings, _run_as(user, operator), schedule_id),
    )


@storage.command("thumbnails")
def storage_thumbnails(context: typer.Context, as_json: JsonOption = False) -> int:
    """Make the thumbnails that pictures lack.

    Run it again after an interruption: it continues. The exit code is 1 if some could not be made.
    """
    from scheduler.thumbnails import make_thumbnails

    return _run(
        context,
        as_json,
        lambda out, settings: _storage_commands().make_thumbnails(out, settings, make_thumbnails),
    )


@storage.command("public")
def storage_public(context: typer.Context, as_json: JsonOption = False) -> int:
    """Let anyone who knows the address of a picture see it."""
    return _run(context, as_json, lambda out, settings: _storage_commands().set_picture_access(out, settings, "public"))


@storage.command("private")
def storage_private(context: typer.Context, as_json: JsonOption = False) -> int:
    """Let only owners see their pictures, by signed links that expire.

    Public addresses stop working. Run it again if it was interrupted.
    """
    return _run(
        context, as_json, lambda out, settings: _storage_commands().set_picture_access(out, settings, "private")
    )


@app.command("models")
def show_models(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Include inactive models (operators).")] = False,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """List the models that a request can name."""
    return _run(
        context,
        as_json,
        lambda out, settings: _operator_commands().show_models(
            out, settings, _run_as(user, operator), everything=everything
        ),
    )


@app.command("workers")
def show_workers(context: typer.Context, as_json: JsonOption = False) -> int:
    """List the workers of the last day (operators)."""
    return _run(context, as_json, lambda out, settings: _operator_commands().show_workers(out, settings))


@app.command("costs")
def show_costs(
    context: typer.Context,
    by: Annotated[CostsBy, typer.Option(help="Group by this.")] = CostsBy.DAY,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"],
            metavar="TIME",
            help="Only later orders: 2026-11-28 (UTC) or 2026-11-28T09:00:00+01:00.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many rows.")] = 100,
    as_json: JsonOption = False,
) -> int:
    """Show the costs of pictures (operators)."""
    return _run(
        context,
        as_json,
        lambda out, settings: _operator_commands().show_costs(out, settings, by=by.value, since=since, limit=limit),
    )


@credits.command("show")
def show_credits(
    context: typer.Context, user: UserOption = None, operator: OperatorOption = False, as_json: JsonOption = False
) -> int:
    """Show the balance, what is held for items under way, and the price of a picture per model."""
    return _run(
        context,
        as_json,
        lambda out, settings: _credit_commands().show_credits(out, settings, _run_as(user, operator)),
    )


@credits.command("history")
def credit_history(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many entries.")] = 50,
    before: Annotated[
        int | None, typer.Option(metavar="ID", help="Only entries older than this one: the last id of a page.")
    ] = None,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """List grants, holds, captures, releases and adjustments, newest first."""
    return _run(
        context,
        as_json,
        lambda out, settings: _credit_commands().show_history(
            out, settings, _run_as(user, operator), limit=limit, before=before
        ),
    )


@credits.command("grant")
def grant_credits(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="CREDITS", help="How many credits.")],
    user: UserOption = None,
    note: Annotated[str | None, typer.Option(help="The reason; the user sees it.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Repeated with the same key, the grant counts once.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Give credits to the user named by --user (operators)."""
    return _run(
        context,
        as_json,
        lambda out, settings: _credit_commands().grant(out, settings, _run_as(user, True), number, note=note, key=key),
    )


@credits.command("adjust", context_settings={"ignore_unknown_options": True})
def adjust_credits(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="CREDITS", help="The difference, for example -5.")],
    note: Annotated[str, typer.Option(help="The reason; the user sees it.")],
    user: UserOption = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Repeated with the same key, the adjustment counts once.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Correct the balance of the user named by --user (operators)."""
    return _run(
        context,
        as_json,
        lambda out, settings: _credit_commands().adjust(out, settings, _run_as(user, True), number, note=note, key=key),
    )


@app.command(context_settings=PASS_ON, add_help_option=False)
def worker(context: typer.Context) -> int:
    """Run a worker (--help shows its options)."""
    from scheduler.__main__ import main as run_worker

    return run_worker(_worker_arguments(context))


@app.command(context_settings=PASS_ON, add_help_option=False)
def dev(context: typer.Context) -> int:
    """Run Supabase and a worker on this machine.

    For development. --help shows its options.
    """
    try:
        from devstack.__main__ import main as run_stack
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"The dev stack is not installed ({error.name} is missing).",
            code="devstack_missing",
            remedy="Install batchgen[devstack].",
        ) from error
    return run_stack(context.args)


@template.command("save")
def save_template(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The template's name.")],
    prompts: Annotated[list[str] | None, typer.Argument(help="The prompts, one argument each.")] = None,
    json_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A list of prompts or a whole request as JSON; - is stdin.")
    ] = None,
    from_batch: Annotated[str | None, typer.Option(metavar="ID", help="Take a batch's prompts and settings.")] = None,
    default: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A placeholder's default; can be repeated.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite another template of this name.")] = False,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Save a template.

    Give its prompts as arguments, as JSON, or take them from a batch.
    """
    from batchgen.cli.input import template_from

    request = template_from(prompts or (), json_file, from_batch)
    defaults = _values(default)
    return _run(
        context,
        as_json,
        lambda out, settings: _template_commands().save(
            out,
            settings,
            _run_as(user, operator),
            name,
            request=request,
            batch_id=from_batch,
            defaults=defaults,
            replace=replace,
        ),
    )


@template.command("list")
def list_templates(
    context: typer.Context, user: UserOption = None, operator: OperatorOption = False, as_json: JsonOption = False
) -> int:
    """List your templates and the public ones."""
    return _run(
        context, as_json, lambda out, settings: _template_commands().show_list(out, settings, _run_as(user, operator))
    )


@template.command("show")
def show_template(
    context: typer.Context,
    name: TemplateArgument,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show a template's request and placeholders."""
    return _run(
        context,
        as_json,
        lambda out, settings: _template_commands().show(out, settings, _run_as(user, operator), name),
    )


@template.command("rename")
def rename_template(
    context: typer.Context,
    name: TemplateArgument,
    new_name: Annotated[str, typer.Argument(help="Its new name.")],
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Give a template another name."""
    return _run(
        context,
        as_json,
        lambda out, settings: _template_commands().rename(out, settings, _run_as(user, operator), name, new_name),
    )


@template.command("delete")
def delete_template(
    context: typer.Context,
    name: TemplateArgument,
    user: UserOption = None,
    operator: OperatorOption = False,
    as_json: JsonOption = False,
) -> int:
    """Delete a template; batches that were made from it stay."""
    return _run(
        context,
        as_json,
        lambda out, settings: _template_commands().delete(out, settings, _run_as(user, operator), name),
    )


@template.command("publish")
def publish_template(
    context: typer.Context,
    name: TemplateArgument,
    private: Annotated[bool, typer.Option("--private", help="Make it private again.")] = False,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> int:
    """Let every user read and use a template (operators)."""
    return _run(
        context,
        as_json,
        lambda out, settings: _template_commands().publish(
            out, settings, _run_as(user, True), name, is_public=not private
        ),
    )


@template.command("submit")
def submit_template(
    context: typer.Context,
    name: TemplateArgument,
    values: ValueOption = None,
    csv: Annotated[
        str | None, typer.Option(metavar="FILE", help="Make the prompts for each row of values; - is stdin.")
    ] = None,
    values_have_choices: Annotated[
        bool, typer.Option("--values-have-choices", help="Expand choices in values, too.")
    ] = False,
    variations: VariationsOption = None,
    seeds: SeedsOption = None,
    choices: ChoicesOption = None,
    choices_seed: ChoicesSeedOption = None,
    batch_name: Annotated[str | None, typer.Option("--name", help="The batch's name.")] = None,
    client_key: Annotated[
        str | None, typer.Option(help="Safe resend: the same key and request return the same batch.")
    ] = None,
    again: Annotated[
        str, typer.Option(metavar="KEY", help="Submit the rows of a file once more, under this key.")
    ] = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="Show items, price, time and limits; submit nothing.")
    ] = False,
    user: UserOption = None,
    operator: OperatorOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless all are completed.")] = False,
    save_to: SaveToOption = None,
    contact_sheet: ContactSheetOption = False,
    as_json: JsonOption = False,
) -> int:
    """Submit a batch from a template, or batches from the rows of a CSV file.

    The first line of the file names the placeholders. The same file submitted again makes nothing twice.
    """
    from batchgen.cli.input import rows_from
    from batchgen.cli.prompts import choices_from, variations_from
    from batchgen.cli.template_commands import Filling

    filling = Filling(
        values=_values(values),
        rows=rows_from(csv) if csv is not None else None,
        values_have_choices=values_have_choices,
        choices=choices_from(choices, choices_seed),
        variations=variations_from(variations, seeds),
        batch_name=batch_name,
        client_key=client_key,
        again=again,
    )
    following = _following(wait, save_to, contact_sheet)
    return _run(
        context,
        as_json,
        lambda out, settings: _template_commands().submit(
            out, settings, _run_as(user, operator), name, filling, following, preview=preview
        ),
    )


# The commands' modules are imported after the usage was checked, so that errors of usage do not wait for them.


def _commands():
    from batchgen.cli import commands

    return commands


def _action_commands():
    from batchgen.cli import action_commands

    return action_commands


def _export_commands():
    from batchgen.cli import export_commands

    return export_commands


def _job_commands():
    from batchgen.cli import job_commands

    return job_commands


def _schedule_commands():
    from batchgen.cli import schedule_commands

    return schedule_commands


def _details_commands():
    from batchgen.cli import details_commands

    return details_commands


def _operator_commands():
    from batchgen.cli import operator_commands

    return operator_commands


def _template_commands():
    from batchgen.cli import template_commands

    return template_commands


def _values(pairs: Sequence[str] | None) -> dict[str, str | int | float]:
    """The values of NAME=VALUE options."""
    values: dict[str, str | int | float] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidRequest(
                f"{pair[:60]} has no =.",
                code="wrong_usage",
                field="values",
                remedy="Write NAME=VALUE, such as animal=fox.",
            )
        values[name.strip()] = value
    return values


def _credit_commands():
    from batchgen.cli import credit_commands

    return credit_commands


def _storage_commands():
    from batchgen.cli import storage_commands

    return storage_commands


def _run(context: typer.Context, as_json: bool, command: Command) -> int:
    state: State = context.obj
    state.output.as_json |= as_json
    env_file = _check_env_file(state.env_file)
    try:
        from batchgen.settings import Settings, load

        settings = load(Settings, env_file, warn=state.output.note)
        code = asyncio.run(command(state.output, settings))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does. Without this, Python would print an error when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except KeyboardInterrupt:
        resume = state.output.resume_command
        goes_on = f" The batch goes on; follow it with: {resume}" if resume else ""
        state.output.note(state.output.interrupted or f"Interrupted.{goes_on}")
        return INTERRUPTED


def _following(wait: bool, save_to: Path | None, contact_sheet: bool) -> FollowOptions | None:
    return FollowOptions(save_to, contact_sheet) if wait or save_to or contact_sheet else None


def _check_env_file(env_file: Path | None) -> Path | None:
    if env_file and not env_file.is_file():
        raise InvalidRequest(f"There is no file {env_file}.", code="no_env_file", field="env_file")
    return env_file


def _worker_arguments(context: typer.Context) -> list[str]:
    """The worker's arguments, with our `--env-file`: it reads its settings itself."""
    env_file = _check_env_file(context.obj.env_file)
    named = any(argument.partition("=")[0] == "--env-file" for argument in context.args)
    return ["--env-file", str(env_file), *context.args] if env_file and not named else context.args


def _run_as(user: str | None, operator: bool) -> RunAs:
    return RunAs(operator=operator, user=user or None)


def _print_usage_error(out: Output, error: typer.TyperException) -> int:
    message = error.format_message()
    out.error(InvalidRequest(message, code="wrong_usage", remedy="See batchgen --help or batchgen COMMAND --help."))
    return INVALID
