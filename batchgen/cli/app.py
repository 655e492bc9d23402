"""The command line: parse, call, print. Exit codes: 0 done, 1 work failed, 2 invalid, 3 backend unreachable."""

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

from batchgen.cli.options import Asker, Wanted
from batchgen.cli.streams import Output
from batchgen.client.ids import check_batch_id
from batchgen.errors import BatchgenError, InvalidRequest
from batchgen.exit_codes import BROKEN, INTERRUPTED, INVALID, UNREAD

if TYPE_CHECKING:
    from batchgen.settings import Settings

Command = Callable[[Output, "Settings"], Coroutine[Any, Any, int]]
PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

Json = Annotated[bool, typer.Option("--json", help="Speak JSON: results on stdout, errors on stderr.")]
User = Annotated[
    str | None,
    typer.Option(envvar="BATCHGEN_USER", help="Act as operator for this user: an id, its first digits, or an e-mail."),
]
Operator = Annotated[
    bool,
    typer.Option("--operator", envvar="BATCHGEN_OPERATOR", help="Act as operator for all users, with the secret key."),
]
BatchId = Annotated[
    str,
    typer.Argument(
        callback=check_batch_id,
        metavar="ID",
        help="The batch's id, or its first digits; latest or - is the newest batch.",
    ),
]
SaveTo = Annotated[Path | None, typer.Option(metavar="DIR", help="Wait, then download the pictures to this folder.")]
Sheet = Annotated[bool, typer.Option("--contact-sheet", help="Wait, then put all pictures on one PNG.")]

app = typer.Typer(
    help="Batches of image prompts on Supabase.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
storage = typer.Typer(
    help="The bucket of the pictures, for operators.", invoke_without_command=True, rich_markup_mode=None
)
app.add_typer(storage, name="storage")


class CostsBy(StrEnum):
    """What costs are added up by."""

    BATCH = "batch"
    USER = "user"
    DAY = "day"
    MODEL = "model"


@dataclass
class State:
    """What the options before the command say."""

    output: Output
    env_file: Path | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Wrong usage is known before the options are, and its message must be JSON, too.
    state = State(Output(as_json="--json" in arguments))
    # Without any handler Python itself prints its complaints over the bars; a watch goes on without Realtime.
    logging.getLogger("realtime").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    try:
        code: object = typer.main.get_command(app).main(arguments, "batchgen", standalone_mode=False, obj=state)
    except BatchgenError as error:
        return state.output.error(error)
    except typer.TyperException as error:
        return _wrong_usage(state.output, error)
    except typer.Abort:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - a bug must not look like exit code 1, a batch that failed
        traceback.print_exc()
        return BROKEN
    return code if isinstance(code, int) else 0


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(f"batchgen {importlib.metadata.version('batchgen')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option(envvar="BATCHGEN_ENV_FILE", metavar="FILE", help="Settings from this file, in place of .env."),
    ] = None,
    as_json: Json = False,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version)] = False,  # noqa: ARG001
) -> None:
    """Batches of image prompts on Supabase."""
    context.obj.env_file = env_file
    context.obj.output.as_json |= as_json
    _help_without_command(context)


@storage.callback()
def storage_commands(context: typer.Context) -> None:
    """The bucket of the pictures, for operators."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
def submit(
    context: typer.Context,
    prompts: Annotated[list[str] | None, typer.Argument(help="The prompts, one argument each.")] = None,
    file: Annotated[str | None, typer.Option(metavar="FILE", help="One prompt per line; - is stdin.")] = None,
    json_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A list of prompts, or a whole request, as JSON; - is stdin.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model's name or id, see batchgen models; else the default one.")
    ] = None,
    model_version: str | None = None,
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    negative_prompt: Annotated[str | None, typer.Option(help="For prompts without one of their own.")] = None,
    seed: Annotated[int | None, typer.Option(help="The first picture's; each further one gets the next.")] = None,
    name: Annotated[str | None, typer.Option(help="The batch's name.")] = None,
    client_key: Annotated[str | None, typer.Option(help="The same key and request give the same batch again.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="For all pictures; can be repeated.")] = None,
    user: User = None,
    operator: Operator = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless all are completed.")] = False,
    save_to: SaveTo = None,
    contact_sheet: Sheet = False,
    as_json: Json = False,
) -> int:
    """Submit a batch of prompts.

    They come as arguments, as a file with one per line, or as JSON.
    """
    from batchgen.cli.input import request_from

    shared = {"model_id": model, "model_version": model_version, "width": width, "height": height}
    request = request_from(
        prompts or (),
        file,
        json_file,
        shared={**shared, "steps": steps, "guidance_scale": guidance_scale},
        name=name,
        client_key=client_key,
        negative_prompt=negative_prompt,
        seed=seed,
        tags=tag or (),
    )
    wanted = _wanted(wait, save_to, contact_sheet)
    return _run(
        context,
        as_json,
        lambda out, settings: _commands().submit(out, settings, _asker(user, operator), request, wanted),
    )


@app.command()
def watch(
    context: typer.Context,
    batch_id: BatchId,
    user: User = None,
    operator: Operator = False,
    save_to: SaveTo = None,
    contact_sheet: Sheet = False,
    as_json: Json = False,
) -> int:
    """Follow a batch live up to its end.

    Exit code 1 unless all pictures are completed.
    """
    wanted = Wanted(save_to, contact_sheet, every_snapshot=True)
    return _run(
        context,
        as_json,
        lambda out, settings: _commands().watch(out, settings, _asker(user, operator), batch_id, wanted),
    )


@app.command("list")
def show_list(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    user: User = None,
    operator: Operator = False,
    as_json: Json = False,
) -> int:
    """List the newest batches."""
    return _run(
        context, as_json, lambda out, settings: _commands().show_list(out, settings, _asker(user, operator), limit)
    )


@app.command()
def show(
    context: typer.Context,
    batch_id: BatchId,
    everything: Annotated[bool, typer.Option("--long", help="All of it: whole prompts, settings, addresses.")] = False,
    user: User = None,
    operator: Operator = False,
    as_json: Json = False,
) -> int:
    """Show one batch, item by item."""
    return _run(
        context,
        as_json,
        lambda out, settings: _commands().show(out, settings, _asker(user, operator), batch_id, everything=everything),
    )


@app.command()
def cancel(
    context: typer.Context,
    batch_id: BatchId,
    user: User = None,
    operator: Operator = False,
    as_json: Json = False,
) -> int:
    """Cancel what waits or runs of a batch.

    Waiting items end at once, running ones are stopped at their provider.
    """
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().cancel(out, settings, _asker(user, operator), batch_id),
    )


@app.command()
def retry(
    context: typer.Context,
    batch_id: BatchId,
    user: User = None,
    operator: Operator = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless all are completed.")] = False,
    save_to: SaveTo = None,
    contact_sheet: Sheet = False,
    as_json: Json = False,
) -> int:
    """Queue the failed items of a batch once more."""
    wanted = _wanted(wait, save_to, contact_sheet)
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().retry(out, settings, _asker(user, operator), batch_id, wanted),
    )


@app.command()
def save(
    context: typer.Context,
    batch_id: BatchId,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Download the pictures to this folder, too.")] = None,
    user: User = None,
    operator: Operator = False,
    as_json: Json = False,
) -> int:
    """Keep a batch's pictures; --to downloads them.

    Kept pictures are removed by no retention setting.
    """
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().save(out, settings, _asker(user, operator), batch_id, to),
    )


@app.command()
def tag(
    context: typer.Context,
    batch_id: BatchId,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words; made lower case, each once.")],
    user: User = None,
    operator: Operator = False,
    as_json: Json = False,
) -> int:
    """Put tags on all pictures of a batch."""
    return _run(
        context,
        as_json,
        lambda out, settings: _action_commands().tag(out, settings, _asker(user, operator), batch_id, tags),
    )


@app.command()
def delete(
    context: typer.Context,
    batch_id: BatchId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    user: User = None,
    operator: Operator = False,
    as_json: Json = False,
) -> int:
    """Delete all pictures of a batch, with their files, for good."""
    from batchgen.cli.input import check_terminal, is_agreed

    asker = _asker(user, operator)
    meant: list[str] = []

    async def announce(out: Output, settings: "Settings") -> int:
        meant.append(await _action_commands().announce(out, settings, asker, batch_id))
        return 0

    if not yes:
        check_terminal()
        if code := _run(context, as_json, announce):
            return code
        if not is_agreed("Delete all its pictures for good?"):
            context.obj.output.note("Nothing was deleted.")
            return INTERRUPTED
    # What was shown is deleted, even where another batch is the newest by now.
    which = meant[0] if meant else batch_id
    return _run(context, as_json, lambda out, settings: _action_commands().delete(out, settings, asker, which))


@app.command()
def login(
    context: typer.Context,
    email: Annotated[str | None, typer.Option(help="Asked for where it is missing.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    sign_up: Annotated[bool, typer.Option("--sign-up", help="Make a new account.")] = False,
    as_json: Json = False,
) -> int:
    """Sign in with e-mail and password.

    The session is kept for further commands.
    """
    from batchgen.cli.input import password_from

    address, password = password_from(email, password_stdin=password_stdin, twice=sign_up)
    return _run(
        context, as_json, lambda out, settings: _commands().login(out, settings, address, password, sign_up=sign_up)
    )


@app.command()
def logout(context: typer.Context, as_json: Json = False) -> int:
    """Sign out, here and on the server."""
    return _run(context, as_json, lambda out, settings: _commands().logout(out, settings))


@storage.command("check")
def storage_check(
    context: typer.Context,
    fix: Annotated[
        bool, typer.Option("--fix", help="Remove files without a row, archive rows without a file.")
    ] = False,
    grace_hours: Annotated[float, typer.Option(min=1, max=8760, help="Leave alone what is younger.")] = 48,
    as_json: Json = False,
) -> int:
    """Compare bucket and rows of images, both ways.

    Exit code 1 unless they balance.
    """
    return _run(
        context,
        as_json,
        lambda out, settings: _operator_commands().check_storage(out, settings, fix=fix, grace_hours=grace_hours),
    )


@app.command("models")
def show_models(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="For operators: also those that are switched off.")] = False,
    user: User = None,
    operator: Operator = False,
    as_json: Json = False,
) -> int:
    """List the models that a request may name."""
    return _run(
        context,
        as_json,
        lambda out, settings: _operator_commands().show_models(
            out, settings, _asker(user, operator), everything=everything
        ),
    )


@app.command("workers")
def show_workers(context: typer.Context, as_json: Json = False) -> int:
    """List the workers of the last day, for operators."""
    return _run(context, as_json, lambda out, settings: _operator_commands().show_workers(out, settings))


@app.command("costs")
def show_costs(
    context: typer.Context,
    by: Annotated[CostsBy, typer.Option(help="Sum up by this.")] = CostsBy.DAY,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="Only what came since then, UTC."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many rows.")] = 100,
    as_json: Json = False,
) -> int:
    """Show what pictures cost, for operators."""
    return _run(
        context,
        as_json,
        lambda out, settings: _operator_commands().show_costs(out, settings, by=by.value, since=since, limit=limit),
    )


@app.command(context_settings=PASS_ON, add_help_option=False)
def worker(context: typer.Context) -> int:
    """Run a worker (--help shows its options)."""
    from scheduler.__main__ import main as run_worker

    return run_worker(_passed_on(context))


@app.command(context_settings=PASS_ON, add_help_option=False)
def dev(context: typer.Context) -> int:
    """Run Supabase and a worker on this machine.

    For development; --help shows its options.
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


# A command's own modules are imported when its usage is known to be right: what is refused shall not wait for them.


def _commands():
    from batchgen.cli import commands

    return commands


def _action_commands():
    from batchgen.cli import action_commands

    return action_commands


def _operator_commands():
    from batchgen.cli import operator_commands

    return operator_commands


def _run(context: typer.Context, as_json: bool, command: Command) -> int:
    state: State = context.obj
    state.output.as_json |= as_json
    env_file = _existing(state.env_file)
    try:
        from batchgen.settings import Settings, load

        settings = load(Settings, env_file, warn=state.output.note)
        code = asyncio.run(command(state.output, settings))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has seen enough, such as `head`. Python itself would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except KeyboardInterrupt:
        go_on = f" The batch goes on; follow it with: {state.output.go_on_with}" if state.output.go_on_with else ""
        state.output.note(f"Interrupted.{go_on}")
        return INTERRUPTED


def _wanted(wait: bool, save_to: Path | None, contact_sheet: bool) -> Wanted | None:
    return Wanted(save_to, contact_sheet) if wait or save_to or contact_sheet else None


def _existing(env_file: Path | None) -> Path | None:
    if env_file and not env_file.is_file():
        raise InvalidRequest(f"There is no file {env_file}.", code="no_env_file", field="env_file")
    return env_file


def _passed_on(context: typer.Context) -> list[str]:
    """A worker reads its settings itself: tell it the file that was named to us."""
    env_file = _existing(context.obj.env_file)
    named = any(argument.partition("=")[0] == "--env-file" for argument in context.args)
    return ["--env-file", str(env_file), *context.args] if env_file and not named else context.args


def _asker(user: str | None, operator: bool) -> Asker:
    return Asker(operator=operator, user=user or None)


def _wrong_usage(out: Output, error: typer.TyperException) -> int:
    message = error.format_message()
    out.error(
        InvalidRequest(message, code="wrong_usage", remedy="batchgen --help and batchgen COMMAND --help tell more.")
    )
    return INVALID
