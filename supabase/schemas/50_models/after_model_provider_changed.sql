-- after_model_provider_changed()
-- Close the breaker of a model whose row was changed, so that a repaired model is tried at once.
create function batchgen.after_model_provider_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from batchgen.breakers b where b.model_id in (old.model_id, new.model_id);
  return null;
end
$$;
revoke execute on function batchgen.after_model_provider_changed() from public, anon, authenticated, service_role;
comment on function batchgen.after_model_provider_changed() is 'Trigger: lets a repaired or moved model run at once.';

create trigger after_model_provider_changed after insert or update or delete on batchgen.model_providers
for each row execute function batchgen.after_model_provider_changed();
