-- One request per rule: SQLSTATE, and the stable code in the error's detail.
begin;
\ir ../setup.psql
insert into public.models (name, display_name, replicate_id, is_active, min_width, max_width, min_height, max_height,
  max_steps)
values ('old', 'Old', 'one/old', false, null, null, null, null, null),
  ('small', 'Small', 'one/small', true, 100, 200, 100, 200, 10);
create temporary table wrong (request jsonb, code text);
insert into wrong values
  ('[]', 'wrong_type'),
  ('"text"', 'wrong_type'),
  ('{}', 'prompts_missing'),
  ('{"prompts": null}', 'prompts_missing'),
  ('{"prompts": {"text": "a"}}', 'wrong_type'),
  ('{"prompts": [{"text": "a"}]}', 'too_few_prompts'),
  (jsonb_build_object('prompts', (select jsonb_agg(jsonb_build_object('text', 'a')) from generate_series(1, 11))),
    'too_many_prompts'),
  ('{"prompts": ["a", "b"]}', 'wrong_type'),
  ('{"prompts": [{}, {"text": "b"}]}', 'blank_prompt'),
  ('{"prompts": [{"text": 5}, {"text": "b"}]}', 'wrong_type'),
  ('{"prompts": [{"text": " \u2003 "}, {"text": "b"}]}', 'blank_prompt'),
  (jsonb_build_object('prompts', jsonb_build_array(jsonb_build_object('text', repeat('a', 4001)),
    '{"text": "b"}'::jsonb)), 'too_long'),
  ('{"prompts": [{"text": "a", "seed": 1.5}, {"text": "b"}]}', 'wrong_type'),
  ('{"prompts": [{"text": "a", "seed": "1"}, {"text": "b"}]}', 'wrong_type'),
  ('{"prompts": [{"text": "a", "seed": 9223372036854775808}, {"text": "b"}]}', 'out_of_range'),
  ('{"prompts": [{"text": "a", "tags": "red"}, {"text": "b"}]}', 'wrong_type'),
  ('{"prompts": [{"text": "a", "tags": [" "]}, {"text": "b"}]}', 'blank_tag'),
  ('{"prompts": [{"text": "a", "tags": [7]}, {"text": "b"}]}', 'wrong_type'),
  (jsonb_build_object('prompts', jsonb_build_array(
    jsonb_build_object('text', 'a', 'tags', (select jsonb_agg('t' || n) from generate_series(1, 21) n)),
      '{"text": "b"}'::jsonb)), 'too_many_tags'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": []}', 'wrong_type'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": {"model_id": "nobody/knows"}}', 'unknown_model'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": {"model_id": "one/old"}}', 'inactive_model'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": {"model_id": "one/small", "width": 201}}',
    'out_of_range'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": {"model_id": "one/small", "height": 99}}',
    'out_of_range'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": {"model_id": "one/small", "steps": 11}}',
    'out_of_range'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": {"guidance_scale": -1}}', 'out_of_range'),
  ('{"prompts": [{"text": "a"}, {"text": "b"}], "client_key": " "}', 'blank_client_key'),
  (jsonb_build_object('prompts', '[{"text": "a"}, {"text": "b"}]'::jsonb, 'batch_name', repeat('n', 201)), 'too_long');
grant select on wrong to authenticated;

create function pg_temp.refusal(p_request jsonb) returns text language plpgsql as $$
declare
  v_detail text;
begin
  perform public.create_batch(p_request);
  return 'taken';
exception when sqlstate 'PT422' then
  get stacked diagnostics v_detail = pg_exception_detail;
  return v_detail::jsonb ->> 'code';
end
$$;
select plan((select count(*) + 3 from wrong)::integer);

:as_owner;
select is(pg_temp.refusal(request), code, left(code || ': ' || request::text, 80)) from wrong;
:as_admin;
update public.models set is_default = false;
:as_owner;
select is(pg_temp.refusal('{"prompts": [{"text": "a"}, {"text": "b"}]}'), 'no_default_model', 'no_default_model');
:as_admin;
select is((select count(*)::integer from public.batch_generations), 2, 'no batch was written');
select is((select count(*)::integer from public.image_generations), 4, 'no item was written');

select * from finish();
rollback;
