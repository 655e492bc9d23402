"""Compare the bucket with the rows of `images` in both directions, and repair differences.

A file without a row (an orphan) only takes space; a row without a file (a lost row) shows a broken picture. Both are
left alone while younger than the grace period, since the other half may be on its way. Only files with names of
pictures and thumbnails, such as `{user_id}/{generation_id}.{format}`, are ever removed; others are only counted.

Both lists are collected in a temporary database on disk, so that a bucket of a million files does not fill the memory.
"""

import re
import sqlite3
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from supabase import AsyncClient

from batchgen.backend.bucket import storage_errors
from batchgen.backend.rpc import translated
from batchgen.errors import BackendUnavailable

GRACE = timedelta(hours=48)
PAGE = 1000
"""Files or rows per request, the default maximum of Supabase."""
PATHS_PER_REQUEST = 40
"""Paths that fit into one URL."""
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
OWN_PATH = re.compile(
    rf"{_UUID}/({_UUID}(\.[0-9a-f]{{16}})?(\.thumb)?\.[a-z]{{2,5}}|[^/]+\.[0-9a-f]{{16}}\.thumb\.webp)"
)
"""Pictures, their thumbnails, and thumbnails of the app's pictures, which have other names."""
PLACEHOLDER = ".emptyFolderPlaceholder"
"""The file that the dashboard puts into a new folder."""


@dataclass(frozen=True, slots=True)
class LostRow:
    """A row of `images` whose file is missing."""

    image_id: str
    storage_path: str


@dataclass(frozen=True, slots=True)
class LostThumbnail:
    """A row of `images` whose thumbnail is missing."""

    image_id: str
    thumbnail_path: str


@dataclass(frozen=True, slots=True)
class StorageReport:
    """Result of comparing the bucket with the rows of `images`."""

    files: int
    rows: int
    """Rows of `images`, including archived ones."""
    foreign_files: int
    """Files at other paths than those of pictures."""
    too_young: int
    """Orphans and lost rows younger than the grace period."""
    orphans: tuple[str, ...]
    """Paths of files without a row."""
    lost: tuple[LostRow, ...]
    """Rows without a file that are not archived."""
    removed: int = 0
    """Number of removed orphans."""
    archived: int = 0
    """Number of archived lost rows."""
    lost_thumbnails: tuple[LostThumbnail, ...] = ()
    """Rows without the thumbnail that they list."""
    cleared: int = 0
    """Number of rows that list no lost thumbnail any more."""

    @property
    def is_balanced(self) -> bool:
        """Whether nothing is left to repair."""
        left = len(self.orphans) - self.removed, len(self.lost) - self.archived
        return left == (0, 0) and self.cleared == len(self.lost_thumbnails)


class StorageCheck:
    """One comparison. Needs the project's secret key: other keys see only some of the files and rows."""

    def __init__(self, client: AsyncClient, *, bucket: str, grace: timedelta = GRACE, page: int = PAGE) -> None:
        self._client = client
        self._bucket = client.storage.from_(bucket)
        self._grace = grace
        self._page = page

    async def report(self) -> StorageReport:
        """Compare without changing anything.

        Rows are read before files, so that a row deleted meanwhile with its file does not look like an orphan.
        """
        with _temporary_database() as lists:
            now = await self._server_time()
            async for rows in self._rows():
                lists.executemany(
                    "insert or replace into rows values (:id, :storage_path, :thumbnail_path, :created_at, :archived)",
                    rows,
                )
            async for files in self._files(""):
                lists.executemany("insert or replace into files values (:path, :at, :own)", files)
            return _compare(lists, now - self._grace)

    async def fix(self, report: StorageReport) -> StorageReport:
        """Remove the orphans, archive the lost rows and clear the lost thumbnails, each after checking it again.

        A cleared thumbnail can be made again: `batchgen storage thumbnails`.
        """
        removed = archived = cleared = 0
        for paths in _chunks(report.orphans):
            removed += await self._remove(paths)
        for lost in report.lost:
            archived += await self._archive(lost)
        for thumbnail in report.lost_thumbnails:
            cleared += await self._clear(thumbnail)
        return replace(report, removed=removed, archived=archived, cleared=cleared)

    async def _server_time(self) -> datetime:
        """The project's clock, by which ages are measured, instead of this machine's."""
        with translated("Reading images") as answer:
            await self._client.table("images").select("id").limit(1).execute()
        if answer.moment is None:
            raise BackendUnavailable("The project's API sends no time, so the age of files and rows is unknown.")
        return answer.moment

    async def _rows(self) -> AsyncGenerator[list[Mapping[str, Any]]]:
        """All rows, paged by id, so that rows inserted or deleted meanwhile do not shift the pages."""
        last = "00000000-0000-0000-0000-000000000000"
        while True:
            with translated("Reading images"):
                query = self._client.table("images").select("id,storage_path,thumbnail_path,created_at,archived_at")
                rows: Any = (await query.gt("id", last).order("id").limit(self._page).execute()).data
            yield [{**row, "archived": row["archived_at"] is not None} for row in rows]
            if not rows:
                return
            last = rows[-1]["id"]

    async def _files(self, folder: str) -> AsyncGenerator[list[Mapping[str, Any]]]:
        """All files below a folder, by name."""
        folders: list[str] = []
        async for entries in self._pages(folder):
            paths = [(entry, f"{folder}/{entry['name']}".removeprefix("/")) for entry in entries]
            folders += [path for entry, path in paths if entry.get("id") is None]
            yield [_file(path, entry) for entry, path in paths if entry.get("id") and entry["name"] != PLACEHOLDER]
        for path in folders:
            async for files in self._files(path):
                yield files

    async def _pages(self, folder: str) -> AsyncGenerator[Sequence[Mapping[str, Any]]]:
        offset = 0
        while True:
            with storage_errors(folder or "the bucket"):
                entries = await self._bucket.list(
                    folder, {"limit": self._page, "offset": offset, "sortBy": {"column": "name", "order": "asc"}}
                )
            if entries:
                yield entries
            if len(entries) < self._page:
                return
            offset += len(entries)

    async def _remove(self, paths: Sequence[str]) -> int:
        still = set(paths) - await self._named(paths, "storage_path") - await self._named(paths, "thumbnail_path")
        if still:
            with storage_errors("the bucket"):
                await self._bucket.remove(sorted(still))
        return len(still)

    async def _named(self, paths: Sequence[str], column: str) -> set[str]:
        with translated("Reading images"):
            rows: Any = (await self._client.table("images").select(column).in_(column, list(paths)).execute()).data
        return {row[column] for row in rows}

    async def _clear(self, lost: LostThumbnail) -> bool:
        if await self._is_there(lost.thumbnail_path):
            return False
        with translated("Writing images"):
            query = self._client.table("images").update({"thumbnail_path": None})
            answer = await query.eq("id", lost.image_id).eq("thumbnail_path", lost.thumbnail_path).execute()
        return bool(answer.data)

    async def _archive(self, lost: LostRow) -> bool:
        """Archive the row, by the database's clock: it leaves the gallery but still says what was there."""
        if await self._is_there(lost.storage_path):
            return False
        with translated("Writing images"):
            query = self._client.table("images").update({"archived_at": "now"})
            answer = await query.eq("id", lost.image_id).is_("archived_at", "null").execute()
        return bool(answer.data)

    async def _is_there(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        with storage_errors(path):
            found = await self._bucket.list(folder, {"limit": PAGE, "search": name})
        return any(entry["name"] == name for entry in found)


@contextmanager
def _temporary_database() -> Generator[sqlite3.Connection]:
    """A temporary database on disk."""
    lists = sqlite3.connect("")
    try:
        lists.execute("create table rows (id text primary key, path text, thumbnail text, at text, archived integer)")
        lists.execute("create table files (path text primary key, at text, own integer)")
        yield lists
    finally:
        lists.close()


def _file(path: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"path": path, "at": entry["updated_at"] or entry["created_at"], "own": bool(OWN_PATH.fullmatch(path))}


def _compare(lists: sqlite3.Connection, before: datetime) -> StorageReport:
    lists.execute("create index rows_by_path on rows (path)")
    lists.execute("create index rows_by_thumbnail on rows (thumbnail)")
    counts = lists.execute(
        "select (select count(*) from files), (select count(*) from rows), total(not own) from files"
    )
    files, rows, foreign = counts.fetchone()
    orphans = lists.execute(
        "select path, at from files where own and not exists (select from_row.id from rows from_row "
        "where from_row.path = files.path or from_row.thumbnail = files.path) order by path"
    ).fetchall()
    lost = lists.execute(
        "select id, path, at from rows where not archived and not exists (select file.path from files file "
        "where file.path = rows.path) order by path, id"
    ).fetchall()
    thumbnails = lists.execute(
        "select id, thumbnail, at from rows where not archived and thumbnail is not null and not exists (select "
        "file.path from files file where file.path = rows.thumbnail) order by thumbnail, id"
    ).fetchall()
    old_thumbnails = tuple(LostThumbnail(id_, path) for id_, path, at in thumbnails if _is_older(at, before))
    old_orphans = tuple(path for path, at in orphans if _is_older(at, before))
    old_lost = tuple(LostRow(id_, path) for id_, path, at in lost if _is_older(at, before))
    young = len(orphans) + len(lost) + len(thumbnails) - len(old_orphans) - len(old_lost) - len(old_thumbnails)
    return StorageReport(files, rows, int(foreign), young, old_orphans, old_lost, lost_thumbnails=old_thumbnails)


def _is_older(at: str | None, before: datetime) -> bool:
    return at is not None and datetime.fromisoformat(at) < before


def _chunks(paths: Sequence[str]) -> Iterable[Sequence[str]]:
    return (paths[start : start + PATHS_PER_REQUEST] for start in range(0, len(paths), PATHS_PER_REQUEST))
