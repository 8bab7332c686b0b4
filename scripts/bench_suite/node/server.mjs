// The original design: Node, `ws`, and sql.js, which is SQLite compiled to WebAssembly, its database in memory.
//
// For each delta: JSON.parse, INSERT into a table with the three indexes that history needs, JSON.stringify once,
// send to every subscriber, ack. A snapshot exports the whole database and writes it over the old file.
//
// It is not made weak: one prepared INSERT, a journal that costs little, an array of deltas is one transaction, the row's
// number is counted here instead of asked for, a delivery is encoded once for all. What it does not do: hash chain,
// resume, history queries, checks and limits, slow readers' limits, current states, pruning; and whoever crashes loses
// all since the snapshot.
//
// node server.mjs NODE_MODULES [SNAPSHOT_FILE SNAPSHOT_MS]

import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, snapshotFile, snapshotMs] = process.argv.slice(2);
// Where the packages are is no folder above this file: an import would not find them.
const require = createRequire(join(modules, "of-the-benchmark.js"));
const { WebSocketServer } = require("ws");
const initSqlJs = require("sql.js");

const SCHEMA = `
CREATE TABLE session_deltas(
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id    TEXT NOT NULL,
  delta_type    TEXT NOT NULL CHECK (delta_type IN ('created','updated','deleted')),
  before_state  TEXT,
  after_state   TEXT,
  timestamp     TEXT NOT NULL,
  created_at    TEXT NOT NULL);
CREATE INDEX by_session ON session_deltas(session_id);
CREATE INDEX by_timestamp ON session_deltas(timestamp);
CREATE INDEX by_created_at ON session_deltas(created_at);
`;
const INSERT = `
INSERT INTO session_deltas(session_id, delta_type, before_state, after_state, timestamp, created_at)
VALUES (?, ?, ?, ?, ?, ?)`;

const SQL = await initSqlJs();
const db = new SQL.Database();
db.run(SCHEMA);
let insert = opened();
let lastId = 0;

// An export closes the database and opens it again, which ends every prepared statement and forgets its settings.
// The journal in a file (of the file system that sql.js has in memory) takes a third of the time of an INSERT.
function opened() {
  db.run("PRAGMA journal_mode = MEMORY");
  return db.prepare(INSERT);
}

function stored(state) {
  return state === undefined || state === null ? null : JSON.stringify(state);
}

function save(delta) {
  const recordedAt = new Date().toISOString();
  const row = [delta.sessionId, delta.type, stored(delta.before), stored(delta.after)];
  insert.run([...row, delta.timestamp ?? recordedAt, recordedAt]);
  lastId += 1;
  return { event: "delta", seq: lastId, recordedAt, delta };
}

// All of them or none.
function saveAll(deltas) {
  if (deltas.length === 1) return [save(deltas[0])];
  const before = lastId;
  db.run("BEGIN");
  try {
    const events = deltas.map(save);
    db.run("COMMIT");
    return events;
  } catch (error) {
    db.run("ROLLBACK");
    lastId = before;
    throw error;
  }
}

const subscribers = new Set();

function publish(socket, message) {
  let events;
  try {
    const value = JSON.parse(message);
    events = saveAll(Array.isArray(value) ? value : [value]);
  } catch (error) {
    socket.send(JSON.stringify({ event: "error", message: String(error) }));
    return;
  }
  for (const event of events) {
    const data = Buffer.from(JSON.stringify(event));
    for (const subscriber of subscribers) subscriber.send(data, { binary: false });
  }
  const [first, last] = [events[0].seq, events[events.length - 1].seq];
  socket.send(JSON.stringify({ event: "ack", firstSeq: first, seq: last, count: events.length }));
}

function connected(socket, request) {
  socket.on("error", () => socket.terminate());
  socket.send('{"event":"hello","protocol":1}');
  if (request.url === "/publish") {
    socket.on("message", (message) => publish(socket, message));
    return;
  }
  subscribers.add(socket);
  socket.on("close", () => subscribers.delete(socket));
}

async function snapshot() {
  const bytes = db.export();
  insert = opened();
  await writeFile(snapshotFile, bytes);
}

const http = createServer((request, response) => {
  const found = request.url === "/api/stats";
  response.writeHead(found ? 200 : 404, { "Content-Type": "application/json" });
  const count = found && db.exec("SELECT count(*) FROM session_deltas")[0].values[0][0];
  response.end(JSON.stringify(found ? { deltaCount: count } : {}));
});
new WebSocketServer({ server: http }).on("connection", connected);
if (snapshotFile) setInterval(snapshot, Number(snapshotMs)).unref();
process.on("SIGTERM", () => process.exit(0));
http.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${http.address().port}`));
