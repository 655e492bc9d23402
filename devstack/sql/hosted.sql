-- A hosted project before its first migration, part 2: additions to the schemas auth and storage that Supabase Lite
-- created. Runs at every start.

-- As on hosted projects, claims are read from both kinds of settings. Lite's own functions read only the first.
create or replace function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    )::uuid
$$;

create or replace function auth.role() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
    )::text
$$;

create or replace function auth.email() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
    )::text
$$;

create or replace function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;

grant usage on schema auth to anon, authenticated, service_role, dashboard_user;
grant usage on schema storage to anon, authenticated, service_role, dashboard_user;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role, dashboard_user;

-- Objects must be deleted through the Storage API, or their files are orphaned.
create or replace function storage.protect_delete() returns trigger language plpgsql as $$
begin
    if coalesce(current_setting('storage.allow_delete_query', true), 'false') <> 'true' then
        raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
            using hint = 'This prevents accidental data loss from orphaned objects.', errcode = '42501';
    end if;
    return null;
end
$$;

create or replace trigger protect_buckets_delete before delete on storage.buckets
    for each statement execute function storage.protect_delete();
create or replace trigger protect_objects_delete before delete on storage.objects
    for each statement execute function storage.protect_delete();

-- Supabase Lite writes JSON strings that contain JSON into these columns, in which `->>` would find nothing.
create or replace function extensions.decode_json_strings() returns trigger language plpgsql set search_path = '' as $$
declare
    decoded jsonb;
begin
    select jsonb_object_agg(name, (to_jsonb(new) ->> name)::jsonb) into decoded
    from unnest(tg_argv) as name
    where jsonb_typeof(to_jsonb(new) -> name) = 'string';
    return case when decoded is null then new else jsonb_populate_record(new, decoded) end;
end
$$;

create or replace trigger decode_json_strings before insert or update on auth.users
    for each row execute function extensions.decode_json_strings('raw_app_meta_data', 'raw_user_meta_data');
create or replace trigger decode_json_strings before insert or update on auth.identities
    for each row execute function extensions.decode_json_strings('identity_data');
create or replace trigger decode_json_strings before insert or update on storage.objects
    for each row execute function extensions.decode_json_strings('metadata', 'user_metadata');
