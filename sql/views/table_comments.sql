-- What the columns of the tables mean, as far as the migrations that made them do not say it.  Shown by \d+ and docs/reference/sql.md.

COMMENT ON TABLE ota.plan_stage IS 'The stages of each plan';

COMMENT ON COLUMN ota.broker.broker IS 'Its option broker_name';
COMMENT ON COLUMN ota.broker.started_at IS 'When its plugin last began to use this database';
COMMENT ON COLUMN ota.broker.plugin IS 'Version of its plugin';
COMMENT ON COLUMN ota.broker.mosquitto IS 'Version of the broker itself, null: unknown';

COMMENT ON COLUMN ota.device.device_id IS 'Its MQTT client id, or user name with device_identity username';
COMMENT ON COLUMN ota.device.fleet IS 'The fleet it belongs to';
COMMENT ON COLUMN ota.device.hardware IS 'Model, as it reported last';
COMMENT ON COLUMN ota.device.pinned_version IS 'Held at this version, null: follows its fleet';
COMMENT ON COLUMN ota.device.connected IS 'It has an MQTT session now, itself or through its gateway';
COMMENT ON COLUMN ota.device.broker IS 'The broker it is, or was last, connected to';
COMMENT ON COLUMN ota.device.first_seen IS 'When it was first heard of, null: never';
COMMENT ON COLUMN ota.device.last_seen IS 'When it was last heard of; to five seconds while it is connected and says nothing new';
COMMENT ON COLUMN ota.device.attributes IS 'Whatever operators want to know of it, such as {"site": "Hamburg"}';

COMMENT ON COLUMN ota.device_update.rollout_id IS 'The rollout';
COMMENT ON COLUMN ota.device_update.device_id IS 'The device';
COMMENT ON COLUMN ota.device_update.attempt IS 'Number of the present or last attempt, from 1';
COMMENT ON COLUMN ota.device_update.retries_used IS 'How many of the plan''s retries it has used';
COMMENT ON COLUMN ota.device_update.state IS 'Where it stands, see docs/design/rules.md';
COMMENT ON COLUMN ota.device_update.error IS 'Why it failed, was cancelled or is waiting: a short code';
COMMENT ON COLUMN ota.device_update.boots IS 'New sessions since boots_since: too many are a boot loop';
COMMENT ON COLUMN ota.device_update.boots_since IS 'Since when boots counts';
COMMENT ON COLUMN ota.device_update.notified_at IS 'When it was told';
COMMENT ON COLUMN ota.device_update.finished_at IS 'When it reached its final state';
COMMENT ON COLUMN ota.device_update.from_version IS 'What it ran when it was told';

COMMENT ON COLUMN ota.event.event_id IS 'In the order of arrival in the database';
COMMENT ON COLUMN ota.event.at IS 'When it happened, by the broker''s or database''s clock';
COMMENT ON COLUMN ota.event.broker IS 'The broker that saw it, null: none did';
COMMENT ON COLUMN ota.event.device_id IS 'The device it is about, null: none';
COMMENT ON COLUMN ota.event.rollout_id IS 'The rollout it is about, null: none';
COMMENT ON COLUMN ota.event.kind IS 'What happened, such as status, state, denied, rollout_started';
COMMENT ON COLUMN ota.event.detail IS 'Particulars; what operators did has by and reason';

COMMENT ON COLUMN ota.fleet.fleet IS 'Its name, one level of an MQTT topic';
COMMENT ON COLUMN ota.fleet.created_at IS 'When it was made';

COMMENT ON COLUMN ota.fleet_window.fleet IS 'The fleet';
COMMENT ON COLUMN ota.fleet_window.opens IS 'Time of day in the fleet''s time zone';
COMMENT ON COLUMN ota.fleet_window.added_at IS 'When it was added';
COMMENT ON COLUMN ota.fleet_window.added_by IS 'Who added it';

COMMENT ON COLUMN ota.plan.plan IS 'Its name';
COMMENT ON COLUMN ota.plan.success_threshold IS 'Share of the finished devices that must have succeeded for a stage to pass';
COMMENT ON COLUMN ota.plan.health_timeout IS 'Silence allowed from the reboot on';
COMMENT ON COLUMN ota.plan.download_timeout IS 'Silence allowed from the notice to the reboot';
COMMENT ON COLUMN ota.plan.max_in_flight IS 'Devices under way at once, null: no limit';
COMMENT ON COLUMN ota.plan.per_minute IS 'Devices told in a minute, null: no limit';
COMMENT ON COLUMN ota.plan.retries IS 'Further attempts that each device has';
COMMENT ON COLUMN ota.plan.options IS 'Pacing, early halt and the like, see ota.define_plan';
COMMENT ON COLUMN ota.plan.defined_at IS 'When it was last defined';
COMMENT ON COLUMN ota.plan.defined_by IS 'Who defined it';

COMMENT ON COLUMN ota.plan_stage.plan IS 'The plan';
COMMENT ON COLUMN ota.plan_stage.stage IS 'Its place, from 1';
COMMENT ON COLUMN ota.plan_stage.label IS 'Its name';
COMMENT ON COLUMN ota.plan_stage.percent IS 'Share of the fleet that is reached with this stage';

COMMENT ON COLUMN ota.release.release_id IS 'Number';
COMMENT ON COLUMN ota.release.version IS 'Semantic Version of the firmware';
COMMENT ON COLUMN ota.release.sequence IS 'From the manifest; devices never go to a lower one';
COMMENT ON COLUMN ota.release.url IS 'Where devices download it';
COMMENT ON COLUMN ota.release.sha256 IS 'Digest of the file, hex';
COMMENT ON COLUMN ota.release.size IS 'Length of the file in bytes';
COMMENT ON COLUMN ota.release.release_notes IS 'Text for people';
COMMENT ON COLUMN ota.release.envelope IS 'The DSSE envelope with the signed manifest, null: none';
COMMENT ON COLUMN ota.release.signature IS 'Detached signature of the file, null: none';
COMMENT ON COLUMN ota.release.hardware IS 'Models that may run it, null: any';
COMMENT ON COLUMN ota.release.fleets IS 'Fleets it may go to, null: any';
COMMENT ON COLUMN ota.release.min_version IS 'Devices below it are not eligible';
COMMENT ON COLUMN ota.release.max_version IS 'Devices above it are not eligible';
COMMENT ON COLUMN ota.release.not_before IS 'Not handed out before';
COMMENT ON COLUMN ota.release.expires IS 'Not handed out after';
COMMENT ON COLUMN ota.release.submitted_at IS 'When it was submitted';
COMMENT ON COLUMN ota.release.submitted_by IS 'Who submitted it';
COMMENT ON COLUMN ota.release.verified_at IS 'When a broker judged it';
COMMENT ON COLUMN ota.release.verified_by IS 'The broker that judged it';

COMMENT ON COLUMN ota.rollout.rollout_id IS 'Number';
COMMENT ON COLUMN ota.rollout.fleet IS 'The fleet it goes to';
COMMENT ON COLUMN ota.rollout.release_id IS 'What is rolled out';
COMMENT ON COLUMN ota.rollout.plan IS 'The plan''s name at the start';
COMMENT ON COLUMN ota.rollout.state IS 'Where it stands, see docs/design/rules.md';
COMMENT ON COLUMN ota.rollout.start_at IS 'Not before this time';
COMMENT ON COLUMN ota.rollout.started_at IS 'When it began to run';
COMMENT ON COLUMN ota.rollout.finished_at IS 'When it completed, was halted, cancelled or superseded';
COMMENT ON COLUMN ota.rollout.paused_at IS 'Since when it is paused, null: it is not';
COMMENT ON COLUMN ota.rollout.created_at IS 'When it was ordered';
COMMENT ON COLUMN ota.rollout.created_by IS 'Who ordered it';
COMMENT ON COLUMN ota.rollout.advance_requested IS 'An operator has asked to go on, and the controller has not done it yet';
COMMENT ON COLUMN ota.rollout.next_at IS 'When next_action happens, null: it depends on the devices';
COMMENT ON COLUMN ota.rollout.success_threshold IS 'Of the plan';
COMMENT ON COLUMN ota.rollout.health_timeout IS 'Of the plan';
COMMENT ON COLUMN ota.rollout.download_timeout IS 'Of the plan';
COMMENT ON COLUMN ota.rollout.max_in_flight IS 'Of the plan';
COMMENT ON COLUMN ota.rollout.per_minute IS 'Of the plan';
COMMENT ON COLUMN ota.rollout.retries IS 'Of the plan';
COMMENT ON COLUMN ota.rollout.options IS 'Of the plan';

COMMENT ON COLUMN ota.rollout_stage.rollout_id IS 'The rollout';
COMMENT ON COLUMN ota.rollout_stage.stage IS 'Its place, from 1';
COMMENT ON COLUMN ota.rollout_stage.label IS 'Its name';
COMMENT ON COLUMN ota.rollout_stage.percent IS 'Share of the fleet that is reached with this stage';
COMMENT ON COLUMN ota.rollout_stage.wait IS 'Time between its opening and its verdict';
COMMENT ON COLUMN ota.rollout_stage.min_devices IS 'Cohort size below which the percentage does not go';
COMMENT ON COLUMN ota.rollout_stage.hold IS 'After a pass wait for ota.advance_rollout';
COMMENT ON COLUMN ota.rollout_stage.state IS 'waiting, open, held (for ota.advance_rollout), passed or halted';
COMMENT ON COLUMN ota.rollout_stage.opened_at IS 'When it opened';
COMMENT ON COLUMN ota.rollout_stage.wait_until IS 'When its verdict is due at the earliest';
COMMENT ON COLUMN ota.rollout_stage.closed_at IS 'When it passed or was halted';
COMMENT ON COLUMN ota.rollout_stage.added IS 'Devices that joined with this stage';
COMMENT ON COLUMN ota.rollout_stage.in_flight IS 'Devices told in it that have not finished';
COMMENT ON COLUMN ota.rollout_stage.succeeded IS 'Devices told in it that succeeded';
COMMENT ON COLUMN ota.rollout_stage.failed IS 'Devices told in it that failed, rolled back or timed out';
COMMENT ON COLUMN ota.rollout_stage.rejected IS 'Devices told in it that declined';
COMMENT ON COLUMN ota.rollout_stage.attempts_failed IS 'Failed attempts, those with another try included';
COMMENT ON COLUMN ota.rollout_stage.forgiven_ok IS 'Successes before an operator resumed a halted stage';
COMMENT ON COLUMN ota.rollout_stage.pacing_window IS 'Slow start: how many devices may be under way';
COMMENT ON COLUMN ota.rollout_stage.pacing_ok IS 'Slow start: successes it has taken into account';
COMMENT ON COLUMN ota.rollout_stage.pacing_bad IS 'Slow start: failures it has taken into account';

COMMENT ON COLUMN ota.rollout_transition.from_state IS 'State before';
COMMENT ON COLUMN ota.rollout_transition.event IS 'What happens';
COMMENT ON COLUMN ota.rollout_transition.to_state IS 'State after';

COMMENT ON COLUMN ota.schema_migration.version IS 'Its number';
COMMENT ON COLUMN ota.schema_migration.name IS 'Its name';
COMMENT ON COLUMN ota.schema_migration.applied_at IS 'When it was applied';
COMMENT ON COLUMN ota.schema_migration.applied_by IS 'The role that applied it';

COMMENT ON COLUMN ota.setting.name IS 'Name of the fact';
COMMENT ON COLUMN ota.setting.value IS 'The fact';

COMMENT ON COLUMN ota.blackout.blackout_id IS 'Number';
COMMENT ON COLUMN ota.blackout.reason IS 'Why';
COMMENT ON COLUMN ota.blackout.added_at IS 'When it was added';
COMMENT ON COLUMN ota.blackout.added_by IS 'Who added it';

COMMENT ON COLUMN ota.rollout_ahead.rollout_id IS 'The rollout';
COMMENT ON COLUMN ota.rollout_ahead.device_id IS 'The device';
COMMENT ON COLUMN ota.rollout_ahead.attribute IS 'What it stands for: its hardware or its site';
COMMENT ON COLUMN ota.rollout_ahead.value IS 'The model or the site';

COMMENT ON COLUMN ota.event_chain.chain IS 'Number';
COMMENT ON COLUMN ota.event_chain.name IS 'Its name, which its first hash is made from';
COMMENT ON COLUMN ota.event_chain.created_at IS 'When it was begun';

COMMENT ON COLUMN ota.event_dropped.anchor IS 'Number';
COMMENT ON COLUMN ota.event_dropped.until IS 'The end of the part''s span of time, null: it had none';
COMMENT ON COLUMN ota.event_dropped.first_position IS 'Position of the first row taken out';
COMMENT ON COLUMN ota.event_dropped.last_position IS 'Position of the last row taken out';
COMMENT ON COLUMN ota.event_dropped.last_hash IS 'Hash of the last row taken out: what the next one goes on from';
COMMENT ON COLUMN ota.event_dropped.rows IS 'How many rows';
COMMENT ON COLUMN ota.event_dropped.noted_at IS 'When it was noted';
COMMENT ON COLUMN ota.event_dropped.dropped_chain IS 'The chain of the audit row that says so';
