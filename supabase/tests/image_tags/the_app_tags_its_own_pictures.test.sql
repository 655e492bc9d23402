begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
insert into public.tags (id, name) values ('7a600000-0000-4000-8000-000000000002', 'birds');
select plan(6);

:as_other;
select throws_ok($$ insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000001', '7a600000-0000-4000-8000-000000000002') $$,
  'PT403', 'This picture is somebody else''s.', 'not somebody else''s');
select throws_ok($$ delete from public.image_tags where image_id = '1a6e0000-0000-4000-8000-000000000001' $$, 'PT403',
  null, 'nor the end of a tag there');
select throws_ok($$ update public.image_tags set image_id = '1a6e0000-0000-4000-8000-000000000001' $$, 'PT403', null,
  'a tag stays where it is');
select throws_ok($$ truncate public.image_tags $$, 'PT403', null, 'and all of them, too');
select lives_ok($$ insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000002', '7a600000-0000-4000-8000-000000000002') $$, 'one''s own is tagged');
select lives_ok($$ delete from public.image_tags where image_id = '1a6e0000-0000-4000-8000-000000000002' $$,
  'and untagged');

select * from finish();
rollback;
