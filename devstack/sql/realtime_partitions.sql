-- The partitions of realtime.messages for the days around today (UTC), without those older than 72 hours. As
-- supabase/realtime v2.129.8 does it when it connects, and every few hours. Runs at every start, too.
do $$
declare
    today date := (now() at time zone 'utc')::date;
    day date;
    name text;
    past record;
begin
    for day in select today + n from generate_series(-1, 3) n loop
        name := 'messages_' || to_char(day, 'YYYY_MM_DD');
        -- With `if not exists` alone, the table would be locked against writes each time.
        if to_regclass('realtime.' || name) is null then
            execute format('create table if not exists realtime.%I partition of realtime.messages'
                ' for values from (%L) to (%L)', name, day, day + 1);
            execute format('alter table realtime.%I owner to supabase_realtime_admin', name);
        end if;
    end loop;
    for past in
        select c.oid::regclass as partition from pg_catalog.pg_inherits i
        join pg_catalog.pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'realtime.messages'::regclass and c.relname ~ '^messages_\d{4}_\d\d_\d\d$'
            and to_date(substring(c.relname from 10), 'YYYY_MM_DD') < today - 3
    loop
        execute format('drop table if exists %s', past.partition);
    end loop;
end
$$;
