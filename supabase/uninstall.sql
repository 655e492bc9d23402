-- Remove batchgen from a project: drop everything that supabase/migrations create, and restore the app's own tables as
-- batchgen.found_objects recorded them, with all their rows. docs/existing-projects.md lists what stays.
--
-- Stop the workers first. Run it as the role that applied the migrations, in the SQL editor or with psql:
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f supabase/uninstall.sql
-- It reports what it does, and does it in one transaction: an error leaves everything as it was. Settings, to be put
-- before it or into PGOPTIONS:
--   set batchgen.uninstall = 'list';    -- report, as an error, what it would do, and change nothing
--   set batchgen.unfinished = 'end';    -- fail waiting and running items; otherwise they prevent the removal
--   set batchgen.pictures = 'drop';     -- delete batches with their items and pictures, and drop the tables that
--                                       -- batchgen created with all rows; 'keep' is the default
begin;
set local lock_timeout = '10s';
set local check_function_bodies = off;

-- Check the settings and the preconditions.
do $$
declare
  v_owner name := (select nspowner::regrole from pg_namespace where nspname = 'batchgen');
  v_setting record;
begin
  for v_setting in
    select s.name, s.words, coalesce(current_setting(s.name, true), '') as value
    from (values
      ('batchgen.uninstall', '{do,list}'::text[]), ('batchgen.unfinished', '{refuse,end}'),
      ('batchgen.pictures', '{keep,drop}')
    ) s (name, words)
  loop
    if v_setting.value = '' then
      perform set_config(v_setting.name, v_setting.words[1], true);
    elsif v_setting.value <> all (v_setting.words) then
      raise exception using errcode = '22023', message = format('%s is %L: %s or %s is needed. Nothing was changed.',
        v_setting.name, v_setting.value, v_setting.words[1], v_setting.words[2]);
    end if;
  end loop;
  if v_owner is null then
    raise exception using errcode = '55000',
      message = 'batchgen is not installed in this database. Nothing was changed.';
  end if;
  if not pg_has_role(v_owner, 'usage') then
    raise exception using errcode = '42501', message = format('batchgen belongs to %I, and %I may not remove it. '
      'Run this as %1$I.', v_owner, current_user);
  end if;
  if to_regclass('batchgen.found_objects') is null then
    raise exception using errcode = '55000',
      message = 'batchgen.found_objects is missing, so it is unknown what the project had before. '
      'Nothing was changed.',
      hint = 'Drop by hand what docs/existing-projects.md lists.';
  end if;

  -- From here on no session adds rows to the counted tables.
  if current_setting('batchgen.uninstall') = 'do' then
    lock table public.batch_generations, public.image_generations, public.images, batchgen.queue, batchgen.workers
    in access exclusive mode;
  end if;
end
$$;

-- The record is needed after its schema is gone.
create temporary table batchgen_found on commit drop as table batchgen.found_objects;
-- Objects to drop. row_count: of tables.
create temporary table batchgen_going (
  kind text not null, on_table text not null default '', name text not null, row_count bigint
) on commit drop;
-- The report.
create temporary table batchgen_said (
  nth integer generated always as identity, is_in_the_way boolean not null default false, line text not null
) on commit drop;

insert into batchgen_going (kind, on_table, name)
-- As text: a name of 63 bytes would cut long signatures off.
select 'policy', p.schemaname || '.' || p.tablename, p.policyname::text
from pg_policies p
where not exists (
  select from batchgen_found f
  where f.kind = 'policy' and f.on_table = p.schemaname || '.' || p.tablename and f.name = p.policyname
)
and (
  (p.schemaname, p.tablename) in (('storage', 'objects'), ('realtime', 'messages')) and p.policyname like 'batchgen: %'
  or exists (select from batchgen_found f where f.kind = 'table' and f.name = p.schemaname || '.' || p.tablename)
  and p.schemaname = 'public' and (p.tablename, p.policyname) in (
    ('batch_generations', 'Owners read their batches'), ('batch_generations', 'Owners update their batches'),
    ('batch_generations', 'Owners delete their batches'),
    ('image_generations', 'Owners read their generations'),
    ('image_generations', 'Owners insert single generations'),
    ('image_generations', 'Owners update their generations'),
    ('images', 'Owners read their images'), ('images', 'Owners insert their images'),
    ('images', 'Owners update their images'), ('images', 'Owners delete their images'),
    ('models', 'Everybody reads the active models'),
    ('tags', 'Signed-in users read tags'), ('tags', 'Signed-in users add tags'),
    ('tags', 'Users delete tags that they made'),
    ('image_tags', 'Owners read the tags of their images'), ('image_tags', 'Owners tag their images'),
    ('image_tags', 'Owners untag their images'),
    ('user_rate_limits', 'Owners read their limits'),
    ('prompt_templates', 'Owners read their templates, everybody the public ones'),
    ('prompt_templates', 'Owners add templates'), ('prompt_templates', 'Owners change their templates'),
    ('prompt_templates', 'Owners delete their templates')
  )
)
union all
select 'trigger', 'public.' || c.relname, t.tgname
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
where not t.tgisinternal and c.relnamespace = 'public'::regnamespace and p.pronamespace = 'batchgen'::regnamespace
  and t.tgname like 'batchgen\_%'
union all
select 'function', '', format('public.%I(%s)', p.proname, oidvectortypes(p.proargtypes))
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.proname in (
  'attach_provider_job', 'batch_details', 'batch_facts', 'batch_manifest', 'batch_snapshot', 'batch_waits',
  'batches_page', 'batches_page_as', 'begin_order', 'cancel_batch', 'claim_generations', 'claim_generations_as_json',
  'complete_and_claim', 'complete_export', 'complete_generation', 'complete_generations', 'create_batch',
  'create_batch_as', 'create_schedule', 'create_schedule_as', 'credit_history', 'delete_batch_images',
  'delete_batch_template', 'delete_schedule', 'discard_files', 'edit_schedule', 'empty_trash', 'end_storage_deletions',
  'fail_export', 'fail_generation', 'generate_similar', 'get_batch_rating', 'get_batch_template', 'get_costs',
  'get_credits', 'get_exports', 'get_models', 'get_schedule_runs', 'get_schedules', 'get_trash', 'get_user_limits',
  'get_workers', 'grant_credits', 'grant_monthly_credits', 'list_batch_templates', 'list_batches', 'list_thumbnail',
  'move_credit_horizon', 'note_credit_adjustment', 'note_export_file', 'pause_schedule', 'plan_schedules',
  'preview_batch', 'preview_batch_as', 'preview_schedule', 'publish_batch_template', 'queue_outlook', 'rate_batch',
  'rate_batch_images', 'release_generations', 'release_generations_as_json', 'remove_expired_images',
  'rename_batch_template', 'renew_export', 'renew_leases', 'renew_leases_as_json', 'request_export',
  'restore_batch_images', 'resume_schedule', 'retry_failed', 'return_expired_leases', 'run_again', 'run_schedules',
  'save_batch_images', 'save_batch_template', 'set_picture_access', 'settle_order', 'tag_batch_images', 'take_export',
  'take_open_orders', 'take_open_orders_as_json', 'take_storage_deletions', 'take_storage_deletions_as_json',
  'trash_batch_images', 'untag_batch_images', 'update_public_urls', 'worker_start'
)
union all
select 'published', '', 'public.' || c.relname
from pg_publication p join pg_publication_rel r on r.prpubid = p.oid join pg_class c on c.oid = r.prrelid
where p.pubname = 'supabase_realtime' and c.relnamespace = 'public'::regnamespace
  and c.relname in ('batch_generations', 'image_generations', 'images', 'image_tags')
  and not exists (select from batchgen_found f where f.kind = 'published' and f.name = 'public.' || c.relname)
union all
select 'view', '', 'public.batch_progress'
where to_regclass('public.batch_progress') is not null
  and not exists (select from batchgen_found where kind = 'table' and name = 'public.batch_progress')
union all
-- Indexes and columns of existing tables.
select 'index', t.name, i.indexname
from pg_indexes i join batchgen_found t on t.kind = 'table' and t.name = 'public.' || i.tablename
where i.schemaname = 'public' and i.indexname in (
  'idx_image_generations_user', 'idx_image_generations_model', 'idx_image_generations_batch',
  'idx_batch_generations_user_status', 'idx_batch_generations_user_created', 'idx_batch_generations_created',
  'idx_images_generation', 'idx_images_user', 'idx_images_source',
  'idx_images_storage_path', 'idx_images_thumbnail_path', 'idx_images_unsaved', 'idx_image_tags_tag',
  'idx_tags_created_by', 'idx_prompt_templates_user', 'idx_prompt_templates_public'
)
and not exists (select from batchgen_found f where f.kind = 'index' and f.name = i.indexname)
union all
select 'column', c.on_table, a.attname
from (values
  ('public.image_generations', '{batch_id,batch_index,retry_count,priority,error_code,started_at}'::text[]),
  ('public.images', '{rating,saved_at,seed,model_version,is_black,thumbnail_path}'),
  ('public.tags', '{created_by}')
) c (on_table, names)
join batchgen_found t on t.kind = 'table' and t.name = c.on_table
join pg_attribute a on a.attrelid = to_regclass(c.on_table) and a.attname = any (c.names)
where not a.attisdropped and not exists (
  select from batchgen_found f where f.kind = 'column' and f.on_table = c.on_table and f.name = a.attname
);

-- Tables that batchgen created: they stay if they have rows, or if a table that stays refers to them.
do $$
declare
  v_row record;
  v_count bigint;
begin
  for v_row in
    select m.name
    from unnest(array[
      'public.models', 'public.image_generations', 'public.images', 'public.tags', 'public.image_tags',
      'public.batch_generations', 'public.user_rate_limits', 'public.prompt_templates', 'auth.users'
    ]) m (name)
    where to_regclass(m.name) is not null
      and not exists (select from batchgen_found f where f.kind = 'table' and f.name = m.name)
  loop
    -- The models that the migrations inserted do not count as rows of the app.
    execute format('select count(*) from %s t %s', v_row.name, case v_row.name when 'public.models' then
      'where t.replicate_id <> ''batchgen/offline-sketch'''
      ' and not exists (select from batchgen.known_models k where k.provider_model = t.replicate_id)'
    end) into v_count;
    if v_count > 0 and current_setting('batchgen.pictures') = 'keep' then
      insert into batchgen_said (line) values (format('%s stays: batchgen made it, and it has rows (%s). '
        'batchgen.pictures = ''drop'' drops it.', v_row.name, v_count));
    else
      insert into batchgen_going (kind, name, row_count) values ('table', v_row.name, v_count);
    end if;
  end loop;

  loop
    select g.name, k.conrelid::regclass as by_table into v_row
    from batchgen_going g join pg_constraint k on k.contype = 'f' and k.confrelid = to_regclass(g.name)
    where g.kind = 'table'
      and not exists (select from batchgen_going o where o.kind = 'table' and to_regclass(o.name) = k.conrelid)
      and k.connamespace::regnamespace::text not in ('batchgen', 'batchgen_api')
      and not exists (
        select from batchgen_going o
        join pg_attribute a on a.attrelid = to_regclass(o.on_table) and a.attname = o.name
        where o.kind = 'column' and a.attrelid = k.conrelid and a.attnum = any (k.conkey)
      )
    limit 1;
    exit when not found;
    insert into batchgen_said (line) values (format('%s stays: batchgen made it, and %s refers to it.',
      v_row.name, v_row.by_table));
    delete from batchgen_going g where g.kind = 'table' and g.name = v_row.name;
  end loop;
end
$$;

-- Objects of the app that depend on objects to drop.
insert into batchgen_said (is_in_the_way, line)
with ours as (
  select n.oid as namespace from pg_namespace n where n.nspname in ('batchgen', 'batchgen_api')
),
relations as (
  select to_regclass(g.name)::oid as object from batchgen_going g where g.kind in ('table', 'view')
  union all select c.oid from pg_class c join ours on namespace = c.relnamespace
),
objects as (
  select 'pg_class'::regclass as class, r.object, null::integer as part from relations r
  union all select 'pg_type'::regclass, t.oid, null from pg_type t join relations r on r.object = t.typrelid
  union all select 'pg_type'::regclass, t.typarray, null from pg_type t join relations r on r.object = t.typrelid
  union all select 'pg_type'::regclass, t.oid, null from pg_type t join ours on namespace = t.typnamespace
  union all select 'pg_proc'::regclass, p.oid, null from pg_proc p join ours on namespace = p.pronamespace
  union all select 'pg_proc'::regclass, to_regprocedure(g.name), null from batchgen_going g where g.kind = 'function'
  union all
  select 'pg_class'::regclass, a.attrelid, a.attnum
  from batchgen_going g join pg_attribute a on a.attrelid = to_regclass(g.on_table) and a.attname = g.name
  where g.kind = 'column'
),
dependents as (
  select d.classid, d.objid, d.objsubid, case d.classid
      when 'pg_class'::regclass then coalesce((select i.indrelid from pg_index i where i.indexrelid = d.objid), d.objid)
      when 'pg_rewrite'::regclass then (select r.ev_class from pg_rewrite r where r.oid = d.objid)
      when 'pg_trigger'::regclass then (select t.tgrelid from pg_trigger t where t.oid = d.objid)
      when 'pg_policy'::regclass then (select p.polrelid from pg_policy p where p.oid = d.objid)
      when 'pg_attrdef'::regclass then (select a.adrelid from pg_attrdef a where a.oid = d.objid)
      when 'pg_constraint'::regclass then (select k.conrelid from pg_constraint k where k.oid = d.objid)
    end as relation
  from pg_depend d
  join objects o on o.class = d.refclassid and o.object = d.refobjid and coalesce(o.part = d.refobjsubid, true)
  where d.deptype in ('n', 'a')
    -- Keys, defaults and indexes of a column are dropped with it.
    and not (o.part is not null and (
      d.classid in ('pg_constraint'::regclass, 'pg_attrdef'::regclass)
      or d.classid = 'pg_class'::regclass and exists (select from pg_index i where i.indexrelid = d.objid)
    ))
    and not (d.classid = 'pg_constraint'::regclass and exists (
      select from pg_constraint k join objects c on c.object = k.conrelid and c.part = any (k.conkey)
      where k.oid = d.objid
    ))
)
select distinct true, format('%s depends on objects of batchgen. Drop or change it first.',
  case d.classid
    when 'pg_rewrite'::regclass then pg_describe_object('pg_class'::regclass, d.relation, 0)
    else pg_describe_object(d.classid, d.objid, d.objsubid)
  end)
from dependents d
left join pg_class c on c.oid = d.relation
left join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
left join pg_type t on d.classid = 'pg_type'::regclass and t.oid = d.objid
where coalesce(c.relnamespace, p.pronamespace, t.typnamespace) not in (select namespace from ours)
  and not exists (select from relations r where r.object = d.relation)
  and not exists (
    select from batchgen_going g
    where g.kind = 'function' and d.classid = 'pg_proc'::regclass and to_regprocedure(g.name) = d.objid
    or g.kind = 'trigger' and d.classid = 'pg_trigger'::regclass and to_regclass(g.on_table) = d.relation
      and g.name = (select o.tgname from pg_trigger o where o.oid = d.objid)
    or g.kind = 'policy' and d.classid = 'pg_policy'::regclass and to_regclass(g.on_table) = d.relation
      and g.name = (select o.polname from pg_policy o where o.oid = d.objid)
  );

-- Unfinished work.
insert into batchgen_said (is_in_the_way, line)
select not s.is_to_end, case when s.is_to_end
    then format('Items of batches that have not ended (waiting: %s, running: %s) end as failed, with the code '
      'cancelled.', waiting, running)
    else format('Items of batches have not ended (waiting: %s, running: %s). Let a worker finish them, or cancel their '
      'batches. Or: set batchgen.unfinished = ''end''.', waiting, running)
  end
from (
  select count(*) filter (where q.state <> 'running') as waiting,
    count(*) filter (where q.state = 'running') as running,
    current_setting('batchgen.unfinished') = 'end' as is_to_end
  from batchgen.queue q having count(*) > 0
) s;
insert into batchgen_said (line)
select format('The worker %s called %s seconds ago. Stop it: its functions no longer exist.', w.worker,
  round(greatest(extract(epoch from clock_timestamp() - w.last_seen), 0)))
from batchgen.live_workers w order by w.worker;
insert into batchgen_said (line)
select format('Orders of unknown outcome (%s): their providers will not be asked again.', count(*))
from batchgen.orders o where not o.is_settled having count(*) > 0;

-- Rows of batches in existing tables, since the installation; files.
do $$
declare
  v_count bigint;
begin
  if exists (select from batchgen_found where kind = 'table' and name = 'public.image_generations') then
    select count(*) into v_count from public.image_generations g
    where g.batch_index is not null and g.created_at >= (select min(f.found_at) from batchgen_found f);
    if v_count > 0 then
      insert into batchgen_said (line) values (format(case current_setting('batchgen.pictures')
          when 'drop'
          then 'public.image_generations: the rows of batches are deleted (%s), with their pictures in public.images.'
          else 'public.image_generations: the rows of batches stay (%s), with their pictures in public.images. '
            'batchgen.pictures = ''drop'' deletes both.'
        end, v_count));
    end if;
  end if;

  if exists (
    select from pg_class c where c.relnamespace::regnamespace::text = 'storage' and c.relname = 'objects'
      and has_table_privilege(c.oid, 'select')
  ) then
    execute 'select count(*) from storage.objects where bucket_id = ''generated-images''' into v_count;
    insert into batchgen_said (line)
    values (format('The bucket generated-images stays, with its files (%s).', v_count));
    execute 'select count(*) from storage.objects where bucket_id = ''batchgen-exports''' into v_count;
    insert into batchgen_said (line)
    values (format('The bucket batchgen-exports stays, with its files (%s).', v_count));
  end if;
  select count(*) into v_count from batchgen.storage_deletions;
  if v_count > 0 then
    insert into batchgen_said (line)
    values (format('Files that were due for deletion stay in the bucket (%s).', v_count));
  end if;
end
$$;

insert into batchgen_said (line)
select format('The table %s is dropped, with its rows (%s).', g.name, g.row_count)
from batchgen_going g where g.kind = 'table' order by g.name;
insert into batchgen_said (line)
select format('%s loses what batchgen added: %s.', g.on_table, concat_ws(', ',
    string_agg(case g.kind when 'policy' then 'policy "' || g.name || '"' else g.kind || ' ' || g.name end, ', '
      order by g.kind, g.name) filter (where g.kind <> 'trigger'),
    'triggers (' || nullif(count(*) filter (where g.kind = 'trigger'), 0) || ')'
  ))
from batchgen_going g
where g.on_table <> '' and not exists (select from batchgen_going t where t.kind = 'table' and t.name = g.on_table)
group by g.on_table order by g.on_table;
insert into batchgen_said (line)
select format('Dropped views and functions: %s.', string_agg(g.name, ', ' order by g.kind desc, g.name))
from batchgen_going g
where g.kind = 'view' or g.kind = 'function' and not exists (
  select from batchgen_found f where f.kind = 'function' and f.name = g.name
);
insert into batchgen_said (line)
select format('The function %s is the app''s own again.', f.name)
from batchgen_found f where f.kind = 'function' and f.name like 'public.%';
insert into batchgen_said (line)
select format('The schemas batchgen and batchgen_api are dropped, with the queue, the settings and the ledger '
  '(rows: %s; USD: %s). To keep the ledger: create table public.batch_ledger as table batchgen.ledger.',
  count(*), coalesce(sum(l.amount_usd), 0))
from batchgen.ledger l;

-- Report everything; go on only if nothing prevents it.
do $$
declare
  v_in_the_way text[] := array(select s.line from batchgen_said s where s.is_in_the_way order by s.nth);
  v_done text[] := array(select s.line from batchgen_said s where not s.is_in_the_way order by s.nth);
begin
  if v_in_the_way <> '{}' then
    raise exception using errcode = '55000',
      message = format('batchgen cannot be removed yet: %s in the way. Nothing was changed.',
        case cardinality(v_in_the_way) when 1 then '1 thing is' else cardinality(v_in_the_way) || ' things are' end)
        || E'\n- ' || array_to_string(v_in_the_way, E'\n- '),
      hint = 'Follow the remedy in each line, then run this again. See docs/existing-projects.md.';
  end if;
  if current_setting('batchgen.uninstall') = 'list' then
    raise exception using errcode = '55000',
      message = E'This is what removing batchgen would do. Nothing was changed.\n- '
        || array_to_string(v_done, E'\n- '),
      hint = 'To do it: set batchgen.uninstall = ''do''.';
  end if;
  raise notice '%', E'batchgen is removed from this project:\n- ' || array_to_string(v_done, E'\n- ');
end
$$;

-- Change rows while batchgen's triggers still exist: they keep the batches' totals correct.
do $$
declare
  v_since timestamptz := (select min(f.found_at) from batchgen_found f);
begin
  perform batchgen.end_as_failed(array(select q.generation_id from batchgen.queue q), 'cancelled',
    'Cancelled: batches were removed from this project.');
  if current_setting('batchgen.pictures') = 'drop' then
    delete from public.images i using public.image_generations g
    where g.id = i.generation_id and g.batch_index is not null and g.created_at >= v_since;
    delete from public.image_generations g where g.batch_index is not null and g.created_at >= v_since;
    delete from public.batch_generations b where b.created_at >= v_since;
  end if;
end
$$;
set constraints all immediate;

do $$
declare
  v_row record;
begin
  for v_row in select g.on_table, g.name from batchgen_going g where g.kind = 'policy' loop
    begin
      execute format('drop policy %I on %s', v_row.name, v_row.on_table);
    exception when insufficient_privilege then
      raise exception using errcode = '42501',
        message = format('%I may not drop policies on %s. Nothing was changed.', current_user, v_row.on_table),
        hint = format('Run as its owner, for each policy named "batchgen: …": drop policy %I on %s', v_row.name,
          v_row.on_table);
    end;
  end loop;
  for v_row in select g.on_table, g.name from batchgen_going g where g.kind = 'trigger' loop
    execute format('drop trigger %I on %s', v_row.name, v_row.on_table);
  end loop;
  for v_row in select g.name from batchgen_going g where g.kind = 'published' loop
    execute format('alter publication supabase_realtime drop table %s', v_row.name);
  end loop;
  if exists (select from pg_publication where pubname = 'supabase_realtime')
    and not exists (select from batchgen_found where kind = 'publication')
    and not exists (select from pg_publication_tables where pubname = 'supabase_realtime')
  then
    drop publication supabase_realtime;
  end if;
  for v_row in select g.name from batchgen_going g where g.kind = 'function' loop
    execute format('drop function %s', v_row.name);
  end loop;
  for v_row in select g.name from batchgen_going g where g.kind = 'view' loop
    execute format('drop view %s', v_row.name);
  end loop;
  -- Everything in them is batchgen's, as checked above. Without notices, whose hundreds of names would hide the report.
  perform set_config('client_min_messages', 'warning', true);
  drop schema if exists batchgen_api cascade;
  drop schema batchgen cascade;
  perform set_config('client_min_messages', 'notice', true);
  for v_row in select g.name from batchgen_going g where g.kind = 'index' loop
    execute format('drop index public.%I', v_row.name);
  end loop;
  for v_row in select g.on_table, g.name from batchgen_going g where g.kind = 'column' loop
    execute format('alter table %s drop column %I', v_row.on_table, v_row.name);
  end loop;
end
$$;

-- Restore rights, row level security, options and comments of existing tables. The migrations set rights and row level
-- security on tables without policies, on batch_generations, and on the view.
do $$
declare
  v_table record;
  v_row record;
begin
  for v_table in
    select f.*, c.oid, c.relkind, c.relowner, c.reloptions, c.relrowsecurity,
      case c.relkind when 'v' then 'view' else 'table' end as word
    from batchgen_found f join pg_class c on c.oid = to_regclass(f.name)
    where f.kind = 'table' and f.name like 'public.%'
  loop
    for v_row in
      select null::name as attname, 0 as number, v_table.description as was,
        obj_description(v_table.oid, 'pg_class') as is_now
      union all
      select a.attname, a.attnum, f.description, col_description(a.attrelid, a.attnum)
      from pg_attribute a
      join batchgen_found f on f.kind = 'column' and f.on_table = v_table.name and f.name = a.attname
      where a.attrelid = v_table.oid and not a.attisdropped
    loop
      if v_row.was is distinct from v_row.is_now then
        execute format('comment on %s %s is %L', case v_row.number when 0 then v_table.word else 'column' end,
          v_table.name || coalesce('.' || quote_ident(v_row.attname), ''), v_row.was);
      end if;
    end loop;

    if v_table.word = 'view' and v_table.options is distinct from v_table.reloptions then
      execute format('alter view %s reset (security_invoker)', v_table.name);
      for v_row in select o.option_name, o.option_value from pg_options_to_table(v_table.options) o loop
        execute format('alter view %s set (%I = %L)', v_table.name, v_row.option_name, v_row.option_value);
      end loop;
    end if;

    if v_table.name not in ('public.batch_generations', 'public.batch_progress')
      and exists (select from batchgen_found f where f.kind = 'policy' and f.on_table = v_table.name)
    then
      continue;
    end if;
    if exists (
      select from pg_policy p where p.polrelid = v_table.oid and not exists (
        select from batchgen_found f where f.kind = 'policy' and f.on_table = v_table.name and f.name = p.polname
      )
    ) then
      raise notice '% has new policies of the app: its rights and row level security stay as they are.', v_table.name;
      continue;
    end if;
    if v_table.relrowsecurity and not v_table.row_security then
      execute format('alter table %s disable row level security', v_table.name);
    end if;
    for v_row in
      select distinct e.grantee, r.rolname
      from (
        select (aclexplode(c.relacl)).* from pg_class c where c.oid = v_table.oid
        union all
        select (aclexplode(a.attacl)).* from pg_attribute a where a.attrelid = v_table.oid and a.attacl is not null
      ) e
      left join pg_roles r on r.oid = e.grantee
      where e.grantor = v_table.relowner
    loop
      execute format('revoke all on %s from %s', v_table.name, coalesce(quote_ident(v_row.rolname), 'public'));
    end loop;
    for v_row in
      select e.*, r.rolname
      from (
        select null::text as attname, (aclexplode(coalesce(v_table.rights, acldefault('r', v_table.relowner)))).*
        union all
        select f.name, (aclexplode(f.rights)).*
        from batchgen_found f where f.kind = 'column' and f.on_table = v_table.name
      ) e
      left join pg_roles r on r.oid = e.grantee
      where e.grantor = v_table.relowner and (e.grantee = 0 or r.oid is not null)
    loop
      execute format('grant %s%s on %s to %s%s', v_row.privilege_type, ' (' || quote_ident(v_row.attname) || ')',
        v_table.name, coalesce(quote_ident(v_row.rolname), 'public'),
        case when v_row.is_grantable and v_row.grantee <> v_table.relowner then ' with grant option' else '' end);
    end loop;
  end loop;
end
$$;

do $$
declare
  v_tables text := (select string_agg(g.name, ', ') from batchgen_going g where g.kind = 'table');
begin
  if v_tables is not null then
    execute format('drop table %s', v_tables);
  end if;

  -- On a plain Postgres, the migrations created a part of Supabase's schema auth.
  begin
    if not exists (select from batchgen_found where kind = 'function' and name = 'auth.uid()') then
      drop function if exists auth.uid();
    end if;
    if not exists (select from batchgen_found where kind = 'schema' and name = 'auth') then
      drop schema if exists auth;
    end if;
  exception when dependent_objects_still_exist then
    raise notice 'The schema auth stays, because a remaining object uses it.';
  end;
end
$$;

-- Restore the app's own get_user_limits(uuid), which had been replaced.
do $$
declare
  v_function record;
  v_row record;
begin
  for v_function in select * from batchgen_found where kind = 'function' and name = 'public.get_user_limits(uuid)' loop
    execute v_function.definition;
    for v_row in
      select distinct coalesce(quote_ident(r.rolname), 'public') as grantee
      from pg_proc p
      cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e
      left join pg_roles r on r.oid = e.grantee
      where p.oid = to_regprocedure(v_function.name)
    loop
      execute format('revoke all on function %s from %s', v_function.name, v_row.grantee);
    end loop;
    for v_row in
      select coalesce(quote_ident(r.rolname), 'public') as grantee,
        case when e.is_grantable and e.grantee <> e.grantor then ' with grant option' else '' end as option
      from aclexplode(v_function.rights) e left join pg_roles r on r.oid = e.grantee
      where e.grantee = 0 or r.oid is not null
    loop
      execute format('grant execute on function %s to %s%s', v_function.name, v_row.grantee, v_row.option);
    end loop;
    if v_function.description is not null then
      execute format('comment on function %s is %L', v_function.name, v_function.description);
    end if;
  end loop;
end
$$;

-- Delete batchgen's own migrations, by version and name, from the history.
do $$
begin
  if not exists (
    select from pg_class c
    where c.relnamespace::regnamespace::text = 'supabase_migrations' and c.relname = 'schema_migrations'
  ) then
    return;
  end if;
  execute $q$
    delete from supabase_migrations.schema_migrations m using (values
      ('20261123095900', 'first_look'),
      ('20261123095930', 'found_objects'),
      ('20261123100000', 'app_tables'),
      ('20261123100100', 'batch_schema'),
      ('20261123100200', 'row_level_security'),
      ('20261123100300', 'tables'),
      ('20261123100310', 'values'),
      ('20261123100400', 'limits'),
      ('20261123100500', 'models'),
      ('20261123100600', 'workers'),
      ('20261123110000', 'items'),
      ('20261123110100', 'pacing'),
      ('20261124090000', 'claims'),
      ('20261124090100', 'orders'),
      ('20261124100000', 'results'),
      ('20261124101000', 'storage'),
      ('20261124101100', 'requests'),
      ('20261124103100', 'actions'),
      ('20261124103200', 'app_writes'),
      ('20261124103300', 'health'),
      ('20261124103900', 'app_triggers'),
      ('20261124120000', 'realtime'),
      ('20261124120100', 'comments'),
      ('20261128130100', 'live'),
      ('20261128130200', 'thumbnails'),
      ('20261128130300', 'item_actions'),
      ('20261128130310', 'trash'),
      ('20261128130320', 'ratings'),
      ('20261128130330', 'run_again'),
      ('20261128130400', 'choices'),
      ('20261128130410', 'templates'),
      ('20261128130500', 'schedules'),
      ('20261128130600', 'credits'),
      ('20261128130700', 'exports'),
      ('20261128131000', 'details')
    ) o (version, name)
    where o.version = m.version and coalesce(to_jsonb(m) ->> 'name', o.name) = o.name
  $q$;
end
$$;

notify pgrst, 'reload schema';
commit;
