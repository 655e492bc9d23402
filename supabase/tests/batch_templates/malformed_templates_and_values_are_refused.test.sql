begin;
\ir ../setup.psql
create function pg_temp.refusal(p_sql text, p_argument jsonb) returns text language plpgsql as $$
declare
  v_detail text;
begin
  execute p_sql using p_argument;
  return 'taken';
exception when sqlstate 'PT422' then
  get stacked diagnostics v_detail = pg_exception_detail;
  return (v_detail::jsonb ->> 'code') || ' ' || coalesce(v_detail::jsonb ->> 'field', '');
end
$$;
create temporary table wrong (template jsonb, code text);
insert into wrong values
  ('[]', 'wrong_type request'),
  ('{"name": "n", "request": {"prompts": [{"text": "a"}]}, "nam": 1}', 'unknown_field nam'),
  ('{"request": {"prompts": [{"text": "a"}]}}', 'blank_name name'),
  ('{"name": " ", "request": {"prompts": [{"text": "a"}]}}', 'blank_name name'),
  ('{"name": "a\u200b", "request": {"prompts": [{"text": "a"}]}}', 'not_allowed name'),
  (jsonb_build_object('name', repeat('n', 201), 'request', '{"prompts": [{"text": "a"}]}'::jsonb), 'too_long name'),
  ('{"name": "n"}', 'not_allowed request'),
  ('{"name": "n", "request": {"prompts": [{"text": "a"}]}, "batch_id": "x"}', 'not_allowed request'),
  ('{"name": "n", "request": []}', 'wrong_type request'),
  ('{"name": "n", "request": {"prompts": [{"text": [[[["a"]]]]}]}}', 'wrong_type request'),
  ('{"name": "n", "request": {"prompts": [{"text": "a"}], "template": {}}}', 'unknown_field request.template'),
  ('{"name": "n", "request": {}}', 'wrong_type request.prompts'),
  ('{"name": "n", "request": {"prompts": []}}', 'wrong_type request.prompts'),
  ('{"name": "n", "request": {"prompts": ["a"]}}', 'wrong_type request.prompts'),
  ('{"name": "n", "request": {"prompts": [{"txt": "a"}]}}', 'unknown_field request.prompts[0].txt'),
  ('{"name": "n", "request": {"prompts": [{"text": "a"}], "shared_settings": {"size": 1}}}',
    'unknown_field request.shared_settings.size'),
  (jsonb_build_object('name', 'n', 'request', jsonb_build_object('prompts', jsonb_build_array(jsonb_build_object('text',
    (select string_agg(format('{{p%s}}', n), '') from generate_series(1, 51) n))))), 'too_many_placeholders request'),
  ('{"name": "n", "request": {"prompts": [{"text": "{{}}"}]}}', 'bad_placeholder request'),
  ('{"name": "n", "request": {"prompts": [{"text": "a"}]}, "defaults": {"b": 1}}', 'unknown_placeholder defaults.b'),
  ('{"name": "n", "request": {"prompts": [{"text": "{{b}}"}]}, "defaults": 1}', 'wrong_type defaults'),
  ('{"name": "n", "request": {"prompts": [{"text": "{{b}}"}]}, "defaults": {"b": []}}', 'wrong_type defaults.b'),
  ('{"name": "known", "request": {"prompts": [{"text": "b"}]}, "replace": 1}', 'wrong_type replace');
create temporary table wrong_use (use jsonb, code text);
insert into wrong_use values
  ('{"template": []}', 'wrong_type template'),
  ('{"template": {"id": "ID", "value": {}}}', 'unknown_field template.value'),
  ('{"template": {"id": "ID", "values": {"animal": "fox"}}, "prompts": []}', 'unknown_field prompts'),
  ('{"template": {"id": "ID"}}', 'missing_value template.values.animal'),
  ('{"template": {"id": "ID", "values": {"animal": null}}}', 'missing_value template.values.animal'),
  ('{"template": {"id": "ID", "values": {"animal": "fox", "aminal": 1}}}',
    'unknown_placeholder template.values.aminal'),
  ('{"template": {"id": "ID", "values": ["fox"]}}', 'wrong_type template.values'),
  ('{"template": {"id": "ID", "values": {"animal": ["fox"]}}}', 'wrong_type template.values.animal'),
  ('{"template": {"id": "ID", "values": {"animal": 1e99999}}}', 'out_of_range template.values.animal'),
  ('{"template": {"id": "ID", "values": {"animal": 1e-9999}}}', 'out_of_range template.values.animal'),
  ('{"template": {"id": "ID", "values": {"animal": "fox", "width": "wide"}}}', 'wrong_type shared_settings.width'),
  ('{"template": {"id": "ID", "values": {"animal": " "}}}', 'blank_prompt prompts[1].text'),
  ('{"template": {"id": "ID", "values": {}, "rows": []}}', 'not_allowed template'),
  ('{"template": {"id": "ID", "rows": []}}', 'out_of_range template.rows'),
  ('{"template": {"id": "ID", "rows": {}}}', 'wrong_type template.rows'),
  ('{"template": {"id": "ID", "rows": [{"animal": "a"}, {}]}}', 'missing_value template.rows[1].animal'),
  ('{"template": {"id": "ID", "rows": [{"animal": "a"}, {"animal": "b", "width": 64}]}}',
    'rows_differ template.rows[1]'),
  ('{"template": {"id": "ID", "rows": [{}, {}, {}, {}, {}, {}]}}', 'out_of_range template.rows'),
  ('{"template": {"id": "ID", "values": {"animal": "a"}, "values_have_choices": 1}, "choices": {"mode": "all"}}',
    'wrong_type template.values_have_choices');
insert into wrong_use select jsonb_build_object('template', jsonb_build_object('id', 'ID', 'values',
  jsonb_build_object('animal', repeat('a', n)))), code
from (values (4001, 'too_long template.values.animal'), (3999, 'too_long prompts[0].text')) l (n, code);
insert into wrong_use select jsonb_build_object('template', jsonb_build_object('id', 'ID', 'values',
  jsonb_build_object('animal', 'a', 'tag', repeat('t', 2001)))), 'too_long prompts[0].tags[0]';
grant select on wrong, wrong_use to authenticated;
select plan((select count(*) from wrong)::integer + (select count(*) from wrong_use)::integer + 4);

:as_owner;
create temporary table saved as select public.save_batch_template('{"name": "known", "request": {"prompts":
  [{"text": "a {{ animal }}", "seed": "{{seed}}", "tags": ["{{tag}}{{tag}}"]},
  {"text": "{{animal}}"}], "shared_settings": {"width": "{{width}}"}},
  "defaults": {"width": 512, "seed": 0, "tag": "t"}}') -> 'template' ->> 'id' as id;
select is(pg_temp.refusal('select public.save_batch_template($1)', w.template), w.code, left(w.template::text, 80))
from wrong w;
select is(pg_temp.refusal('select public.create_batch($1)', replace(w.use::text, 'ID', s.id)::jsonb), w.code,
  left(w.use::text, 80))
from wrong_use w, saved s;
select throws_ok(format('select public.create_batch(%L)', u.use), 'PT404', null, 'an unknown template')
from (values ('{"template": {"id": "x"}}'), ('{"template": {}}')) u (use);

create temporary table made as select g ->> 'prompt' as prompt, g ->> 'seed' as seed from saved s,
  jsonb_array_elements(public.create_batch(jsonb_build_object('template', jsonb_build_object('id', s.id, 'values',
    '{"animal": "{red|blue} {{seed}}"}'::jsonb), 'choices', '{"mode": "all"}'::jsonb)) -> 'batch' -> 'generations') g;
select is((select min(prompt) from made), 'a {red|blue} {{seed}}', 'braces in a value stay as they are');
select is((select seed from made where prompt like 'a %'), '0', 'a number from a default');

select * from finish();
rollback;
