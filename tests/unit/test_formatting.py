"""Texts about batches for people."""

import io
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from rich.cells import cell_len
from rich.console import Console
from snapshots import BEGAN, a_failed_item, a_snapshot, an_image, an_item

from batchgen.cli import formatting
from batchgen.cli.progress import LiveBars, PlainLines, progress_on
from batchgen.cli.status_words import facts_of
from batchgen.client.ids import short_ids
from batchgen.errors import BackendUnavailable
from batchgen.models import (
    Action,
    ActionDone,
    ActionRefused,
    ActionReport,
    BatchFacts,
    BatchSnapshot,
    BatchStatus,
    BatchTotals,
    GenerationStatus,
    Wait,
    WaitReason,
)

LATER = BEGAN + timedelta(minutes=3, seconds=10)
EVIL = "a [bold red]fox[/] \x1b]0;title\x07 :smile:"
SHOWN = "a [bold red]fox[/] \\x1b]0;title\\x07 :smile:"


def printed(what: object, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(what)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def test_prompts_names_and_errors_in_tables_are_escaped() -> None:
    snapshot = a_snapshot(an_item(0, prompt=EVIL), a_failed_item(1, EVIL), name=EVIL)

    shown = [
        formatting.item_table(snapshot),
        formatting.batch_table([snapshot.batch]),
        *formatting.fault_lines(snapshot),
    ]
    text = "".join(
        printed(one) for one in [*shown, *formatting.long_lines(snapshot), *formatting.settings_lines(snapshot)]
    )

    assert text.count(SHOWN) >= 5
    assert "\x1b" not in text


def test_the_heading_shows_counts_and_duration() -> None:
    snapshot = a_snapshot(an_item(0), a_failed_item(1, "x"), status=BatchStatus.PARTIAL)

    heading = formatting.heading(snapshot.batch).plain

    assert heading.endswith("partial: 1 of 2 done, 1 failed in 4.5 s")


def test_each_item_has_a_line_with_its_picture_or_error() -> None:
    first = an_item(0)
    snapshot = a_snapshot(first, an_item(1), a_failed_item(2, "blocked\n\x1b"))

    lines = [line.plain for line in formatting.picture_lines(snapshot, {first.id: "pictures/0-a.png"})]

    assert lines == ["1  pictures/0-a.png", "2  http://project.test/1.png", "3  failed: blocked \\x1b"]


def test_only_changed_items_are_printed() -> None:
    waiting = an_item(1, status=GenerationStatus.PENDING)
    before = a_snapshot(an_item(0), waiting, status=BatchStatus.PROCESSING)
    after = a_snapshot(an_item(0), a_failed_item(1, "no"), status=BatchStatus.PARTIAL)

    lines = list(formatting.change_lines(before, after))

    assert lines[0] == "item 2 failed  prompt 1: no"
    assert len(lines) == 1, "how it ended is the result, and no progress"


ITEM = UUID(int=1)


def a_report(*entries: ActionDone | ActionRefused) -> ActionReport:
    batch = a_snapshot(an_item(0), name=EVIL).batch.model_dump()
    return ActionReport(
        batch=BatchTotals.model_validate(batch),
        done=tuple(entry for entry in entries if isinstance(entry, ActionDone)),
        refused=tuple(entry for entry in entries if isinstance(entry, ActionRefused)),
    )


def test_an_action_report_lists_each_item_and_each_refusal() -> None:
    report = a_report(
        ActionDone(generation_id=ITEM, index=0, action=Action.CANCELLED),
        ActionDone(generation_id=ITEM, index=2, action=Action.ALREADY_CANCELLED),
        ActionRefused(generation_id=ITEM, index=1, code="already_completed", message="The picture is there."),
    )

    lines = [line.split(maxsplit=1) for line in printed(formatting.report_table(report)).splitlines()]

    assert [line[0] for line in lines] == ["#", "1", "2", "3"]
    assert [" ".join(line[1].split()) for line in lines[1:]] == [
        "cancelled",
        "refused The picture is there.",
        "already cancelled",
    ]


def test_tags_reasons_and_names_in_a_report_are_escaped() -> None:
    report = a_report(
        ActionDone(generation_id=ITEM, index=0, action=Action.TAGGED, tags=(EVIL, "animals")),
        ActionRefused(generation_id=ITEM, index=1, code=EVIL, message=EVIL),
    )

    text = printed(formatting.report_table(report)) + printed(formatting.heading(report.batch))

    assert text.count(SHOWN) == 3
    assert f"{SHOWN}, animals" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        ({"reason": "own_cap", "running": 3, "cap": 3}, "own cap 3/3"),
        ({"reason": "no_worker"}, "no worker is running"),
        ({"reason": "total_cap", "running": 20, "cap": 20}, "total cap 20/20"),
        (
            {"reason": "runs_alone"},
            "a worker without other items, since a worker crashed on it",
        ),
        ({"reason": "queue", "position": 7}, "position 7 in the queue"),
        ({"reason": "queue"}, "its turn"),
        ({"reason": "retry", "until": LATER}, "retry due 12:03:10 UTC"),
        ({"reason": "provider", "until": LATER, "detail": "fal"}, "provider until 12:03:10 UTC (fal)"),
        (
            {"reason": "provider", "until": LATER + timedelta(days=1), "detail": "fal"},
            "provider until 2026-11-24 12:03:10 UTC (fal)",
        ),
        (
            {"reason": "breaker", "until": LATER, "detail": "Flux Schnell"},
            "breaker open for Flux Schnell until 12:03:10 UTC",
        ),
        ({"reason": "breaker", "detail": "Flux\x1b"}, "breaker open for Flux\\x1b, one item is being tried"),
        ({"reason": "breaker"}, "breaker open for this model, one item is being tried"),
    ],
)
def test_each_wait_has_a_short_text(wait: dict[str, Any], text: str) -> None:
    assert formatting.wait_text(Wait.model_validate({"generation_id": UUID(int=1), **wait}), BEGAN) == text


def test_the_wait_column_is_shown_only_with_waiting_items() -> None:
    snapshot = a_snapshot(an_item(0), an_item(1, status=GenerationStatus.PENDING), status=BatchStatus.PROCESSING)
    wait = Wait(generation_id=snapshot.generations[1].id, reason=WaitReason.QUEUE, position=2)

    with_waits, without = printed(formatting.item_table(snapshot, [wait])), printed(formatting.item_table(snapshot))

    assert "Waits for" in with_waits
    assert "position 2 in the queue" in with_waits
    assert "Waits for" not in without


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0.0 s"), (4.56, "4.6 s"), (75, "1:15 min"), (3600, "1:00 h"), (7265, "2:01 h")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert formatting.duration_text(seconds) == text


def test_progress_is_bars_on_a_terminal_and_plain_lines_elsewhere() -> None:
    assert isinstance(progress_on(Console(file=io.StringIO())), PlainLines)
    assert isinstance(progress_on(Console(file=io.StringIO(), force_terminal=True)), LiveBars)


def test_an_outage_prints_one_line_at_its_start_and_one_at_its_end() -> None:
    file = io.StringIO()
    lines = PlainLines(Console(file=file, width=200))

    for error in (None, BackendUnavailable("away"), BackendUnavailable("away"), None, None):
        lines.outage(error)

    assert file.getvalue().splitlines() == ["connection lost, trying again: away", "connection is back"]


def test_live_bars_show_every_item_with_icon_and_prompt() -> None:
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True, color_system=None)

    with LiveBars(console) as bars:
        bars.show(a_snapshot(an_item(0, status=GenerationStatus.PROCESSING), status=BatchStatus.PROCESSING))
        bars.show(a_snapshot(an_item(0), a_failed_item(1, "no\x9b"), status=BatchStatus.PARTIAL))

    screen = file.getvalue()
    assert "✔  1" in screen
    assert "✘  2" in screen
    assert "prompt 1  no\\x9b" in screen


TOPICS = (
    "a red fox in a snowy forest at dawn, by nobody",
    "狐が雪の中で眠っている絵、とても長い説明文です",
    "🦊" * 40,
    "a",
)
WIDTHS = (40, 60, 80, 120)


def many(count: int = 4) -> BatchSnapshot:
    items = [
        an_item(n, prompt=TOPICS[n % 4], seed=2**62 + n, generation_time_seconds=123, retry_count=2)
        for n in range(count - 1)
    ]
    return a_snapshot(*items, a_failed_item(count - 1, "x" * 300), name=TOPICS[0])


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_fit_and_keep_id_name_and_prompt(width: int) -> None:
    snapshot = many()
    owner = UUID(int=2**100)
    batch = snapshot.batch.model_copy(update={"user_id": owner, "total_count": 10, "completed_count": 9})

    wait = Wait(generation_id=snapshot.generations[0].id, reason=WaitReason.BREAKER, detail="m" * 60)
    tables = {
        "list": printed(formatting.batch_table([batch]), width),
        "operator": printed(formatting.batch_table([batch], owners={owner: "00000010"}), width),
        "items": printed(formatting.item_table(snapshot, [wait]), width),
    }

    for name, text in tables.items():
        assert all(cell_len(line) <= width for line in text.splitlines())
        assert len(text.splitlines()) == 1 + (4 if name == "items" else 1), "a line for each"
    assert tables["list"].splitlines()[1].startswith("00000000  a red f")
    assert tables["operator"].splitlines()[1].startswith("00000000  00000010  a red f")
    assert "Prompt" in tables["items"]
    assert "a red fox in" in tables["items"]


def test_wide_characters_keep_columns_aligned() -> None:
    lines = printed(formatting.item_table(many()), 80).splitlines()

    assert len({cell_len(line) for line in lines}) == 1


def test_short_ids_in_a_list_are_distinct() -> None:
    first, second = UUID("aaaaaaaa-1111-4000-8000-000000000000"), UUID("aaaaaaaa-1121-4000-8000-000000000000")
    batch = a_snapshot(an_item(0)).batch
    batches = [batch.model_copy(update={"id": one}) for one in (first, second)]

    text = printed(formatting.batch_table(batches, short_ids([first, second])))

    assert "aaaaaaaa-111 " in text
    assert "aaaaaaaa-112 " in text


@pytest.mark.parametrize(
    ("codes", "deleted", "word", "counted"),
    [
        (["cancelled", "cancelled"], 0, "cancelled", "0 of 2 done, 2 cancelled"),
        (["cancelled", None], 0, "cancelled", "1 of 2 done, 1 cancelled"),
        (["cancelled", "timeout"], 0, "failed", "0 of 2 done, 1 failed, 1 cancelled"),
        (["timeout", None], 0, "partial", "1 of 2 done, 1 failed"),
        ([None, None], 2, "deleted", "0 of 2 left, 2 deleted"),
        ([None, None], 1, "completed", "1 of 2 left, 1 deleted"),
        ([None, None], 0, "completed", "2 of 2 done"),
    ],
)
def test_a_heading_counts_cancelled_and_deleted_pictures(
    codes: list[str | None], deleted: int, word: str, counted: str
) -> None:
    items = [
        an_item(n) if code is None else a_failed_item(n, "why").model_copy(update={"error_code": code})
        for n, code in enumerate(codes)
    ]
    failed = sum(code is not None for code in codes)
    status = [BatchStatus.COMPLETED, BatchStatus.PARTIAL, BatchStatus.FAILED][(failed > 0) + (failed == len(codes))]
    snapshot = a_snapshot(*items, status=status)
    snapshot = snapshot.model_copy(update={"images": snapshot.images[deleted:]})

    heading = formatting.heading(snapshot.batch, facts=facts_of(snapshot)).plain

    assert heading.endswith(f"{word}: {counted} in 4.5 s")
    assert snapshot.batch.status is status, "the data keep their own words"


def test_the_duration_of_a_retried_batch_starts_at_the_retry() -> None:
    batch = a_snapshot(an_item(0), completed_at=BEGAN + timedelta(hours=3, seconds=2)).batch

    assert formatting.took_text(batch, BatchFacts(reopened_at=BEGAN + timedelta(hours=3))) == "2.0 s"
    assert formatting.took_text(batch) == "3:00 h"


def test_a_too_wide_address_becomes_a_linked_short_name() -> None:
    item = an_item(0)
    snapshot = a_snapshot(item)

    [wide], [narrow] = [list(formatting.picture_lines(snapshot, width=width)) for width in (80, 20)]

    assert wide.plain == "1  http://project.test/0.png"
    assert narrow.plain == "1  00000000.png"
    assert any(getattr(span.style, "link", None) == "http://project.test/0.png" for span in narrow.spans)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "http://x\x1b]8;;evil", "https://a b", ""])
def test_only_http_addresses_become_links(address: str) -> None:
    name = formatting.picture_name(an_image(an_item(0), public_url=address, filename="\x1b[31m.png"))

    assert name.style == ""
    assert "\x1b" not in name.plain
