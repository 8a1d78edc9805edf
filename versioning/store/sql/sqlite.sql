-- The statements of the SQLite store. A statement begins with its name and a line that says what it does;
-- `recorder.statements` reads them. What exists in postgres.sql too has the same name there.

-- name: create_stored_events
-- The log. The position is a real column, which dumps and VACUUM keep.
CREATE TABLE stored_events (
    rowid INTEGER PRIMARY KEY,
    originator_id TEXT NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    idempotency_key TEXT,
    UNIQUE (originator_id, originator_version)
);

-- name: create_stored_events_by_key
-- Idempotency keys are found, and used once in a stream.
CREATE UNIQUE INDEX stored_events_by_key
ON stored_events (originator_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- name: create_store_ids
-- The ids of this store, which its copies share: the first is its own, and each folder that it adopts adds one.
CREATE TABLE store_ids (id TEXT NOT NULL);

-- name: create_kept_views
-- The kept views, and how far each has read the log.
CREATE TABLE kept_views (
    view INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    latest_us INTEGER NOT NULL,
    link BLOB NOT NULL
);

-- name: create_kept_rows
-- The rows of all kept views.
CREATE TABLE kept_rows (
    view INTEGER NOT NULL,
    key TEXT NOT NULL,
    workspace TEXT NOT NULL,
    model_name TEXT NOT NULL,
    live INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (view, key)
);

-- name: create_kept_rows_by_name
-- Pages of a view come in the order of names.
CREATE INDEX kept_rows_by_name ON kept_rows (view, workspace, live, model_name, key);

-- name: append
-- Record one row; further rows are further lists of values. Where the row with the link ?6 is not right before it in
-- its stream, it gets no stream, which the table refuses. NULL asks for no such row.
INSERT INTO stored_events (originator_id,originator_version,topic,state,idempotency_key) VALUES (
CASE WHEN ?6 IS NULL OR ?6=(SELECT substr(state,12,64) FROM stored_events
WHERE originator_id=?1 AND originator_version=?2-1) THEN ?1 END,?2,?3,?4,?5);

-- name: first_id
-- Give the store its id, unless it has one, as a restored one has.
INSERT INTO store_ids (id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM store_ids);

-- name: add_id
-- Add an id to those of the store.
INSERT INTO store_ids (id) VALUES (?);

-- name: ids
-- The ids of this store, the first one first.
SELECT id FROM store_ids ORDER BY rowid;

-- name: head
-- Position of the last row.
SELECT coalesce(max(rowid),0) FROM stored_events;

-- name: last_row
-- The last row.
SELECT rowid,originator_id,originator_version,topic,state FROM stored_events ORDER BY rowid DESC LIMIT 1;

-- name: log
-- Rows between two positions, oldest first.
SELECT rowid,originator_id,originator_version,topic,state FROM stored_events
WHERE rowid>? AND rowid<=? ORDER BY rowid LIMIT ?;

-- name: tail
-- Rows of one stream between two sequences, oldest first.
SELECT rowid,originator_version,topic,state FROM stored_events
WHERE originator_id=? AND originator_version>? AND originator_version<=? ORDER BY originator_version LIMIT ?;

-- name: ranges
-- Rows of several streams, each between two sequences of its own, stream by stream.
SELECT rowid,originator_id,originator_version,topic,state FROM json_each(?) AS span CROSS JOIN stored_events
ON originator_id=span.key AND originator_version>json_extract(span.value,'$[0]')
AND originator_version<=json_extract(span.value,'$[1]') ORDER BY originator_id,originator_version;

-- name: tails
-- Rows of several streams up to a position, stream by stream, from behind a stream and sequence.
SELECT rowid,originator_id,originator_version,topic,state FROM stored_events
WHERE originator_id IN (SELECT value FROM json_each(?)) AND (originator_id,originator_version)>(?,?)
AND rowid<=? ORDER BY originator_id,originator_version LIMIT ?;

-- name: find_key
-- First row of the append with an idempotency key.
SELECT rowid,originator_version,topic,state FROM stored_events WHERE originator_id=? AND idempotency_key=?;

-- name: all_texts
-- Every text of the log as bytes, to find the row whose text is not UTF-8.
SELECT rowid,CAST(originator_id AS BLOB),CAST(originator_version AS BLOB),CAST(topic AS BLOB),
CASE typeof(state) WHEN 'text' THEN CAST(state AS BLOB) ELSE x'' END FROM stored_events ORDER BY rowid;

-- name: view
-- A kept view, and how far it has read the log.
SELECT view,position,latest_us,link FROM kept_views WHERE name=?;

-- name: view_rows
-- Rows of a view by their keys.
SELECT workspace,model_name,key,live,state,first_position,first_us,last_position,last_us FROM kept_rows
WHERE view=? AND key IN (SELECT value FROM json_each(?));

-- name: page_live
-- Live rows of a workspace, by name and key.
SELECT workspace,model_name,key,live,state,first_position,first_us,last_position,last_us FROM kept_rows
WHERE view=?1 AND workspace=?2 AND live=1 AND (model_name,key)>(?3,?4) AND first_position<=?6 AND first_us<=?7
ORDER BY model_name,key LIMIT ?5;

-- name: page
-- Live rows of a workspace and those that changed late enough, by name and key.
SELECT workspace,model_name,key,live,state,first_position,first_us,last_position,last_us FROM kept_rows
WHERE view=?1 AND workspace=?2 AND live=0 AND (model_name,key)>(?3,?4) AND first_position<=?6 AND first_us<=?7
AND (last_position>?8 OR last_us>?9)
UNION ALL
SELECT workspace,model_name,key,live,state,first_position,first_us,last_position,last_us FROM kept_rows
WHERE view=?1 AND workspace=?2 AND live=1 AND (model_name,key)>(?3,?4) AND first_position<=?6 AND first_us<=?7
ORDER BY model_name,key LIMIT ?5;

-- name: new_view
-- Begin a kept view.
INSERT INTO kept_views (name,position,latest_us,link) VALUES (?,0,0,x'');

-- name: keep
-- Keep a row of a view, or replace it.
INSERT INTO kept_rows (view,workspace,model_name,key,live,state,first_position,first_us,last_position,last_us)
VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (view,key) DO UPDATE SET workspace=excluded.workspace,
model_name=excluded.model_name,live=excluded.live,state=excluded.state,first_position=excluded.first_position,
first_us=excluded.first_us,last_position=excluded.last_position,last_us=excluded.last_us;

-- name: move_view
-- Say how far a view has read the log.
UPDATE kept_views SET position=?2,latest_us=?3,link=?4 WHERE view=?1;

-- name: name_view
-- Rename a view.
UPDATE kept_views SET name=?2 WHERE name=?1;

-- name: drop_rows
-- Drop the rows of a view.
DELETE FROM kept_rows WHERE view=(SELECT view FROM kept_views WHERE name=?);

-- name: drop_view
-- Drop a view.
DELETE FROM kept_views WHERE name=?;
