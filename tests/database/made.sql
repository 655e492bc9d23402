-- What a test has made itself, on a project that may have had rows before: views for tests that look at whole tables.
create schema made;
create view made.images as select * from public.images
  where user_id is distinct from '11111111-1111-4111-8111-111111111111';
create view made.image_generations as
  select * from public.image_generations where user_id is distinct from '11111111-1111-4111-8111-111111111111';
create view made.batch_generations as
  select * from public.batch_generations where user_id is distinct from '11111111-1111-4111-8111-111111111111';
create view made.tags as select * from public.tags where name <> 'old';
