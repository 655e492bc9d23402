-- One request per rule: code and field. Where a choice is wrong: tests/database/test_choices.py.
begin;
\ir ../setup.psql
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
create temporary table wrong_texts (text text, code text);
insert into wrong_texts values
  ('{a|b', 'choices_syntax'), ('a|b} {c|d}', 'choices_syntax'), ('${a', 'choices_syntax'),
  ('%{a', 'choices_syntax'), ('{~a|b}', 'choices_syntax'), ('{$$a|b}', 'choices_syntax'),
  ('{-$$a|b}', 'choices_syntax'), ('{-1::a|b}', 'choices_syntax'), ('{a|1000001::b}', 'choices_syntax'),
  ('{0::a} {c|d}', 'choices_syntax'), (repeat('{', 11) || 'a' || repeat('}', 11), 'too_many_choices'),
  (repeat('{a}', 101), 'too_many_choices'), ('{' || repeat('a|', 1000) || 'b}', 'too_many_choices'),
  ((select '{51$$' || string_agg(n::text, '|') || '}' from generate_series(1, 51) n), 'too_many_choices'),
  ('{9$$' || repeat('x', 600) || '$$a|b|c|d|e|f|g|h|i}', 'too_long'), ('{a|}', 'blank_prompt'),
  ('{|a}', 'blank_prompt');
create temporary table wrong (request jsonb, code text);
insert into wrong
select jsonb_build_object('prompts', jsonb_build_array('{"text": "a"}'::jsonb, jsonb_build_object('text', text)),
  'choices', '{"mode": "all"}'::jsonb), code || ' prompts[1].text'
from wrong_texts;
insert into wrong
select jsonb_build_object('prompts', '[{"text": "a"}, {"text": "b"}]'::jsonb, 'choices', choices::jsonb), code
from (values
  ('[]', 'wrong_type choices'), ('{}', 'unknown_mode choices.mode'), ('{"mode": 1}', 'wrong_type choices.mode'),
  ('{"mode": "all", "seed": 1}', 'not_allowed choices.seed'), ('{"mode": "all", "count": 1}',
    'not_allowed choices.count'), ('{"mode": "sample", "count": 0}', 'out_of_range choices.count'),
  ('{"mode": "sample", "seed": 1.5}', 'wrong_type choices.seed'), ('{"mode": "all", "x": 1}', 'unknown_field choices.x')
) c (choices, code);
insert into wrong
select jsonb_build_object('prompts', '[{"text": "a"}]'::jsonb, 'variations', variations::jsonb), code
from (values
  ('[]', 'wrong_type variations'), ('{}', 'not_allowed variations'), ('{"x": 1}', 'unknown_field variations.x'),
  ('{"count": 2, "seeds": [1, 2]}', 'not_allowed variations'), ('{"count": 1}', 'too_few_prompts prompts'),
  ('{"count": 11}', 'out_of_range variations.count'), ('{"seeds": []}', 'out_of_range variations.seeds'),
  ('{"seeds": 1}', 'wrong_type variations.seeds'), ('{"seeds": [1, 1]}', 'repeated_seed variations.seeds[1]'),
  ('{"seeds": ["1", 2]}', 'wrong_type variations.seeds[0]')
) v (variations, code);
insert into wrong values
  ('{"prompts": [{"text": "a", "seed": 1}], "variations": {"seeds": [2, 3]}}', 'not_allowed prompts[0].seed'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "variations": {"count": 6}}', 'too_many_prompts prompts'),
  ('{"prompts": [{"text": "{a|b|c|d}{a|b|c}"}], "choices": {"mode": "all"}}', 'too_many_prompts prompts');
grant select on wrong to authenticated;
select plan((select count(*) + 1 from wrong)::integer);

:as_owner;
select is(pg_temp.refusal(w.request), w.code, left(w.request::text, 80)) from wrong w;

:as_admin;
select is((select count(*) from public.batch_generations), 2::bigint, 'nothing is written');

select * from finish();
rollback;
