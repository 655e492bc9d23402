-- Only admins write models.
create trigger batchgen_guard before insert or update or delete or truncate on public.models
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.models'::regclass))
execute function batchgen.refuse_app('Only the project''s admins can change models.');
