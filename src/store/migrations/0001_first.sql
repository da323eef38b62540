-- The first form of the database. Times are integer milliseconds since 1970 (UTC), ids of exchanges and deliveries 16 bytes.
-- Whatever can be said about a legal row is said here, so that no path of the program can write another.

-- Resources. The bytes of every version, the current one too, stand once, in `version`.
CREATE TABLE resource (
  rid        INTEGER PRIMARY KEY,
  type       TEXT    NOT NULL CHECK (type <> ''),
  id         TEXT    NOT NULL CHECK (id <> ''),
  version    INTEGER NOT NULL CHECK (version > 0),
  seq        INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  patient    TEXT,
  UNIQUE (type, id)
) STRICT;
CREATE UNIQUE INDEX resource_walk ON resource (type, seq);
CREATE INDEX resource_updated ON resource (type, updated_at);

CREATE TABLE version (
  seq     INTEGER PRIMARY KEY,
  rid     INTEGER NOT NULL REFERENCES resource (rid),
  version INTEGER NOT NULL CHECK (version > 0),
  at      INTEGER NOT NULL,
  body    BLOB    NOT NULL,
  UNIQUE (rid, version)
) STRICT;
CREATE TRIGGER version_stays BEFORE UPDATE ON version BEGIN SELECT RAISE(ABORT, 'a version never changes'); END;

-- Search values of the current versions.
CREATE TABLE param (
  id   INTEGER PRIMARY KEY,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (type, name)
) STRICT;

CREATE TABLE system (
  id  INTEGER PRIMARY KEY,
  uri TEXT NOT NULL UNIQUE
) STRICT;

-- The code before the system: a code is often asked for without one, a system hardly ever without a code.
CREATE TABLE token (
  param     INTEGER NOT NULL REFERENCES param (id),
  code      TEXT    NOT NULL,
  system_id INTEGER NOT NULL REFERENCES system (id),
  rid       INTEGER NOT NULL REFERENCES resource (rid),
  PRIMARY KEY (param, code, system_id, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_of ON token (rid, param);

CREATE TABLE reference (
  param  INTEGER NOT NULL REFERENCES param (id),
  target TEXT    NOT NULL,
  rid    INTEGER NOT NULL REFERENCES resource (rid),
  PRIMARY KEY (param, target, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_of ON reference (rid, param);

CREATE TABLE date (
  param INTEGER NOT NULL REFERENCES param (id),
  lo    INTEGER NOT NULL,
  hi    INTEGER NOT NULL,
  rid   INTEGER NOT NULL REFERENCES resource (rid),
  PRIMARY KEY (param, lo, hi, rid),
  CHECK (lo <= hi)
) STRICT, WITHOUT ROWID;
CREATE INDEX date_by_end ON date (param, hi);
CREATE INDEX date_of ON date (rid, param);

-- Which units a resource concerns: they may see it. HSA-ids in upper case.
CREATE TABLE concern (
  rid  INTEGER NOT NULL REFERENCES resource (rid),
  unit TEXT    NOT NULL CHECK (unit = upper(unit)),
  PRIMARY KEY (rid, unit)
) STRICT, WITHOUT ROWID;
CREATE INDEX concern_of_unit ON concern (unit, rid);

-- Exchanges.
CREATE TABLE exchange (
  id               BLOB    PRIMARY KEY CHECK (length(id) = 16),
  revision         INTEGER NOT NULL CHECK (revision >= 0),
  kind             TEXT    NOT NULL CHECK (kind IN ('rehab-plan', 'referral', 'handover', 'activity')),
  format           TEXT    NOT NULL CHECK (format IN ('json', 'riv')),
  organisation     TEXT    NOT NULL COLLATE NOCASE,
  document         TEXT    NOT NULL,
  version          INTEGER NOT NULL CHECK (version >= 0),
  entered_in_error INTEGER NOT NULL CHECK (entered_in_error IN (0, 1)),
  patient          TEXT,
  stage            TEXT    NOT NULL CHECK (stage IN ('parked', 'waiting', 'delivered', 'received', 'on-hold', 'accepted', 'in-progress',
                                                     'recorded', 'completed', 'rejected', 'failed', 'cancelled', 'entered-in-error')),
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL,
  UNIQUE (organisation, kind, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX exchange_recent ON exchange (updated_at, id);
CREATE INDEX exchange_open ON exchange (updated_at, id)
  WHERE stage IN ('parked', 'waiting', 'delivered', 'received', 'on-hold', 'accepted', 'in-progress');
CREATE INDEX exchange_stage ON exchange (stage, updated_at, id);
CREATE INDEX exchange_patient ON exchange (patient, updated_at, id);

-- `updated_at` is the exchange's: lists for a unit or a partner are read in that order.
CREATE TABLE party (
  exchange   BLOB    NOT NULL REFERENCES exchange (id),
  position   INTEGER NOT NULL,
  unit       TEXT    NOT NULL COLLATE NOCASE CHECK (unit <> ''),
  partner    TEXT    NOT NULL,
  role       TEXT    NOT NULL CHECK (role IN ('sender', 'recipient', 'participant')),
  task       TEXT,
  status     TEXT    CHECK (status IN ('requested', 'received', 'on-hold', 'accepted', 'in-progress', 'completed', 'rejected', 'failed',
                                       'cancelled', 'entered-in-error')),
  stage      TEXT    NOT NULL CHECK (stage IN ('parked', 'waiting', 'delivered', 'received', 'on-hold', 'accepted', 'in-progress',
                                               'recorded', 'completed', 'rejected', 'failed', 'cancelled', 'entered-in-error')),
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (exchange, position),
  UNIQUE (exchange, unit, role),
  CONSTRAINT status_iff_task CHECK ((task IS NULL) = (status IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX party_unit ON party (unit, updated_at, exchange);
CREATE INDEX party_partner ON party (partner, updated_at, exchange);
CREATE INDEX party_open_task ON party (partner, task)
  WHERE status IN ('requested', 'received', 'on-hold', 'accepted', 'in-progress')
    AND role <> 'sender';

-- `position` is the place in the version in force; without one, the resource belongs to the exchange otherwise.
CREATE TABLE exchange_resource (
  exchange BLOB    NOT NULL REFERENCES exchange (id),
  rid      INTEGER NOT NULL REFERENCES resource (rid),
  position INTEGER,
  PRIMARY KEY (exchange, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX exchange_of_resource ON exchange_resource (rid);

CREATE TABLE document (
  exchange      BLOB    NOT NULL REFERENCES exchange (id),
  version       INTEGER NOT NULL CHECK (version >= 0),
  format        TEXT    NOT NULL CHECK (format IN ('json', 'riv')),
  hash          TEXT    NOT NULL,
  table_name    TEXT    NOT NULL,
  table_version TEXT    NOT NULL,
  received_at   INTEGER NOT NULL,
  in_force      INTEGER NOT NULL CHECK (in_force IN (0, 1)),
  receipt       BLOB    NOT NULL,
  source        BLOB    NOT NULL,
  UNIQUE (exchange, version)
) STRICT;
CREATE UNIQUE INDEX document_in_force ON document (exchange) WHERE in_force = 1;
CREATE TRIGGER document_stays
  BEFORE UPDATE OF exchange, version, format, hash, table_name, table_version, received_at, receipt, source ON document
BEGIN SELECT RAISE(ABORT, 'a document never changes'); END;

-- Deliveries. A lane is (partner, patient), its order `seq`, its head the first that is neither delivered nor skipped.
-- `head` is kept by the writer rather than computed, so that finding what is due costs what is found, however much is held up.
CREATE TABLE delivery (
  seq              INTEGER PRIMARY KEY,
  id               BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
  exchange         BLOB    NOT NULL REFERENCES exchange (id),
  document_version INTEGER NOT NULL CHECK (document_version >= 0),
  partner          TEXT    NOT NULL CHECK (partner <> ''),
  unit             TEXT    NOT NULL CHECK (unit <> ''),
  patient          TEXT    NOT NULL,
  action           TEXT    NOT NULL CHECK (action IN ('transaction', 'move-task')),
  state            TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'parked', 'skipped')),
  head             INTEGER NOT NULL CHECK (head IN (0, 1)),
  attempts         INTEGER NOT NULL CHECK (attempts >= 0),
  created_at       INTEGER NOT NULL,
  first_attempt_at INTEGER,
  due_at           INTEGER NOT NULL,
  note             TEXT,
  body             BLOB    NOT NULL,
  CONSTRAINT head_is_open        CHECK (head = 0 OR state IN ('waiting', 'parked')),
  CONSTRAINT delivered_by_trying CHECK (state <> 'delivered' OR attempts > 0),
  CONSTRAINT first_iff_attempts  CHECK ((first_attempt_at IS NULL) = (attempts = 0)),
  CONSTRAINT stopped_for_reason  CHECK (state NOT IN ('parked', 'skipped') OR (note IS NOT NULL AND note <> ''))
) STRICT;
CREATE INDEX delivery_lane ON delivery (partner, patient, seq) WHERE state IN ('waiting', 'parked');
CREATE UNIQUE INDEX delivery_head ON delivery (partner, patient) WHERE head = 1;
CREATE INDEX delivery_due ON delivery (partner, due_at, seq, patient) WHERE head = 1 AND state = 'waiting';
CREATE INDEX delivery_next ON delivery (due_at) WHERE head = 1 AND state = 'waiting';
CREATE INDEX delivery_of_exchange ON delivery (exchange, seq);
CREATE INDEX delivery_of_partner ON delivery (partner, seq);
CREATE INDEX delivery_waiting ON delivery (partner, seq) WHERE state = 'waiting';
CREATE INDEX delivery_parked ON delivery (partner, seq) WHERE state = 'parked';
CREATE INDEX delivery_of_state ON delivery (state, seq);
CREATE TRIGGER delivery_bytes_stay
  BEFORE UPDATE OF seq, id, exchange, document_version, partner, unit, patient, action, created_at, body ON delivery
BEGIN SELECT RAISE(ABORT, 'a delivery''s bytes and lane never change'); END;
CREATE TRIGGER delivery_is_over BEFORE UPDATE OF state ON delivery WHEN OLD.state IN ('delivered', 'skipped') AND NEW.state <> OLD.state
BEGIN SELECT RAISE(ABORT, 'the delivery is over'); END;
CREATE TRIGGER delivery_in_order BEFORE UPDATE OF state ON delivery WHEN NEW.state = 'delivered' AND OLD.head = 0
BEGIN SELECT RAISE(ABORT, 'something in the lane comes before this delivery'); END;

CREATE TABLE attempt (
  delivery    BLOB    NOT NULL REFERENCES delivery (id),
  number      INTEGER NOT NULL CHECK (number > 0),
  at          INTEGER NOT NULL,
  class       TEXT    NOT NULL CHECK (class IN ('delivered', 'transient', 'unauthorized', 'conflict', 'permanent')),
  status      INTEGER CHECK (status BETWEEN 100 AND 999),
  reason      TEXT,
  duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
  PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER attempt_stays BEFORE UPDATE ON attempt BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;

-- What partners said.
CREATE TABLE inbound (
  partner  TEXT    NOT NULL,
  key      TEXT    NOT NULL,
  exchange BLOB    REFERENCES exchange (id),
  at       INTEGER NOT NULL,
  finding  TEXT    CHECK (finding <> ''),
  body     BLOB    NOT NULL,
  UNIQUE (partner, key)
) STRICT;
CREATE INDEX inbound_held ON inbound (partner, at) WHERE finding IS NOT NULL;
CREATE INDEX inbound_held_all ON inbound (at) WHERE finding IS NOT NULL;
CREATE INDEX inbound_of_exchange ON inbound (exchange, at);

-- Answers by Idempotency-Key.
CREATE TABLE answer (
  caller       TEXT    NOT NULL,
  key          TEXT    NOT NULL,
  request_hash TEXT    NOT NULL,
  exchange     BLOB    REFERENCES exchange (id),
  status       INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599),
  location     TEXT,
  at           INTEGER NOT NULL,
  body         BLOB    NOT NULL,
  UNIQUE (caller, key)
) STRICT;

-- The audit log. Only a payload may go, together with its salt; everything else is held by the chain of hashes.
CREATE TABLE audit (
  chain        INTEGER NOT NULL,
  seq          INTEGER NOT NULL CHECK (seq > 0),
  at           INTEGER NOT NULL,
  actor        TEXT    NOT NULL CHECK (actor <> ''),
  action       TEXT    NOT NULL CHECK (action <> ''),
  object       TEXT    NOT NULL,
  payload      TEXT,
  salt         BLOB,
  payload_hash BLOB    NOT NULL CHECK (length(payload_hash) = 32),
  prev_hash    BLOB    NOT NULL CHECK (length(prev_hash) = 32),
  hash         BLOB    NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (chain, seq),
  CONSTRAINT payload_iff_salt CHECK ((payload IS NULL) = (salt IS NULL))
) STRICT, WITHOUT ROWID;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
  WHEN NEW.payload IS NOT NULL OR NEW.chain <> OLD.chain OR NEW.seq <> OLD.seq OR NEW.at <> OLD.at OR NEW.actor <> OLD.actor
    OR NEW.action <> OLD.action OR NEW.object <> OLD.object OR NEW.payload_hash <> OLD.payload_hash
    OR NEW.prev_hash <> OLD.prev_hash OR NEW.hash <> OLD.hash
BEGIN SELECT RAISE(ABORT, 'an audit row never changes'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'an audit row is never deleted'); END;

-- One row that can always be written: whether the disk takes commits again is asked by writing it.
CREATE TABLE heartbeat (
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  beats INTEGER NOT NULL
) STRICT;
INSERT INTO heartbeat (id, beats) VALUES (1, 0);
