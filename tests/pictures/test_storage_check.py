"""The storage check compares bucket and rows of `images`, on a real Storage and Postgres."""

import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hostile_pictures import picture
from supabase import AsyncClient

from batchgen.client.storage_check import StorageCheck, StorageReport
from batchgen.settings import Settings
from tests.support import Database, User

OLD = timedelta(hours=49)
YOUNG = timedelta(hours=47)


@dataclass
class StoredPictures:
    """One user's pictures in the shared bucket; tests look only at their own paths."""

    service: AsyncClient
    database: Database
    user: User
    bucket: str

    def path(self) -> str:
        return f"{self.user.id}/{uuid.uuid4()}.png"

    async def file(self, path: str, age: timedelta = OLD) -> str:
        await self.service.storage.from_(self.bucket).upload(path, picture(), {"content-type": "image/png"})
        await self.database.execute(
            "update storage.objects set created_at = now() - %s, updated_at = now() - %s where name = %s",
            [age, age, path],
        )
        return path

    async def row(self, path: str, age: timedelta = OLD) -> str:
        image = await self.database.execute(
            "insert into public.images (user_id, filename, storage_path, prompt, created_at) "
            "values (%s, 'a.png', %s, 'a fox', now() - %s) returning id",
            [self.user.id, path, age],
        )
        found = await image.fetchone()
        assert found
        return str(found["id"])

    async def files(self) -> set[str]:
        listed = await self.service.storage.from_(self.bucket).list(self.user.id, {"limit": 1000})
        return {f"{self.user.id}/{entry['name']}" for entry in listed}

    async def is_archived(self, image_id: str) -> bool:
        row = await self.database.execute(
            "select archived_at between now() - interval '1 minute' and now() as yes from public.images where id = %s",
            [image_id],
        )
        found = await row.fetchone()
        return bool(found and found["yes"])

    def own(self, report: StorageReport) -> tuple[list[str], list[str]]:
        """The paths of this user's orphaned files and lost rows in the report."""
        paths = list(report.orphans), [lost.storage_path for lost in report.lost]
        return tuple([path for path in some if path.startswith(self.user.id)] for some in paths)  # pyright: ignore[reportReturnType]


@pytest.fixture
async def pictures(
    service: AsyncClient, database: Database, user: User, settings: Settings
) -> AsyncGenerator[StoredPictures]:
    pictures = StoredPictures(service, database, user, settings.bucket)
    yield pictures
    await database.execute("delete from public.images where user_id = %s", [user.id])
    if left := await pictures.files():
        await service.storage.from_(settings.bucket).remove(sorted(left))


@pytest.fixture
def check(service: AsyncClient, settings: Settings) -> StorageCheck:
    return StorageCheck(service, bucket=settings.bucket, page=3)


async def test_pictures_with_file_and_row_are_balanced(pictures: StoredPictures, check: StorageCheck) -> None:
    for _ in range(7):  # more than two pages
        await pictures.row(await pictures.file(pictures.path()))

    report = await check.report()

    assert pictures.own(report) == ([], [])
    assert report.files >= 7
    assert report.rows >= 7


async def test_orphans_and_lost_rows_are_found_among_many(pictures: StoredPictures, check: StorageCheck) -> None:
    for _ in range(4):
        await pictures.row(await pictures.file(pictures.path()))
    orphans = sorted([await pictures.file(pictures.path()) for _ in range(4)])
    lost = sorted([pictures.path() for _ in range(4)])
    for path in lost:
        await pictures.row(path)

    report = await check.report()

    assert pictures.own(report) == (orphans, lost)
    assert not report.is_balanced


async def test_pictures_younger_than_the_grace_time_are_left_alone(
    pictures: StoredPictures, check: StorageCheck
) -> None:
    await pictures.file(pictures.path(), YOUNG)
    await pictures.row(pictures.path(), YOUNG)

    report = await check.report()

    assert pictures.own(report) == ([], [])
    assert report.too_young >= 2


async def test_foreign_files_are_counted_and_never_changed(pictures: StoredPictures, check: StorageCheck) -> None:
    foreign = [f"{pictures.user.id}/avatar.png", f"{pictures.user.id}/deeper/{uuid.uuid4()}.png"]
    for path in foreign:
        await pictures.file(path)

    report = await check.fix(await check.report())

    assert pictures.own(report) == ([], [])
    assert report.foreign_files >= 2
    assert f"{pictures.user.id}/avatar.png" in await pictures.files()
    await pictures.service.storage.from_(pictures.bucket).remove(foreign)


async def test_fixing_removes_orphans_and_archives_lost_rows(pictures: StoredPictures, check: StorageCheck) -> None:
    kept, orphan, lost = await pictures.file(pictures.path()), await pictures.file(pictures.path()), pictures.path()
    kept_id, lost_id = await pictures.row(kept), await pictures.row(lost)

    report = await check.fix(await check.report())

    assert report.is_balanced
    assert (report.removed, report.archived) == (len(report.orphans), len(report.lost))
    assert await pictures.files() == {kept}
    assert orphan in report.orphans
    assert await pictures.is_archived(lost_id)
    assert not await pictures.is_archived(kept_id)
    assert pictures.own(await check.report()) == ([], [])


async def test_pictures_completed_since_the_report_are_not_changed(
    pictures: StoredPictures, check: StorageCheck
) -> None:
    orphan, lost = await pictures.file(pictures.path()), pictures.path()
    lost_id = await pictures.row(lost)
    report = await check.report()
    assert pictures.own(report) == ([orphan], [lost])
    await pictures.row(orphan)
    await pictures.file(lost)

    fixed = await check.fix(report)

    assert (fixed.removed, fixed.archived) == (len(report.orphans) - 1, len(report.lost) - 1)
    assert await pictures.files() == {orphan, lost}
    assert not await pictures.is_archived(lost_id)
    assert not fixed.is_balanced


async def test_archived_rows_are_not_lost(pictures: StoredPictures, check: StorageCheck) -> None:
    image_id = await pictures.row(pictures.path())
    await pictures.database.execute(
        "update public.images set archived_at = now() - interval '1 day' where id = %s", [image_id]
    )

    assert pictures.own(await check.report()) == ([], [])
