-- What the guard of the database did to the application's own billing (schema/steps/guard.sql).

-- name: give_back_lost_debits
select give_back_lost_debits();

-- name: read
-- Without money: any process may read it.
select coalesce(current_setting('containerstacks.guard', true), '') <> 'off' as is_on,
       installed.installed_at,
       clock_now() as read_at,
       (select case when is_called then last_value else 0 end from application_charges_refused) as refused,
       (select case when is_called then to_timestamp(last_value) end from application_charge_refused_at) as refused_at,
       (select count(*) from guard_interventions where kind = 'given_back') as given_back,
       (select intervened_at from guard_interventions where kind = 'given_back' order by id desc limit 1) as given_back_at,
       (select count(*) from guard_interventions where kind = 'mended') as mended,
       (select intervened_at from guard_interventions where kind = 'mended' order by id desc limit 1) as mended_at
  from guard_installation installed;

-- name: amounts
select coalesce(sum(amount) filter (where kind = 'given_back'), 0) as given_back,
       coalesce(sum(abs(amount)) filter (where kind = 'mended'), 0) as mended
  from guard_interventions;
