-- Tables and functions that show how REST, Auth and Storage behave.
create table public.notes (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id),
    text text not null unique,
    written_at timestamptz not null default now()
);
alter table public.notes enable row level security;
grant select, insert on public.notes to authenticated;
create policy own_select on public.notes for select to authenticated using (user_id = (select auth.uid()));
create policy own_insert on public.notes for insert to authenticated with check (user_id = (select auth.uid()));

create table public.unseen (id int primary key);
alter table public.unseen enable row level security;

create function public.refuse(p_code text) returns void language plpgsql set search_path = '' as $$
begin
    raise exception 'refused' using errcode = p_code, detail = 'the detail', hint = 'the hint';
end
$$;
create function public.type_of(p_value jsonb) returns text language sql set search_path = '' as 'select jsonb_typeof(p_value)';
create function public.how_many(p_ids uuid[]) returns int language sql set search_path = '' as 'select cardinality(p_ids)';

insert into storage.buckets (id, name, public) values ('pictures', 'pictures', true), ('private', 'private', false);
create policy own_insert on storage.objects for insert to authenticated
    with check ((storage.foldername(name))[1] = (select auth.uid())::text);
create policy own_select on storage.objects for select to authenticated
    using ((storage.foldername(name))[1] = (select auth.uid())::text);
create policy own_update on storage.objects for update to authenticated
    using ((storage.foldername(name))[1] = (select auth.uid())::text);
create policy own_delete on storage.objects for delete to authenticated
    using ((storage.foldername(name))[1] = (select auth.uid())::text);
