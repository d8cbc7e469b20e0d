-- When an instance `i` last went to another plan: moved.changed_at; earlier.deleted_at, where it came again with another one.
left join (select vps_instance_id, max(changed_at) as changed_at
             from vps_plan_changes
            group by vps_instance_id) as moved on moved.vps_instance_id = i.id
left join deleted_vps_instances earlier on earlier.id = i.id and (earlier.plan_id, earlier.region) <> (i.plan_id, i.region)
