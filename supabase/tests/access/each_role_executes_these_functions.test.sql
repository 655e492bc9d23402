-- What is not in the list is executable by nobody but the owner: all of batchgen, and every trigger function.
begin;
set local search_path = public, extensions;
select plan(2);

select bag_eq(
  $$
    select n.nspname || '.' || p.proname || '(' || replace(oidvectortypes(p.proargtypes), ' ', '') || ')',
      case when e.grantee = 0 then 'public' else e.grantee::regrole::text end
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e
    where n.nspname in ('public', 'batchgen', 'batchgen_api') and e.grantee <> p.proowner
  $$,
  $$
    values
      ('batchgen_api.act(text,uuid,uuid[],jsonb)', 'authenticated'),
      ('batchgen_api.act(text,uuid,uuid[],jsonb)', 'service_role'),
      ('batchgen_api.act_on_any_batch(text,uuid,uuid[],jsonb)', 'service_role'),
      ('batchgen_api.act_on_batch(text,uuid,uuid[],jsonb)', 'authenticated'),
      ('batchgen_api.batch_waits(uuid)', 'authenticated'),
      ('batchgen_api.broadcasts_changes()', 'authenticated'),
      ('batchgen_api.create_batch(jsonb)', 'authenticated'),
      ('batchgen_api.get_user_limits(uuid)', 'authenticated'),
      ('batchgen_api.limits_of_any_user(uuid)', 'service_role'),
      ('batchgen_api.reopened_at(uuid)', 'authenticated'),
      ('batchgen_api.reopened_at(uuid)', 'service_role'),
      ('batchgen_api.may_be_written(text)', 'authenticated'),
      ('batchgen_api.may_store(text)', 'authenticated'),
      ('batchgen_api.waits_of_any_batch(uuid)', 'service_role'),
      ('public.attach_provider_job(uuid,uuid,text,text)', 'service_role'),
      ('public.batch_facts(uuid[])', 'authenticated'),
      ('public.batch_facts(uuid[])', 'service_role'),
      ('public.batch_snapshot(uuid)', 'authenticated'),
      ('public.batch_snapshot(uuid)', 'service_role'),
      ('public.batch_waits(uuid)', 'authenticated'),
      ('public.batch_waits(uuid)', 'service_role'),
      ('public.begin_order(uuid,uuid,jsonb)', 'service_role'),
      ('public.cancel_batch(uuid,uuid[],boolean)', 'authenticated'),
      ('public.cancel_batch(uuid,uuid[],boolean)', 'service_role'),
      ('public.claim_generations(text,integer,integer)', 'service_role'),
      ('public.claim_generations_as_json(text,integer,integer,jsonb)', 'service_role'),
      ('public.complete_and_claim(jsonb,text,integer,integer)', 'service_role'),
      ('public.complete_generation(uuid,uuid,jsonb)', 'service_role'),
      ('public.complete_generations(jsonb)', 'service_role'),
      ('public.create_batch(jsonb)', 'anon'),
      ('public.create_batch(jsonb)', 'authenticated'),
      ('public.create_batch_as(uuid,jsonb)', 'service_role'),
      ('public.delete_batch_images(uuid,uuid[])', 'authenticated'),
      ('public.delete_batch_images(uuid,uuid[])', 'service_role'),
      ('public.discard_files(uuid,uuid,doubleprecision,text[])', 'service_role'),
      ('public.end_storage_deletions(text,uuid[])', 'service_role'),
      ('public.fail_generation(uuid,uuid,jsonb)', 'service_role'),
      ('batchgen_api.credit_history(uuid,bigint,integer)', 'authenticated'),
      ('batchgen_api.credit_history_of_any_user(uuid,bigint,integer)', 'service_role'),
      ('batchgen_api.credits_of_any_user(uuid)', 'service_role'),
      ('batchgen_api.get_credits(uuid)', 'authenticated'),
      ('public.credit_history(bigint,integer,uuid)', 'authenticated'),
      ('public.credit_history(bigint,integer,uuid)', 'service_role'),
      ('public.get_credits(uuid)', 'authenticated'),
      ('public.get_credits(uuid)', 'service_role'),
      ('public.grant_credits(uuid,numeric,text,text)', 'service_role'),
      ('public.grant_monthly_credits(integer)', 'service_role'),
      ('public.get_costs(text,timestampwithtimezone,integer,uuid)', 'service_role'),
      ('public.get_models()', 'service_role'),
      ('public.get_user_limits(uuid)', 'authenticated'),
      ('public.get_user_limits(uuid)', 'service_role'),
      ('public.get_workers()', 'service_role'),
      ('public.list_thumbnail(uuid,text,text)', 'service_role'),
      ('public.move_credit_horizon()', 'service_role'),
      ('public.note_credit_adjustment(uuid,numeric,text,text)', 'service_role'),
      ('public.queue_outlook()', 'service_role'),
      ('public.release_generations(text,uuid[])', 'service_role'),
      ('public.release_generations_as_json(text,uuid[])', 'service_role'),
      ('public.remove_expired_images()', 'service_role'),
      ('public.renew_leases(text,uuid[],integer)', 'service_role'),
      ('public.renew_leases_as_json(text,uuid[],integer)', 'service_role'),
      ('public.retry_failed(uuid,uuid[],jsonb)', 'authenticated'),
      ('public.retry_failed(uuid,uuid[],jsonb)', 'service_role'),
      ('public.return_expired_leases()', 'service_role'),
      ('public.save_batch_images(uuid,uuid[])', 'authenticated'),
      ('public.save_batch_images(uuid,uuid[])', 'service_role'),
      ('public.set_picture_access(text)', 'service_role'),
      ('public.settle_order(uuid,uuid,jsonb)', 'service_role'),
      ('public.tag_batch_images(uuid,text[],uuid[])', 'authenticated'),
      ('public.tag_batch_images(uuid,text[],uuid[])', 'service_role'),
      ('public.take_open_orders(text,integer,integer)', 'service_role'),
      ('public.take_open_orders_as_json(text,integer,integer)', 'service_role'),
      ('public.take_storage_deletions(text,integer,integer)', 'service_role'),
      ('public.take_storage_deletions_as_json(text,integer,integer)', 'service_role'),
      ('public.update_public_urls(text,uuid,integer)', 'service_role'),
      ('batchgen_api.rate_batch(uuid,integer,text)', 'authenticated'),
      ('batchgen_api.get_batch_rating(uuid)', 'authenticated'),
      ('public.rate_batch(uuid,integer,text)', 'authenticated'),
      ('public.get_batch_rating(uuid)', 'authenticated'),
      ('public.rate_batch_images(uuid,integer,uuid[])', 'authenticated'),
      ('public.rate_batch_images(uuid,integer,uuid[])', 'service_role'),
      ('public.untag_batch_images(uuid,text[],uuid[])', 'authenticated'),
      ('public.untag_batch_images(uuid,text[],uuid[])', 'service_role'),
      ('batchgen_api.delete_batch_template(uuid,uuid)', 'authenticated'),
      ('batchgen_api.delete_batch_template(uuid,uuid)', 'service_role'),
      ('batchgen_api.get_batch_template(uuid,uuid)', 'authenticated'),
      ('batchgen_api.get_batch_template(uuid,uuid)', 'service_role'),
      ('batchgen_api.list_batch_templates(uuid)', 'authenticated'),
      ('batchgen_api.list_batch_templates(uuid)', 'service_role'),
      ('batchgen_api.rename_batch_template(uuid,text,uuid)', 'authenticated'),
      ('batchgen_api.rename_batch_template(uuid,text,uuid)', 'service_role'),
      ('batchgen_api.save_batch_template(jsonb,uuid)', 'authenticated'),
      ('batchgen_api.save_batch_template(jsonb,uuid)', 'service_role'),
      ('batchgen_api.publish_batch_template(uuid,boolean)', 'service_role'),
      ('public.delete_batch_template(uuid,uuid)', 'authenticated'),
      ('public.delete_batch_template(uuid,uuid)', 'service_role'),
      ('public.get_batch_template(uuid,uuid)', 'authenticated'),
      ('public.get_batch_template(uuid,uuid)', 'service_role'),
      ('public.list_batch_templates(uuid)', 'authenticated'),
      ('public.list_batch_templates(uuid)', 'service_role'),
      ('public.rename_batch_template(uuid,text,uuid)', 'authenticated'),
      ('public.rename_batch_template(uuid,text,uuid)', 'service_role'),
      ('public.save_batch_template(jsonb,uuid)', 'authenticated'),
      ('public.save_batch_template(jsonb,uuid)', 'service_role'),
      ('public.publish_batch_template(uuid,boolean)', 'service_role'),
      ('public.worker_start()', 'service_role')
  $$,
  'functions are executable as listed'
);

select is_empty(
  $$
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api')
      and not coalesce(p.proconfig, '{}') @> array['search_path=""']
  $$,
  'no function is found by the names on its caller''s search_path'
);

select * from finish();
rollback;
