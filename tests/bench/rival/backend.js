// A firmware-update back end as it is usually built: a service beside the broker, with the mqtt and pg packages.
// It does the least of what the plugin does, so that the comparison is in its favour: no state machine, no verification.
//
//   backend.js ingest PORT DATABASE batch|row    reports into the tables, until SIGTERM
//   backend.js notify PORT DATABASE mark|record  for each line on standard input, one notice to each device that has not had it.
//                                                mark: the device's row says which version it was told, in one UPDATE for all;
//                                                record: a row for each device's part in the rollout and one for the history
//
// Prints "ready" when it is; errors end it.
import mqtt from 'mqtt';
import pg from 'pg';
import readline from 'node:readline';

const BATCH_ROWS = 16000; // what the plugin writes at once, at most
const NOTICE_ROWS = 1000; // notices recorded at once, while those before are being published
const POOL = 16; // connections with a row per report: more are slower here

const SCHEMA = `
CREATE TABLE IF NOT EXISTS device (device_id text PRIMARY KEY, version text, status text, last_seen timestamptz, notified text);
CREATE TABLE IF NOT EXISTS event (event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL,
    device_id text NOT NULL, kind text NOT NULL, detail jsonb);
CREATE INDEX IF NOT EXISTS event_device ON event (device_id, at);
CREATE TABLE IF NOT EXISTS told (rollout text, device_id text, state text NOT NULL, told_at timestamptz NOT NULL, deadline timestamptz NOT NULL,
    PRIMARY KEY (rollout, device_id));
CREATE INDEX IF NOT EXISTS told_deadline ON told (deadline) WHERE state = 'notified';`;

// Who was told, and until when it has time: without that no stage can be judged.
const TOLD = `
INSERT INTO told (rollout, device_id, state, told_at, deadline)
SELECT $1, device, 'notified', now(), now() + interval '1 hour' FROM unnest($2::text[]) AS x (device)`;

const HISTORY = `
INSERT INTO event (at, device_id, kind, detail)
SELECT now(), device, 'notified', jsonb_build_object('version', $1::text) FROM unnest($2::text[]) AS x (device)`;

const EVENTS = `
INSERT INTO event (at, device_id, kind, detail)
SELECT x.at, x.device, 'status', x.detail FROM unnest($1::timestamptz[], $2::text[], $3::jsonb[]) AS x (at, device, detail)`;

const DEVICES = `
INSERT INTO device (device_id, version, status, last_seen)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
ON CONFLICT (device_id) DO UPDATE SET version = excluded.version, status = excluded.status, last_seen = excluded.last_seen`;

function parse(topic, payload) {
	const report = JSON.parse(payload);
	return { device: topic.split('/')[1], at: new Date(), version: report.version, status: report.status ?? 'IDLE', detail: payload.toString() };
}

async function writeBatch(client, reports) {
	const last = new Map(reports.map((one) => [one.device, one])); // one row a device and statement
	const devices = [...last.values()];
	await client.query('BEGIN');
	await client.query({ name: 'events', text: EVENTS,
		values: [reports.map((r) => r.at), reports.map((r) => r.device), reports.map((r) => r.detail)] });
	await client.query({ name: 'devices', text: DEVICES,
		values: [devices.map((r) => r.device), devices.map((r) => r.version), devices.map((r) => r.status), devices.map((r) => r.at)] });
	await client.query('COMMIT');
}

// Collects while the batch before is being written, so that batches grow with the load.
function batches(client) {
	let waiting = [];
	let writing = false;
	async function pump() {
		writing = true;
		while (waiting.length > 0) {
			const batch = waiting.splice(0, BATCH_ROWS);
			await writeBatch(client, batch);
		}
		writing = false;
	}
	return (report) => {
		waiting.push(report);
		if (!writing) pump().catch(die);
	};
}

async function writeRow(pool, report) {
	const client = await pool.connect();
	try {
		await client.query('BEGIN');
		await client.query({ name: 'event', text: "INSERT INTO event (at, device_id, kind, detail) VALUES ($1, $2, 'status', $3)",
			values: [report.at, report.device, report.detail] });
		await client.query({ name: 'device', text: `INSERT INTO device (device_id, version, status, last_seen) VALUES ($1, $2, $3, $4)
			ON CONFLICT (device_id) DO UPDATE SET version = $2, status = $3, last_seen = $4`,
			values: [report.device, report.version, report.status, report.at] });
		await client.query('COMMIT');
	} finally {
		client.release();
	}
}

async function ingest(port, database, mode) {
	let take;
	if (mode === 'batch') {
		const client = new pg.Client({ connectionString: database });
		await client.connect();
		await client.query(SCHEMA);
		take = batches(client);
	} else {
		const pool = new pg.Pool({ connectionString: database, max: POOL });
		await pool.query(SCHEMA);
		take = (report) => writeRow(pool, report).catch(die);
	}
	const broker = mqtt.connect({ port, host: '127.0.0.1', protocolVersion: 4, clientId: 'backend', keepalive: 0 });
	broker.on('error', die);
	broker.on('message', (topic, payload) => take(parse(topic, payload)));
	await broker.subscribeAsync('devices/+/ota/status', { qos: 1 });
	console.log('ready');
}

// Noted before anybody is told, as the plugin does: a crash must not tell twice.
async function mark(client, publish, version) {
	const told = await client.query(
		'UPDATE device SET notified = $1 WHERE notified IS DISTINCT FROM $1 RETURNING device_id', [version]);
	await Promise.all(told.rows.map((row) => publish(row.device_id)));
}

async function record(client, publish, version) {
	const found = await client.query(
		'SELECT device_id FROM device d WHERE NOT EXISTS (SELECT FROM told t WHERE t.rollout = $1 AND t.device_id = d.device_id)', [version]);
	const devices = found.rows.map((row) => row.device_id);
	const sent = [];
	while (devices.length > 0) {
		const batch = devices.splice(0, NOTICE_ROWS);
		await client.query('BEGIN');
		await client.query({ name: 'told', text: TOLD, values: [version, batch] });
		await client.query({ name: 'history', text: HISTORY, values: [version, batch] });
		await client.query('COMMIT');
		sent.push(...batch.map(publish)); // on its way while the next batch is recorded
	}
	await Promise.all(sent);
}

async function notify(port, database, tell) {
	const client = new pg.Client({ connectionString: database });
	await client.connect();
	await client.query(SCHEMA);
	const broker = mqtt.connect({ port, host: '127.0.0.1', protocolVersion: 4, clientId: 'backend', keepalive: 0 });
	broker.on('error', die);
	await broker.subscribeAsync('devices/backend/none', { qos: 1 }); // connected
	console.log('ready');
	for await (const notice of readline.createInterface({ input: process.stdin })) {
		const { version } = JSON.parse(notice);
		await tell(client, (device) => broker.publishAsync(`devices/${device}/ota/available`, notice, { qos: 1 }), version);
		console.log('done');
	}
}

function die(error) {
	console.error(error);
	process.exit(1);
}

const [what, port, database, mode] = process.argv.slice(2);
if (what === 'ingest' && (mode === 'batch' || mode === 'row')) {
	ingest(Number(port), database, mode).catch(die);
} else if (what === 'notify' && (mode === 'mark' || mode === 'record')) {
	notify(Number(port), database, mode === 'mark' ? mark : record).catch(die);
} else {
	console.error('usage: backend.js ingest PORT DATABASE batch|row | backend.js notify PORT DATABASE mark|record');
	process.exit(2);
}
