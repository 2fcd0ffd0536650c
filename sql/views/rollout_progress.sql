-- From the counters of the stages only: as cheap with a million devices as with ten.
DROP VIEW IF EXISTS ota.rollout_progress;
CREATE VIEW ota.rollout_progress AS
SELECT r.rollout_id, r.fleet::text AS fleet, l.version, r.state,
       r.current_stage AS stage, s.label, s.eligible AS targeted, s.cohort,
       n.notified, n.in_progress, n.succeeded, n.failed,
       round(n.succeeded::numeric / nullif(n.succeeded + n.failed, 0), 4) AS success_rate,
       r.next_action, r.next_at,
       n.rejected, n.stages, s.state AS stage_state, s.wait_until, s.verdict, r.plan, r.reason,
       r.start_at, r.started_at, r.finished_at, r.created_at, r.created_by, r.device_id,
       r.fallback_of, (SELECT max(f.rollout_id) FROM ota.rollout f WHERE f.fallback_of = r.rollout_id) AS fallback
  FROM ota.rollout r
  JOIN ota.release l ON l.release_id = r.release_id
  JOIN LATERAL (SELECT count(*) AS stages, coalesce(sum(c.notified), 0)::bigint AS notified,
                       coalesce(sum(c.in_flight), 0)::bigint AS in_progress, coalesce(sum(c.succeeded), 0)::bigint AS succeeded,
                       coalesce(sum(c.failed), 0)::bigint AS failed, coalesce(sum(c.rejected), 0)::bigint AS rejected
                  FROM ota.rollout_stage c WHERE c.rollout_id = r.rollout_id) n ON true
  LEFT JOIN ota.rollout_stage s ON s.rollout_id = r.rollout_id AND s.stage = r.current_stage;
COMMENT ON VIEW ota.rollout_progress IS 'Every rollout with its present stage and its figures over all stages';
COMMENT ON COLUMN ota.rollout_progress.stage IS 'The stage opened last; 0: none yet';
COMMENT ON COLUMN ota.rollout_progress.targeted IS 'Devices that could get the release when that stage opened';
COMMENT ON COLUMN ota.rollout_progress.cohort IS 'Devices of that stage and of those before it';
COMMENT ON COLUMN ota.rollout_progress.in_progress IS 'Devices that have been given a slot and have not finished';
COMMENT ON COLUMN ota.rollout_progress.success_rate IS 'succeeded / (succeeded + failed); null: nobody has finished';
COMMENT ON COLUMN ota.rollout_progress.device_id IS 'The one device that it is for, because it is pinned; null: the fleet''s';
COMMENT ON COLUMN ota.rollout_progress.fallback_of IS 'The halted rollout whose devices it takes back; null: it is no fallback';
COMMENT ON COLUMN ota.rollout_progress.fallback IS 'The newest rollout that takes its devices back; null: none';
COMMENT ON COLUMN ota.rollout_progress.rollout_id IS 'The rollout';
COMMENT ON COLUMN ota.rollout_progress.fleet IS 'The fleet it goes to';
COMMENT ON COLUMN ota.rollout_progress.version IS 'What is rolled out';
COMMENT ON COLUMN ota.rollout_progress.state IS 'Where it stands';
COMMENT ON COLUMN ota.rollout_progress.label IS 'Name of the stage opened last';
COMMENT ON COLUMN ota.rollout_progress.notified IS 'Devices told so far';
COMMENT ON COLUMN ota.rollout_progress.succeeded IS 'Devices that succeeded';
COMMENT ON COLUMN ota.rollout_progress.failed IS 'Devices that failed, rolled back or timed out';
COMMENT ON COLUMN ota.rollout_progress.next_action IS 'What the controller does next, in words';
COMMENT ON COLUMN ota.rollout_progress.next_at IS 'When, null: it depends on the devices';
COMMENT ON COLUMN ota.rollout_progress.rejected IS 'Devices that declined';
COMMENT ON COLUMN ota.rollout_progress.stages IS 'How many stages it has';
COMMENT ON COLUMN ota.rollout_progress.stage_state IS 'State of the stage opened last';
COMMENT ON COLUMN ota.rollout_progress.wait_until IS 'When that stage''s verdict is due at the earliest';
COMMENT ON COLUMN ota.rollout_progress.verdict IS 'That stage''s verdict with its numbers and the rule that fired';
COMMENT ON COLUMN ota.rollout_progress.plan IS 'The plan''s name at the start';
COMMENT ON COLUMN ota.rollout_progress.reason IS 'Why it is in its present state';
COMMENT ON COLUMN ota.rollout_progress.start_at IS 'Not before this time';
COMMENT ON COLUMN ota.rollout_progress.started_at IS 'When it began to run';
COMMENT ON COLUMN ota.rollout_progress.finished_at IS 'When it completed, was halted, cancelled or superseded';
COMMENT ON COLUMN ota.rollout_progress.created_at IS 'When it was ordered';
COMMENT ON COLUMN ota.rollout_progress.created_by IS 'Who ordered it';
