-- Tables, views and single columns; what is not in the lists is granted to nobody but the owner.
begin;
set local search_path = public, extensions;
select plan(2);

select bag_eq(
  $$
    select n.nspname || '.' || c.relname, case when e.grantee = 0 then 'public' else e.grantee::regrole::text end,
      string_agg(lower(e.privilege_type), ', ' order by e.privilege_type)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join aclexplode(c.relacl) e
    where n.nspname in ('public', 'batchgen', 'batchgen_api') and e.grantee <> c.relowner
    group by 1, 2
  $$,
  $$
    values
      ('public.batch_generations', 'authenticated', 'delete, select'),
      ('public.batch_generations', 'service_role', 'delete, insert, select, update'),
      ('public.batch_progress', 'authenticated', 'select'),
      ('public.batch_progress', 'service_role', 'select'),
      ('public.image_generations', 'authenticated', 'select'),
      ('public.image_generations', 'service_role', 'delete, insert, select, update'),
      ('public.image_tags', 'authenticated', 'delete, select'),
      ('public.image_tags', 'service_role', 'delete, insert, select, update'),
      ('public.images', 'authenticated', 'delete, select'),
      ('public.images', 'service_role', 'delete, insert, select, update'),
      ('public.models', 'anon', 'select'),
      ('public.models', 'authenticated', 'select'),
      ('public.models', 'service_role', 'delete, insert, select, update'),
      ('public.prompt_templates', 'authenticated', 'delete, insert, select, update'),
      ('public.prompt_templates', 'service_role', 'delete, insert, select, update'),
      ('public.tags', 'authenticated', 'delete, select'),
      ('public.tags', 'service_role', 'delete, insert, select, update'),
      ('public.user_rate_limits', 'authenticated', 'select'),
      ('public.user_rate_limits', 'service_role', 'delete, insert, select, update')
  $$,
  'tables and views are granted as listed'
);

select bag_eq(
  $$
    select a.attrelid::regclass::text, e.grantee::regrole::text, lower(e.privilege_type),
      string_agg(a.attname, ' ' order by a.attname collate "C")
    from pg_attribute a join pg_class c on c.oid = a.attrelid cross join aclexplode(a.attacl) e
    where c.relnamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api')
    group by 1, 2, 3
  $$,
  $$
    values
      ('batch_generations', 'authenticated', 'update', 'completed_at failed_count status'),
      ('image_generations', 'authenticated', 'insert',
        'generation_strength guidance_scale height model model_id negative_prompt prompt seed source_image_url status '
        'steps style user_id width'),
      ('image_generations', 'authenticated', 'update', 'completed_at error_message retry_count status'),
      ('image_tags', 'authenticated', 'insert', 'image_id tag_id'),
      ('images', 'authenticated', 'insert',
        'archived_at blurhash download_count file_size filename format generation_id generation_strength height '
        'is_favorite is_public model negative_prompt prompt public_url rating source_image_id storage_path style '
        'user_id width'),
      ('images', 'authenticated', 'update',
        'archived_at blurhash download_count filename is_favorite is_public rating'),
      ('tags', 'authenticated', 'insert', 'color name')
  $$,
  'single columns are granted as listed'
);

select * from finish();
rollback;
