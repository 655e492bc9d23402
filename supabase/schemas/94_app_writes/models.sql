-- Models are the admins'.
create trigger batchgen_guard before insert or update or delete or truncate on public.models
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.models'::regclass))
execute function batchgen.refuse_app('Models are set by the project''s admins.');
