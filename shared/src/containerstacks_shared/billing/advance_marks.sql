-- Moves the marks of instances whose hours were charged or forgiven, from where the queue saw them: `step` has their id,
-- organization_id, deleted, last_billed_at and billed_until. If another session changed a mark or an
-- organization meanwhile, fewer marks are advanced than there are steps, and the caller rolls back.
advanced as (
    update vps_instances i
       set last_billed_at = s.billed_until
      from step s
     where i.id = s.id
       and not s.deleted
       and i.last_billed_at is not distinct from s.last_billed_at
       and i.organization_id = s.organization_id
    returning i.id
), advanced_deleted as (
    update deleted_vps_instances d
       set last_billed_at = s.billed_until
      from step s
     where d.id = s.id
       and s.deleted
       and d.last_billed_at is not distinct from s.last_billed_at
       and d.organization_id = s.organization_id
    returning d.id
),
