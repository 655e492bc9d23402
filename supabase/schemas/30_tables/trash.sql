-- The trash: pictures and batches that their owners threw away and can take back for settings.trash_days. A picture in
-- it has images.archived_at, the app's own archive, which is also when it got there. Pictures that the app archives are
-- not in the trash, and never deleted for it.
--
-- Locks: batches, items, rows of images, rows of the trash.
create table batchgen.trashed_images (
  image_id uuid primary key,
  user_id uuid,
  was_archived_at timestamptz
);
create index trashed_images_of_a_user on batchgen.trashed_images (user_id);

alter table batchgen.trashed_images enable row level security;
create policy "Nobody" on batchgen.trashed_images for all to public using (false);
revoke all on batchgen.trashed_images from public, anon, authenticated, service_role;

comment on table batchgen.trashed_images is 'Pictures in the trash, since images.archived_at.';
comment on column batchgen.trashed_images.image_id is
  'The picture. Not a foreign key: that would change how a TRUNCATE of images is refused.';
comment on column batchgen.trashed_images.user_id is 'Owner of the picture.';
comment on column batchgen.trashed_images.was_archived_at is
  'images.archived_at before the picture was thrown away; restored with it.';

create table batchgen.trashed_batches (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  user_id uuid,
  trashed_at timestamptz not null default clock_timestamp()
);
create index trashed_batches_of_a_user on batchgen.trashed_batches (user_id, trashed_at);

alter table batchgen.trashed_batches enable row level security;
create policy "Nobody" on batchgen.trashed_batches for all to public using (false);
revoke all on batchgen.trashed_batches from public, anon, authenticated, service_role;

comment on table batchgen.trashed_batches is
  'Batches in the trash, whose items have all ended. A batch that runs again leaves it.';
comment on column batchgen.trashed_batches.batch_id is 'The batch.';
comment on column batchgen.trashed_batches.user_id is 'Owner of the batch.';
comment on column batchgen.trashed_batches.trashed_at is 'When the batch was thrown away.';
