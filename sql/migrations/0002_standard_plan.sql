-- The plan that exists from the start: canary, early, majority, full.  A site may define it anew with ota.define_plan.

INSERT INTO ota.plan (plan, success_threshold, health_timeout, download_timeout, retries, options) VALUES
    ('standard', 0.95, interval '60 seconds', interval '1 hour', 0, '{}');
INSERT INTO ota.plan_stage (plan, stage, label, percent, wait) VALUES
    ('standard', 1, 'canary',   1,   interval '2 hours'),
    ('standard', 2, 'early',    10,  interval '12 hours'),
    ('standard', 3, 'majority', 50,  interval '24 hours'),
    ('standard', 4, 'full',     100, interval '0');

INSERT INTO ota.schema_migration (version, name) VALUES (2, 'standard_plan');
