-- Which prompts and seeds a request makes; the syntax and its refusals in full: tests/database/test_choices.py.
begin;
\ir ../setup.psql
create function pg_temp.prompts(p_request jsonb) returns setof text language sql as $$
  select g ->> 'prompt' from jsonb_array_elements(public.create_batch(p_request) -> 'batch' -> 'generations') g
$$;
create function pg_temp.refusal(p_request jsonb) returns text language plpgsql as $$
declare
  v_detail text;
begin
  perform public.create_batch(p_request);
  return 'taken';
exception when sqlstate 'PT422' then
  get stacked diagnostics v_detail = pg_exception_detail;
  return (v_detail::jsonb ->> 'code') || ' ' || (v_detail::jsonb ->> 'field');
end
$$;
select plan(14);

:as_owner;
select results_eq(
  $$ select pg_temp.prompts('{"prompts": [{"text": "{red|blue} fox, {day|night}"}], "choices": {"mode": "all"}}') $$,
  $$ values ('red fox, day'), ('red fox, night'), ('blue fox, day'), ('blue fox, night') $$, 'every combination'
);
select results_eq(
  $$ select pg_temp.prompts('{"prompts": [{"text": "{red|blue} fox"}, {"text": "b"}]}') $$,
  $$ values ('{red|blue} fox'), ('b') $$, 'braces stay as they are unless choices are asked for'
);
select is(
  (select count(distinct p) from pg_temp.prompts('{"prompts": [{"text": "{a|b|c|d} {e|f|g|h}"}],
    "choices": {"mode": "sample", "count": 5, "seed": 1}}') p), 5::bigint, 'a sample of different prompts'
);
select results_eq(
  $$ select pg_temp.prompts('{"prompts": [{"text": "{a|b|c|d} {e|f|g|h}"}],
    "choices": {"mode": "sample", "count": 5, "seed": 1}}') $$,
  $$ select pg_temp.prompts('{"prompts": [{"text": "{a|b|c|d} {e|f|g|h}"}],
    "choices": {"mode": "sample", "count": 5, "seed": 1}}') $$,
  'the same seed draws the same sample'
);
select is(
  (select count(distinct g ->> 'seed') from jsonb_array_elements(public.create_batch(
    '{"prompts": [{"text": "a"}], "variations": {"count": 4}}') -> 'batch' -> 'generations') g), 4::bigint,
  'variations have seeds of their own'
);
select results_eq(
  $$ select g ->> 'seed' from jsonb_array_elements(public.create_batch(
    '{"prompts": [{"text": "a"}], "variations": {"seeds": [7, 0, -3]}}') -> 'batch' -> 'generations') g $$,
  $$ values ('7'), ('0'), ('-3') $$, 'or the given ones, 0 included'
);
select is(pg_temp.refusal(r.request::jsonb), r.code, r.code) from (values
  ('{"prompts": [{"text": "{a|b"}], "choices": {"mode": "all"}}', 'choices_syntax prompts[0].text'),
  ('{"prompts": [{"text": "{a|b} {c|d} {e|f} {g|h}"}], "choices": {"mode": "all"}}', 'too_many_prompts prompts'),
  ('{"prompts": [{"text": "{a}"}], "choices": {"mode": "all"}}', 'too_few_prompts prompts'),
  ('{"prompts": [{"text": "a"}], "choices": {"mode": "every"}}', 'unknown_mode choices.mode'),
  ('{"prompts": [{"text": "a"}], "variations": {"count": 11}}', 'out_of_range variations.count'),
  ('{"prompts": [{"text": "a"}], "variations": {"seeds": [1, 1]}}', 'repeated_seed variations.seeds[1]'),
  ('{"prompts": [{"text": "a"}], "variations": {}}', 'not_allowed variations')
) r (request, code);

:as_admin;
select is_empty($$ select 1 from public.image_generations where prompt like '{a%' $$, 'refused requests write nothing');

select * from finish();
rollback;
