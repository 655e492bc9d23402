create table batchgen.turns (
  id boolean primary key default true constraint turns_has_one_row check (id),
  suspects_at timestamptz not null default '-infinity',
  suspects_in_a_row integer not null default 0
    constraint suspects_in_a_row_in_range check (suspects_in_a_row between 0 and 1)
);

alter table batchgen.turns enable row level security;
create policy "Nobody" on batchgen.turns for all to public using (false);
revoke all on batchgen.turns from public, anon, authenticated, service_role;

insert into batchgen.turns default values;

comment on table batchgen.turns is 'Turns between suspects and other waiting items: one row, written by claims.';
comment on column batchgen.turns.id is 'Always true: there is one row.';
comment on column batchgen.turns.suspects_at is
  'From then on a suspect goes first. Infinity: after the next claim of others plus settings.suspect_turn_seconds.';
comment on column batchgen.turns.suspects_in_a_row is 'Suspects claimed in their current turn.';
