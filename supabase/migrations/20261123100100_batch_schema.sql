-- The batch schema: the specification's own statements, word for word. Each runs only if its object is missing, because
-- the app's project may have it already.
set local search_path = public, extensions;

do $$
begin
  if to_regclass('public.batch_generations') is null then
    CREATE TABLE batch_generations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID REFERENCES auth.users(id) ON DELETE CASCADE,
    name TEXT,
    total_count INTEGER NOT NULL,
    completed_count INTEGER DEFAULT 0,
    failed_count INTEGER DEFAULT 0,
    status TEXT CHECK (status IN ('pending', 'processing', 'completed', 'partial', 'failed')),
    created_at TIMESTAMPTZ DEFAULT NOW(),
    completed_at TIMESTAMPTZ,
    -- Shared settings for the batch
    model_id TEXT,
    model_version TEXT,
    width INTEGER,
    height INTEGER,
    steps INTEGER,
    guidance_scale FLOAT,
    CONSTRAINT valid_counts CHECK (
    completed_count >= 0 AND
    failed_count >= 0 AND
    completed_count + failed_count <= total_count
    )
    );
  end if;
end
$$;

do $$
declare
  v_has_column text[] := array(
    select attname from pg_catalog.pg_attribute
    where attrelid = 'public.image_generations'::regclass and attnum > 0 and not attisdropped
  );
begin
  if not 'batch_id' = any(v_has_column) then
    ALTER TABLE image_generations ADD COLUMN batch_id UUID REFERENCES batch_generations(id) ON DELETE SET NULL;
  end if;
  if not 'batch_index' = any(v_has_column) then
    ALTER TABLE image_generations ADD COLUMN batch_index INTEGER;
  end if;
  if not 'retry_count' = any(v_has_column) then
    ALTER TABLE image_generations ADD COLUMN retry_count INTEGER DEFAULT 0;
  end if;
  if not 'priority' = any(v_has_column) then
    ALTER TABLE image_generations ADD COLUMN priority INTEGER DEFAULT 0;
  end if;
end
$$;

do $$
begin
  if to_regclass('public.idx_batch_generations_user_status') is null then
    CREATE INDEX idx_batch_generations_user_status ON batch_generations(user_id, status);
  end if;
  if to_regclass('public.idx_image_generations_batch') is null then
    CREATE INDEX idx_image_generations_batch ON image_generations(batch_id, batch_index);
  end if;
end
$$;

do $$
begin
  if to_regclass('public.batch_progress') is null then
    CREATE VIEW batch_progress AS
    SELECT
    bg.id,
    bg.user_id,
    bg.total_count,
    bg.completed_count,
    bg.failed_count,
    bg.status,
    COUNT(ig.id) FILTER (WHERE ig.status = 'processing') as processing_count,
    ARRAY_AGG(
    json_build_object(
    'id', ig.id,
    'index', ig.batch_index,
    'prompt', ig.prompt,
    'status', ig.status,
    'progress',
    CASE
    WHEN ig.status = 'completed' THEN 100
    WHEN ig.status = 'processing' THEN 50
    WHEN ig.status = 'failed' THEN -1
    ELSE 0
    END
    ) ORDER BY ig.batch_index
    ) as items
    FROM batch_generations bg
    LEFT JOIN image_generations ig ON ig.batch_id = bg.id
    GROUP BY bg.id;
  end if;
end
$$;

-- Two columns beside the specification's four: a machine-readable error code, and the start of the last attempt. Both
-- are written in the updates that start and end an attempt. A project that has columns of these names keeps them.
alter table public.image_generations add column if not exists error_code text;
alter table public.image_generations add column if not exists started_at timestamptz;
