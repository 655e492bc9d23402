-- On top of hosted_schemas.sql: a hosted project's owners. `project_owner` is what the role postgres is there: no
-- superuser,
-- and not the owner of the schemas auth and storage.
do $$
begin
  if not exists (select from pg_roles where rolname = 'project_owner') then
    create role project_owner login password 'project_owner' nosuperuser bypassrls createrole createdb;
    create role prisma login password 'prisma';
  end if;
  execute format('alter database %I owner to project_owner', current_database());
end
$$;
grant anon, authenticated, service_role to project_owner;
alter publication supabase_realtime owner to project_owner;
grant create, usage on schema public to prisma;
alter schema extensions owner to project_owner;

alter schema auth owner to supabase_auth_admin;
alter table auth.users owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
grant usage on schema auth to project_owner;
grant all on auth.users to project_owner;

do $$
begin
  if exists (select from pg_namespace where nspname = 'storage') then
    alter schema storage owner to supabase_storage_admin;
    alter table storage.buckets owner to supabase_storage_admin;
    alter table storage.objects owner to supabase_storage_admin;
    alter function storage.foldername(text) owner to supabase_storage_admin;
    grant usage on schema storage to project_owner;
    grant all on storage.buckets, storage.objects to project_owner;
  end if;
end
$$;

-- Realtime's tables belong to its own role, and the project may use them.
do $$
begin
  if exists (select from pg_namespace where nspname = 'realtime') then
    grant usage on schema realtime to project_owner;
    grant all on realtime.messages to project_owner;
  end if;
end
$$;

-- What the app has in public is the project's.
do $$
declare
  v_name text;
begin
  for v_name in select format('%I', c.relname) from pg_class c where c.relnamespace = 'public'::regnamespace
    and c.relkind in ('r', 'v') loop
    execute format('alter table public.%s owner to project_owner', v_name);
  end loop;
end
$$;
