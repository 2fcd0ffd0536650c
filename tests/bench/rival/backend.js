// A firmware-update back end as it is usually built: a service beside the broker, with the mqtt and pg packages.
// It does the least of what the plugin does, so that the comparison is in its favour: no state machine, no verification.
//
//   backend.js ingest PORT DATABASE batch|row    reports into the tables, until SIGTERM
//   backend.js notify PORT DATABASE              for each line on standard input, one notice to each device that has not had it
//
// Prints "ready" when it is; errors end it.
import mqtt from 'mqtt';
import pg from 'pg';
import readline from 'node:readline';

const BATCH_ROWS = 16000; // what the plugin writes at once, at most
const POOL = 16; // connections with a row per report: more are slower here

const SCHEMA = `
CREATE TABLE IF NOT EXISTS device (device_id text PRIMARY KEY, version text, status text, last_seen timestamptz, notified text);
CREATE TABLE IF NOT EXISTS event (event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL,
    device_id text NOT NULL, kind text NOT NULL, detail jsonb);
CREATE INDEX IF NOT EXISTS event_device ON event (device_id, at);`;

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

async function notify(port, database) {
	const client = new pg.Client({ connectionString: database });
	await client.connect();
	await client.query(SCHEMA);
	const broker = mqtt.connect({ port, host: '127.0.0.1', protocolVersion: 4, clientId: 'backend', keepalive: 0 });
	broker.on('error', die);
	await broker.subscribeAsync('devices/backend/none', { qos: 1 }); // connected
	console.log('ready');
	for await (const notice of readline.createInterface({ input: process.stdin })) {
		// Noted before anybody is told, as the plugin does: a crash must not tell twice.
		const { version } = JSON.parse(notice);
		const told = await client.query(
			'UPDATE device SET notified = $1 WHERE notified IS DISTINCT FROM $1 RETURNING device_id', [version]);
		await Promise.all(told.rows.map((row) => broker.publishAsync(`devices/${row.device_id}/ota/available`, notice, { qos: 1 })));
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
} else if (what === 'notify' && database) {
	notify(Number(port), database).catch(die);
} else {
	console.error('usage: backend.js ingest PORT DATABASE batch|row | backend.js notify PORT DATABASE');
	process.exit(2);
}
