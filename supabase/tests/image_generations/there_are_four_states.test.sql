begin;
\ir ../setup.psql
select plan(1);

select throws_ok($$ update public.image_generations set status = 'cancelled' $$, '23514', null,
  'a fifth has no icon in the app');

select * from finish();
rollback;
