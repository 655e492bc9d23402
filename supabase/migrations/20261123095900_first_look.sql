-- Check the whole project before anything is created. One error lists everything that would stop one of the following
-- migrations or the functions that they create: each object, what exists, what is needed, and the remedy. Nothing is
-- created or changed.
-- docs/existing-projects.md describes this for people; tests/database/test_existing_projects.py compares these lists
-- with what the migrations create and use.
--
-- The blocks below add their findings to the setting batchgen.in_the_way, one per line; the last block raises them.

-- A database that already has the following migrations (a dev stack of an earlier checkout) is not checked.
do $$
declare
  v_is_installed boolean := false;
begin
  -- By the catalog, here and below, since to_regclass is an error where the schema may not be used.
  if exists (
    select from pg_class c
    where c.relnamespace::regnamespace::text = 'supabase_migrations' and c.relname = 'schema_migrations'
      and has_schema_privilege(c.relnamespace, 'usage') and has_table_privilege(c.oid, 'select')
  ) then
    execute $q$select exists (select from supabase_migrations.schema_migrations where version = '20261123100300')$q$
    into v_is_installed;
  end if;
  perform set_config('batchgen.look', case when v_is_installed then 'off' else 'on' end, false);
  perform set_config('batchgen.in_the_way', '', false);
end
$$;

-- Names that must be free. The app's own tables and views are checked below; here, objects of any other kind.
do $$
declare
  v_found text[];
begin
  if current_setting('batchgen.look') = 'off' then
    return;
  end if;
  v_found := array(
    select format('schema %s: already exists; batchgen creates its own. Rename it: alter schema %1$s rename to …. '
      'If it is left over from an earlier installation: drop schema %1$s cascade.', n.nspname)
    from pg_namespace n where n.nspname in ('batchgen', 'batchgen_api') order by n.nspname
  );
  v_found := v_found || array(
    select format('function public.%s(%s): batchgen creates a function of this name. '
      'Rename it: alter function public.%1$I(%2$s) rename to ….', p.proname, pg_get_function_identity_arguments(p.oid))
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'attach_provider_job', 'batch_details', 'batch_facts', 'batch_manifest', 'batch_snapshot', 'batch_waits',
      'batches_page', 'batches_page_as', 'begin_order', 'cancel_batch', 'claim_generations',
      'claim_generations_as_json', 'complete_and_claim', 'complete_export', 'complete_generation',
      'complete_generations', 'create_batch', 'create_batch_as', 'create_schedule', 'create_schedule_as',
      'credit_history', 'delete_batch_images', 'delete_batch_template', 'delete_schedule', 'discard_files',
      'edit_schedule', 'empty_trash', 'end_storage_deletions', 'fail_export', 'fail_generation', 'generate_similar',
      'get_batch_rating', 'get_batch_template', 'get_costs', 'get_credits', 'get_exports', 'get_models',
      'get_schedule_runs', 'get_schedules', 'get_trash', 'get_user_limits', 'get_workers', 'grant_credits',
      'grant_monthly_credits', 'list_batch_templates', 'list_batches', 'list_thumbnail', 'move_credit_horizon',
      'note_credit_adjustment', 'note_export_file', 'pause_schedule', 'plan_schedules', 'preview_batch',
      'preview_batch_as', 'preview_schedule', 'publish_batch_template', 'queue_outlook', 'rate_batch',
      'rate_batch_images', 'release_generations', 'release_generations_as_json', 'remove_expired_images',
      'rename_batch_template', 'renew_export', 'renew_leases', 'renew_leases_as_json', 'request_export',
      'restore_batch_images', 'resume_schedule', 'retry_failed', 'return_expired_leases', 'run_again', 'run_schedules',
      'save_batch_images', 'save_batch_template', 'set_picture_access', 'settle_order', 'tag_batch_images',
      'take_export', 'take_open_orders', 'take_open_orders_as_json', 'take_storage_deletions',
      'take_storage_deletions_as_json', 'trash_batch_images', 'untag_batch_images', 'update_public_urls', 'worker_start'
    )
    -- The app's own get_user_limits(uuid) is replaced, if possible.
    and not (p.proname = 'get_user_limits' and p.prokind = 'f' and oidvectortypes(p.proargtypes) = 'uuid'
      and pg_has_role(p.proowner, 'usage') and not exists (
        select from pg_depend d where d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid and d.deptype = 'n'
      ))
    order by p.proname, p.oid
  );
  v_found := v_found || array(
    select format('public.%s: is a %s; an ordinary table is needed. '
      'Rename it: alter %s public.%1$I rename to ….', c.relname, k.name, k.word)
    from pg_class c
    join (values
      ('v', 'view', 'view'), ('m', 'materialized view', 'materialized view'), ('f', 'foreign table', 'foreign table'),
      ('S', 'sequence', 'sequence'), ('i', 'index', 'index'), ('I', 'index', 'index'), ('c', 'type', 'type'),
      ('p', 'partitioned table', 'table')
    ) k (kind, name, word) on k.kind = c.relkind::text
    where c.relnamespace = 'public'::regnamespace and c.relkind <> 'r' and c.relname in (
      'models', 'image_generations', 'images', 'tags', 'image_tags', 'batch_generations', 'user_rate_limits',
      'prompt_templates'
    )
    order by c.relname
  );
  v_found := v_found || array(
    select 'public.batch_progress: is not a view; a view is needed. '
      'Rename it: alter table public.batch_progress rename to ….'
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relname = 'batch_progress' and c.relkind <> 'v'
  );
  v_found := v_found || array(
    select format('type public.%s: has the name of a table that is needed. '
      'Rename it: alter type public.%1$I rename to ….', t.typname)
    from pg_type t
    where t.typnamespace = 'public'::regnamespace and t.typrelid = 0 and t.typname in (
      'models', 'image_generations', 'images', 'tags', 'image_tags', 'batch_generations', 'user_rate_limits',
      'prompt_templates', 'batch_progress'
    )
    order by t.typname
  );
  v_found := v_found || array(
    select format('public.%s: already exists, and is not the index of public.%s that batchgen creates with this name. '
      'Rename it: alter %s public.%1$I rename to ….', n.name, n.table_name,
      case when c.relkind in ('i', 'I') then 'index' else 'table' end)
    from (values
      ('idx_image_generations_user', 'image_generations'), ('idx_image_generations_model', 'image_generations'),
      ('idx_image_generations_batch', 'image_generations'), ('idx_batch_generations_user_status', 'batch_generations'),
      ('idx_batch_generations_user_created', 'batch_generations'),
      ('idx_batch_generations_created', 'batch_generations'),
      ('idx_images_generation', 'images'), ('idx_images_user', 'images'), ('idx_images_source', 'images'),
      ('idx_images_storage_path', 'images'), ('idx_images_thumbnail_path', 'images'),
      ('idx_images_unsaved', 'images'), ('idx_image_tags_tag', 'image_tags'), ('idx_tags_created_by', 'tags'),
      ('idx_prompt_templates_user', 'prompt_templates'), ('idx_prompt_templates_public', 'prompt_templates')
    ) n (name, table_name)
    join pg_class c on c.relnamespace = 'public'::regnamespace and c.relname = n.name
    left join pg_index i on i.indexrelid = c.oid
    where i.indrelid is distinct from to_regclass('public.' || n.table_name)::oid
    order by n.name
  );
  v_found := v_found || array(
    select format('trigger %s on public.%s: this prefix is reserved for batchgen''s own triggers. '
      'Rename it: alter trigger %1$I on public.%2$I rename to ….', t.tgname, c.relname)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'public'::regnamespace and t.tgname like 'batchgen\_%' and c.relname in (
      'models', 'image_generations', 'images', 'tags', 'image_tags', 'batch_generations', 'user_rate_limits',
      'prompt_templates'
    )
    order by t.tgname, c.relname
  );
  perform set_config('batchgen.in_the_way',
    current_setting('batchgen.in_the_way') || array_to_string(v_found || ''::text, E'\n'), false);
end
$$;

-- Columns of existing tables: each that batchgen reads or writes, with its types. Those in brackets may be missing:
-- they are added.
do $$
declare
  v_found text[];
begin
  if current_setting('batchgen.look') = 'off' then
    return;
  end if;
  with needed as (
    select n.table_name, trim(c.name, '()') as name, c.name like '(%' as is_added, n.types
    from (values
      ('models', '{uuid}', 'id'),
      ('models', '{text}', 'name display_name replicate_id'),
      ('models', '{boolean}', 'is_active is_default supports_negative_prompt supports_seed'),
      ('models', '{integer}', 'sort_order estimated_time_seconds default_width default_height default_steps'),
      ('models', '{integer}', 'min_width max_width min_height max_height max_steps'),
      ('models', '{double precision,numeric,real}', 'cost_per_generation default_guidance_scale'),
      ('image_generations', '{uuid}', 'id user_id model_id (batch_id)'),
      ('image_generations', '{text}', 'prompt negative_prompt model style status error_message'),
      ('image_generations', '{text}', 'replicate_prediction_id source_image_url'),
      ('image_generations', '{integer}', 'width height steps (batch_index) (retry_count) (priority)'),
      ('image_generations', '{integer,bigint,double precision,numeric,real}', 'generation_time_seconds'),
      ('image_generations', '{bigint}', 'seed'),
      ('image_generations', '{double precision,numeric,real}', 'guidance_scale generation_strength'),
      ('image_generations', '{text,character varying}', '(error_code)'),
      ('image_generations', '{timestamp with time zone}', 'created_at completed_at'),
      ('image_generations', '{timestamp with time zone,timestamp without time zone}', '(started_at)'),
      ('images', '{uuid}', 'id generation_id user_id source_image_id'),
      ('images', '{text}', 'filename storage_path prompt public_url negative_prompt model style format blurhash'),
      ('images', '{text}', '(model_version) (thumbnail_path)'),
      ('images', '{integer,bigint,smallint}', 'width height (rating) download_count'),
      ('images', '{bigint,integer}', 'file_size'),
      ('images', '{bigint}', '(seed)'),
      ('images', '{double precision,numeric,real}', 'generation_strength'),
      ('images', '{boolean}', 'is_public is_favorite (is_black)'),
      ('images', '{timestamp with time zone}', 'archived_at created_at (saved_at)'),
      ('tags', '{uuid}', 'id (created_by)'),
      ('tags', '{text}', 'name color'),
      ('tags', '{timestamp with time zone}', 'created_at'),
      ('image_tags', '{uuid}', 'image_id tag_id'),
      ('batch_generations', '{uuid}', 'id user_id'),
      ('batch_generations', '{text}', 'name status model_id model_version'),
      ('batch_generations', '{integer}', 'total_count completed_count failed_count width height steps'),
      ('batch_generations', '{double precision}', 'guidance_scale'),
      ('batch_generations', '{timestamp with time zone}', 'created_at completed_at'),
      ('batch_progress', '{uuid}', 'id user_id'),
      ('batch_progress', '{integer}', 'total_count completed_count failed_count'),
      ('batch_progress', '{text}', 'status'),
      ('batch_progress', '{bigint}', 'processing_count'),
      ('batch_progress', '{json[]}', 'items'),
      ('user_rate_limits', '{uuid}', 'user_id'),
      ('user_rate_limits', '{integer}', 'daily_generations_count daily_generations_limit'),
      ('user_rate_limits', '{integer}', 'hourly_generations_count hourly_generations_limit'),
      ('user_rate_limits', '{integer}', 'max_batch_size max_concurrent_generations'),
      ('user_rate_limits', '{bigint,integer}', 'total_generations_all_time'),
      ('user_rate_limits', '{timestamp with time zone}', 'daily_reset_at hourly_reset_at'),
      ('user_rate_limits', '{timestamp with time zone}', 'last_generation_at updated_at'),
      ('prompt_templates', '{uuid}', 'user_id'),
      ('prompt_templates', '{text}', 'name prompt category negative_prompt'),
      ('prompt_templates', '{boolean}', 'is_public'),
      ('prompt_templates', '{integer,bigint}', 'use_count')
    ) n (table_name, types, names)
    cross join lateral regexp_split_to_table(n.names, ' ') c (name)
  ),
  compared as (
    select n.table_name, c.relkind, n.name, n.is_added, n.types::text[] as types, a.attname is null as is_missing,
      format_type(a.atttypid, null) as there
    from needed n
    join pg_class c on c.relnamespace = 'public'::regnamespace and c.relname = n.table_name
    left join pg_attribute a on a.attrelid = c.oid and a.attname = n.name and not a.attisdropped and a.attnum > 0
    where c.relkind = case when n.table_name = 'batch_progress' then 'v'::"char" else 'r'::"char" end
  )
  select array_agg(said order by table_name, nth, said) into v_found from (
    -- Missing columns, in one line per table.
    select table_name, 1 as nth, format(
      case relkind
        when 'v' then 'public.%s: has no column %s, and is not the specification''s view. Drop it: it is recreated.'
        else 'public.%s: has no column %s. If the table is the app''s: alter table public.%1$s %s. '
          'If it is another one: alter table public.%1$s rename to ….'
      end,
      table_name, string_agg(format('%s (%s)', name, types[1]), ', ' order by name),
      string_agg(format('add column %s %s', name, types[1]), ', ' order by name)) as said
    from compared where is_missing and not is_added group by table_name, relkind
    union all
    select table_name, 2, format(
      case relkind
        when 'v' then 'public.%s.%s: is %s; %s is needed. Drop the view: it will be created as specified.'
        else 'public.%s.%s: is %s; %s is needed. If the table is the app''s: alter table public.%1$s alter column %2$s '
          'type %5$s. If it is another one: alter table public.%1$s rename to ….'
      end, table_name, name, there, array_to_string(types, ' or '), types[1])
    from compared where not is_missing and there <> all (types)
  ) s;
  perform set_config('batchgen.in_the_way',
    current_setting('batchgen.in_the_way') || array_to_string(v_found || ''::text, E'\n'), false);
end
$$;

-- Further requirements: keys, nullable columns, allowed values, and the effect of deleting a batch.
do $$
declare
  v_found text[] := '{}';
  v_row record;
  v_takes boolean;
begin
  if current_setting('batchgen.look') = 'off' then
    return;
  end if;
  v_found := v_found || array(
    select format('public.%s: has no primary or unique key on (%s). '
      'Make one: alter table public.%1$s add unique (%2$s).', k.table_name, k.columns)
    from (values
      ('models', 'id'), ('image_generations', 'id'), ('images', 'id'), ('tags', 'id'), ('tags', 'name'),
      ('image_tags', 'image_id, tag_id'), ('batch_generations', 'id'), ('user_rate_limits', 'user_id')
    ) k (table_name, columns)
    join pg_class c on c.relnamespace = 'public'::regnamespace and c.relname = k.table_name and c.relkind = 'r'
    where (
      select count(*) from pg_attribute a
      where a.attrelid = c.oid and not a.attisdropped and a.attname = any (string_to_array(k.columns, ', '))
    ) = cardinality(string_to_array(k.columns, ', '))
    and not exists (
      select from pg_index i
      where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate
        and i.indpred is null and i.indexprs is null and array(
          select a.attname::text from unnest(i.indkey[0 : i.indnkeyatts - 1]) key (number)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = key.number order by 1
        ) = array(select name from unnest(string_to_array(k.columns, ', ')) name order by 1)
    )
    order by k.table_name, k.columns
  );

  -- Columns that batchgen's rows leave empty, or leave to their default.
  v_found := v_found || array(
    select format('public.%s.%s: is not null%s, but batchgen leaves it empty. Either: alter table public.%1$s alter '
      'column %2$I drop not null. Or: alter table public.%1$s alter column %2$I set default ….',
      w.table_name, a.attname, case when a.atthasdef then '' else ' and has no default' end)
    from (values
      ('models', 'id name display_name replicate_id is_active is_default', 'cost_per_generation estimated_time_seconds '
        'default_steps default_guidance_scale supports_negative_prompt supports_seed'),
      ('image_generations', 'user_id prompt status batch_index retry_count priority width height seed', 'model '
        'model_id negative_prompt steps guidance_scale batch_id error_message error_code started_at completed_at'),
      ('images', 'user_id filename storage_path prompt is_black', 'generation_id public_url negative_prompt model '
        'style width height format file_size blurhash source_image_id saved_at seed model_version thumbnail_path'),
      ('tags', 'name', 'created_by'),
      ('image_tags', 'image_id tag_id', ''),
      ('batch_generations', 'id user_id total_count completed_count failed_count status width height',
        'name model_id model_version steps guidance_scale completed_at'),
      ('user_rate_limits', 'user_id', '')
    ) w (table_name, filled, emptied)
    join pg_class c on c.relnamespace = 'public'::regnamespace and c.relname = w.table_name and c.relkind = 'r'
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where a.attnotnull and a.attidentity = '' and (
      a.attname = any (string_to_array(w.emptied, ' '))
      or (a.attname <> all (string_to_array(w.filled, ' ')) and not a.atthasdef)
    )
    order by w.table_name, a.attname
  );

  -- A CHECK on one column can be evaluated for each value.
  for v_row in
    select c.relname, a.attname, k.conname, v.value, pg_get_expr(k.conbin, k.conrelid) as expression
    from (values
      ('image_generations', 'status', '{pending,processing,completed,failed}'::text[]),
      ('batch_generations', 'status', '{pending,processing,completed,partial,failed}'),
      ('images', 'format', '{png,webp,jpeg}')
    ) n (table_name, column_name, needed)
    join pg_class c on c.relnamespace = 'public'::regnamespace and c.relname = n.table_name and c.relkind = 'r'
    join pg_attribute a on a.attrelid = c.oid and a.attname = n.column_name and a.atttypid = 'text'::regtype
    join pg_constraint k on k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]
    cross join lateral unnest(n.needed) with ordinality v (value, place)
    order by c.relname, k.conname, v.place
  loop
    execute format('select (%s) from (select %L::text as %I) t', v_row.expression, v_row.value, v_row.attname)
    into v_takes;
    if v_takes is false then
      v_found := v_found || format('public.%s.%s: its CHECK %I does not allow ''%s'', which batchgen writes. '
        'Replace it with one that does.', v_row.relname, v_row.attname, v_row.conname, v_row.value);
    end if;
  end loop;

  v_found := v_found || array(
    select 'public.image_generations.batch_id: has no foreign key to public.batch_generations (id) on delete set null, '
      'which keeps pictures when their batch is deleted. Add it, or drop the column: it will be created again.'
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'batch_id' and not a.attisdropped
    where c.oid = to_regclass('public.image_generations') and c.relkind = 'r' and not exists (
      select from pg_constraint k
      where k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum]
        and k.confrelid = to_regclass('public.batch_generations') and k.confdeltype = 'n'
    )
  );
  v_found := v_found || array(
    select format('public.%s: its foreign key %I prevents the deletion of a batch, or deletes rows with it, but '
      'finished pictures must stay. Replace it with one with on delete set null.', c.relname, k.conname)
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where k.contype = 'f' and k.confrelid = to_regclass('public.batch_generations') and k.confdeltype <> 'n'
      and c.oid in (to_regclass('public.image_generations'), to_regclass('public.images'))
    order by c.relname, k.conname
  );
  perform set_config('batchgen.in_the_way',
    current_setting('batchgen.in_the_way') || array_to_string(v_found || ''::text, E'\n'), false);
end
$$;

-- Owners, and the privileges of the role that applies the migrations.
do $$
declare
  v_found text[] := '{}';
  v_of_bucket text[];
  v_auth oid := (select n.oid from pg_namespace n where n.nspname = 'auth');
  v_users oid := (
    select c.oid from pg_class c where c.relnamespace = v_auth and c.relname = 'users' and c.relkind = 'r'
  );
begin
  if current_setting('batchgen.look') = 'off' then
    return;
  end if;
  v_found := v_found || array(
    select format('role %s: is missing; Supabase''s projects have it.', r.name)
    from (values ('anon'), ('authenticated'), ('service_role')) r (name)
    where not exists (select from pg_roles p where p.rolname = r.name) order by r.name
  );
  v_found := v_found || array(
    select format('public.%s: belongs to %I, and %I, who applies this, may not change it. As %2$I or a superuser: '
      'alter %s public.%1$s owner to %3$I. Or: grant %2$I to %3$I.', c.relname, o.rolname, current_user,
      case c.relkind when 'v' then 'view' else 'table' end)
    from pg_class c join pg_roles o on o.oid = c.relowner
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
      and not pg_has_role(c.relowner, 'usage') and c.relname in (
      'models', 'image_generations', 'images', 'tags', 'image_tags', 'batch_generations', 'user_rate_limits',
      'prompt_templates', 'batch_progress'
    )
    order by c.relname
  );
  v_found := v_found || array(
    select format('public.%s: row level security applies to %I, which must see all rows. As a superuser: '
      'alter role %2$I bypassrls. Or: alter table public.%1$s no force row level security.', c.relname, current_user)
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and pg_has_role(c.relowner, 'usage')
      and row_security_active(c.oid) and c.relname in (
        'models', 'image_generations', 'images', 'tags', 'image_tags', 'batch_generations', 'user_rate_limits',
        'prompt_templates'
      )
    order by c.relname
  );
  if not has_database_privilege(current_database(), 'create') then
    v_found := v_found || format('database %I: %I may not create schemas in it. '
      'As its owner: grant create on database %1$I to %2$I.', current_database(), current_user);
  end if;
  if not has_schema_privilege('public', 'create') then
    v_found := v_found || format('schema public: %I may not create objects in it. '
      'As its owner: grant create on schema public to %1$I.', current_user);
  end if;

  if not has_schema_privilege(v_auth, 'usage') then
    v_found := v_found || format('schema auth: %I may not use it. As its owner: grant usage on schema auth to %1$I.',
      current_user);
  elsif v_users is null and not has_schema_privilege(v_auth, 'create') then
    v_found := v_found || format('auth.users: is missing, and %I may not create objects in the schema auth. '
      'Is this Supabase''s database?', current_user);
  elsif v_users is not null then
    if not exists (
      select from pg_attribute a join pg_index i on i.indrelid = a.attrelid and i.indisunique and i.indpred is null
      where a.attrelid = v_users and a.attname = 'id' and a.atttypid = 'uuid'::regtype
        and i.indkey::text = a.attnum::text
    ) then
      v_found := v_found || 'auth.users.id: is not a uuid with a unique key. Is this Supabase''s auth schema?'::text;
    end if;
    v_found := v_found || array(
      select format('auth.users: %I has no right to %s. As its owner: grant %2$s on auth.users to %1$I.',
        current_user, p.privilege)
      from unnest(array['references', 'select', 'update']) p (privilege)
      where not has_table_privilege(v_users, p.privilege)
    );
    if row_security_active(v_users) then
      v_found := v_found || format('auth.users: row level security hides its rows from %I. '
        'As a superuser: alter role %1$I bypassrls.', current_user);
    end if;
  end if;

  v_found := v_found || array(
    select format('publication supabase_realtime: belongs to %I, and %I may not add tables to it. '
      'As a superuser: alter publication supabase_realtime owner to %2$I.', o.rolname, current_user)
    from pg_publication p join pg_roles o on o.oid = p.pubowner
    where p.pubname = 'supabase_realtime' and not p.puballtables and not pg_has_role(p.pubowner, 'usage') and (
      select count(*) from pg_publication_tables t
      where t.pubname = p.pubname and t.schemaname = 'public'
        and t.tablename in ('batch_generations', 'image_generations', 'images', 'image_tags')
    ) < 4
  );

  -- An existing bucket is the app's: its settings stay, and must suit the pictures.
  if exists (
    select from pg_class c
    where c.relnamespace::regnamespace::text = 'storage' and c.relname = 'buckets'
      and has_schema_privilege(c.relnamespace, 'usage') and has_table_privilege(c.oid, 'select')
  ) then
    execute $q$
      select array(
        select format('bucket generated-images: %s. %s: update storage.buckets set %s where id = ''generated-images''.',
          p.what, p.remedy, p.assignment)
        from (select to_jsonb(b) as b from storage.buckets b where b.id = 'generated-images') found
        cross join lateral (values
          (1, (b -> 'public')::text = 'false', 'is private, but the URLs of pictures are public',
            'If everyone who knows a URL may see its picture', 'public = true'),
          (2, (b ->> 'file_size_limit')::bigint < 52428800,
            format('allows %s bytes per file; 52428800 are needed', b ->> 'file_size_limit'), 'Raise it',
            'file_size_limit = 52428800'),
          (3, jsonb_typeof(b -> 'allowed_mime_types') = 'array' and b -> 'allowed_mime_types' <> '[]'
            and not b -> 'allowed_mime_types' ?| array['*', '*/*', 'image/*']
            and not b -> 'allowed_mime_types' ?& array['image/png', 'image/webp', 'image/jpeg'],
            format('allows the types %s; image/png, image/webp and image/jpeg are needed',
              b ->> 'allowed_mime_types'), 'Add them',
            'allowed_mime_types = allowed_mime_types || ''{image/png,image/webp,image/jpeg}''')
        ) p (nth, is_in_the_way, what, remedy, assignment)
        where p.is_in_the_way order by p.nth
      )
    $q$ into v_of_bucket;
    v_found := v_found || v_of_bucket;
  end if;
  perform set_config('batchgen.in_the_way',
    current_setting('batchgen.in_the_way') || array_to_string(v_found || ''::text, E'\n'), false);
end
$$;

do $$
declare
  v_found text[] := string_to_array(trim(E'\n' from current_setting('batchgen.in_the_way')), E'\n');
begin
  perform set_config('batchgen.in_the_way', '', false);
  if v_found <> '{}' then
    raise exception using errcode = '55000',
      message = format('batchgen cannot be added to this project yet: %s in the way. Nothing was made.',
        case cardinality(v_found) when 1 then '1 thing is' else cardinality(v_found) || ' things are' end) || E'\n- '
        || array_to_string(v_found, E'\n- '),
      hint = 'Follow the remedy in each line, then apply the migrations again. See docs/existing-projects.md.';
  end if;
end
$$;
