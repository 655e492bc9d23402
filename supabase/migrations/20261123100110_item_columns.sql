-- Two columns beside the specification's four: why an item failed, for programs, and when its last attempt began. Both
-- are written in the updates that start and end an attempt. A project that has columns of these names keeps them.
alter table public.image_generations add column if not exists error_code text;
alter table public.image_generations add column if not exists started_at timestamptz;
comment on column public.image_generations.error_code is
  'Why the item failed, as a word for programs (cancelled, timeout, crashed, …); empty unless it has failed.';
comment on column public.image_generations.started_at is
  'When the attempt that runs began, or else the last one; empty for an item that was never started.';
