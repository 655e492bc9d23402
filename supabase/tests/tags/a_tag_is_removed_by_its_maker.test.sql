begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
select plan(4);

:as_owner;
insert into public.tags (id, name, created_by)
values ('7a600000-0000-4000-8000-000000000008', 'mine', 'bbbbbbbb-0000-4000-8000-000000000002');
insert into public.tags (name) values ('unused');
insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000001', '7a600000-0000-4000-8000-000000000008');
select lives_ok($$ delete from public.tags where name = 'unused' $$, 'a user removes a tag that she made');
:as_other;
select throws_ok($$ delete from public.tags where name = 'mine' $$, 'PT403', 'You did not create this tag.',
  'nobody else removes it, whatever the row says of its maker');
insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000002', '7a600000-0000-4000-8000-000000000008');
:as_owner;
select throws_ok($$ delete from public.tags where name = 'mine' $$, 'PT403', 'Other users use this tag.',
  'a tag stays while others use it');
:as_other;
delete from public.image_tags where image_id = '1a6e0000-0000-4000-8000-000000000002';
:as_owner;
select lives_ok($$ delete from public.tags where name = 'mine' $$,
  'a tag that nobody else uses is removed by its maker');

select * from finish();
rollback;
