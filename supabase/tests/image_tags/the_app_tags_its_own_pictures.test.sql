begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
insert into public.tags (id, name) values ('7a600000-0000-4000-8000-000000000002', 'birds');
select plan(6);

:as_other;
select throws_ok($$ insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000001', '7a600000-0000-4000-8000-000000000002') $$,
  'PT403', 'This picture belongs to another user.', 'nobody tags somebody else''s picture');
select throws_ok($$ delete from public.image_tags where image_id = '1a6e0000-0000-4000-8000-000000000001' $$, 'PT403',
  null, 'nobody untags somebody else''s picture');
select throws_ok($$ update public.image_tags set image_id = '1a6e0000-0000-4000-8000-000000000001' $$, 'PT403', null,
  'a tag stays where it is');
select throws_ok($$ truncate public.image_tags $$, 'PT403', null, 'nobody truncates tags of pictures');
select lives_ok($$ insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000002', '7a600000-0000-4000-8000-000000000002') $$,
  'a user tags a picture of theirs');
select lives_ok($$ delete from public.image_tags where image_id = '1a6e0000-0000-4000-8000-000000000002' $$,
  'a user untags a picture of theirs');

select * from finish();
rollback;
