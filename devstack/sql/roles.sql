-- A hosted project before its first migration, part 1: roles, schemas, grants, publication. Runs at every start.
-- As in newer hosted projects, new tables and functions are granted to nobody by default.
do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values
            ('anon', 'nologin noinherit'),
            ('authenticated', 'nologin noinherit'),
            ('service_role', 'nologin noinherit bypassrls'),
            ('authenticator', 'nologin noinherit'),
            ('supabase_admin', 'nologin superuser createdb createrole replication bypassrls'),
            ('supabase_auth_admin', 'nologin noinherit createrole'),
            ('supabase_storage_admin', 'nologin noinherit createrole'),
            ('supabase_realtime_admin', 'nologin noinherit'),
            ('supabase_replication_admin', 'nologin replication'),
            ('supabase_read_only_user', 'nologin bypassrls'),
            ('dashboard_user', 'nologin createdb createrole replication')
        ) as hosted (name, attributes)
    loop
        if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
            execute format('create role %I %s', wanted.name, wanted.attributes);
        end if;
    end loop;

    if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
    end if;
end
$$;

grant anon, authenticated, service_role to authenticator;
grant usage on schema public to anon, authenticated, service_role;

create schema if not exists extensions;
grant usage on schema extensions to anon, authenticated, service_role, dashboard_user;

-- Hosted projects have both; this build of Postgres may lack the libraries for them.
do $$
declare
    wanted text;
begin
    for wanted in
        select name from pg_catalog.pg_available_extensions where name in ('pgcrypto', 'uuid-ossp')
    loop
        execute format('create extension if not exists %I with schema extensions', wanted);
    end loop;
end
$$;

alter role postgres set search_path = "$user", public, extensions;
