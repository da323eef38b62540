-- The patient's rights at registries, and the end of what is kept.

-- Registries as the settings have them: what is not here gets nothing.
CREATE TABLE registry (
  id                INTEGER PRIMARY KEY,
  name              TEXT    NOT NULL UNIQUE CHECK (name <> '' AND name <> '*'),
  in_force          INTEGER NOT NULL CHECK (in_force IN (0, 1)),
  needs_information INTEGER NOT NULL CHECK (needs_information IN (0, 1))
) STRICT;

-- Objections to a registry, or to every one ('*'). Of a patient whom no document has been about the Patient is not known yet: then
-- the number alone says whom it is about, until the Patient is made.
CREATE TABLE opt_out (
  id            BLOB    PRIMARY KEY CHECK (length(id) = 16),
  registry      TEXT    NOT NULL CHECK (registry <> ''),
  patient       TEXT,
  system        TEXT    NOT NULL,
  value         TEXT    NOT NULL CHECK (value <> ''),
  unit          TEXT    NOT NULL CHECK (unit = upper(unit) AND unit <> ''),
  objected_at   INTEGER NOT NULL,
  registered_at INTEGER NOT NULL,
  registered_by TEXT    NOT NULL,
  lifted_at     INTEGER,
  lifted_by     TEXT,
  CONSTRAINT lifted_by_somebody CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX opt_out_in_force ON opt_out (system, value, registry, unit) WHERE lifted_at IS NULL;
CREATE INDEX opt_out_of_patient ON opt_out (patient, registry) WHERE lifted_at IS NULL;
CREATE INDEX opt_out_of_number ON opt_out (system, value, registered_at);
CREATE INDEX opt_out_changed ON opt_out (registered_at);
CREATE INDEX opt_out_lifted ON opt_out (lifted_at) WHERE lifted_at IS NOT NULL;
CREATE TRIGGER opt_out_stays BEFORE UPDATE ON opt_out
  WHEN OLD.lifted_at IS NOT NULL AND NEW.patient IS OLD.patient OR NEW.registry <> OLD.registry OR NEW.system <> OLD.system
    OR NEW.value <> OLD.value OR NEW.unit <> OLD.unit OR NEW.objected_at <> OLD.objected_at OR NEW.registered_at <> OLD.registered_at
BEGIN SELECT RAISE(ABORT, 'an objection is lifted once, and otherwise never changes'); END;
CREATE TRIGGER opt_out_is_kept BEFORE DELETE ON opt_out BEGIN SELECT RAISE(ABORT, 'an objection is never deleted'); END;

-- When a patient was informed of a registry, or of all of them ('*').
CREATE TABLE information (
  registry    TEXT    NOT NULL CHECK (registry <> ''),
  patient     TEXT,
  system      TEXT    NOT NULL,
  value       TEXT    NOT NULL CHECK (value <> ''),
  unit        TEXT    NOT NULL CHECK (unit = upper(unit) AND unit <> ''),
  informed_at INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  PRIMARY KEY (system, value, registry, unit, informed_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX information_of_patient ON information (patient, registry);

-- What a registry has got, as it last got it: `key` is the version of the key of its codes.
CREATE TABLE disclosure (
  registry INTEGER NOT NULL REFERENCES registry (id),
  rid      INTEGER NOT NULL REFERENCES resource (rid),
  key      TEXT,
  first_at INTEGER NOT NULL,
  last_at  INTEGER NOT NULL,
  PRIMARY KEY (registry, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX disclosure_of ON disclosure (rid);
CREATE INDEX resource_of_patient ON resource (patient);

-- What a registry has got and must erase. It stays until the registry has said that it is done.
CREATE TABLE erasure (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  registry INTEGER NOT NULL REFERENCES registry (id),
  type     TEXT    NOT NULL CHECK (type <> ''),
  id       TEXT    NOT NULL CHECK (id <> ''),
  patient  TEXT,
  key      TEXT,
  reason   TEXT    NOT NULL CHECK (reason IN ('opt-out', 'removed')),
  at       INTEGER NOT NULL,
  UNIQUE (registry, type, id)
) STRICT;
CREATE INDEX erasure_of_registry ON erasure (registry, seq);
CREATE INDEX erasure_of_patient ON erasure (patient, registry);

-- The last `seq` given when something was removed: a number is never given twice, whoever had the last one.
CREATE TABLE seq_given (
  id  INTEGER PRIMARY KEY CHECK (id = 1),
  seq INTEGER NOT NULL
) STRICT;

-- What stops every removal, of a patient or of one exchange.
CREATE TABLE hold (
  id        BLOB    PRIMARY KEY CHECK (length(id) = 16),
  patient   TEXT,
  exchange  BLOB    REFERENCES exchange (id),
  reason    TEXT    NOT NULL CHECK (reason <> ''),
  placed_at INTEGER NOT NULL,
  placed_by TEXT    NOT NULL,
  lifted_at INTEGER,
  lifted_by TEXT,
  CONSTRAINT of_one_thing      CHECK ((patient IS NULL) <> (exchange IS NULL) OR lifted_at IS NOT NULL),
  CONSTRAINT lifted_by_somebody CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_of_patient ON hold (patient) WHERE lifted_at IS NULL AND patient IS NOT NULL;
CREATE INDEX hold_of_exchange ON hold (exchange) WHERE exchange IS NOT NULL;
CREATE INDEX hold_placed ON hold (placed_at) WHERE lifted_at IS NULL;

-- That something was removed, without saying of whom: `object` is the hash of its id with a salt, so that whoever has the id can
-- see that it was here, and nobody else can.
CREATE TABLE removal (
  id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
  what         TEXT    NOT NULL CHECK (what IN ('exchange', 'delivery-body', 'inbound', 'answer', 'audit-payload')),
  kind         TEXT,
  salt         BLOB    NOT NULL CHECK (length(salt) = 16),
  object       BLOB    CHECK (length(object) = 32),
  rule         TEXT    NOT NULL CHECK (rule <> ''),
  rule_version TEXT    NOT NULL CHECK (rule_version <> ''),
  at           INTEGER NOT NULL,
  by           TEXT    NOT NULL CHECK (by <> ''),
  counts       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removal_at ON removal (at);
CREATE TRIGGER removal_stays BEFORE UPDATE ON removal BEGIN SELECT RAISE(ABORT, 'a stub never changes'); END;
CREATE TRIGGER removal_is_kept BEFORE DELETE ON removal BEGIN SELECT RAISE(ABORT, 'a stub is never deleted'); END;

-- There is a row only while a commit removes what is due, and nobody else ever sees it: what never goes otherwise goes then.
CREATE TABLE removing (at INTEGER NOT NULL) STRICT;
CREATE TRIGGER version_is_kept BEFORE DELETE ON version WHEN NOT EXISTS (SELECT 1 FROM removing)
BEGIN SELECT RAISE(ABORT, 'a version goes only by a rule'); END;
CREATE TRIGGER document_is_kept BEFORE DELETE ON document WHEN NOT EXISTS (SELECT 1 FROM removing)
BEGIN SELECT RAISE(ABORT, 'a document goes only by a rule'); END;
CREATE TRIGGER delivery_is_kept BEFORE DELETE ON delivery WHEN NOT EXISTS (SELECT 1 FROM removing)
BEGIN SELECT RAISE(ABORT, 'a delivery goes only by a rule'); END;
CREATE TRIGGER attempt_is_kept BEFORE DELETE ON attempt WHEN NOT EXISTS (SELECT 1 FROM removing)
BEGIN SELECT RAISE(ABORT, 'an attempt goes only by a rule'); END;

DROP TRIGGER delivery_bytes_stay;
CREATE TRIGGER delivery_bytes_stay
  BEFORE UPDATE OF seq, id, exchange, document_version, partner, unit, patient, action, created_at, resend_of, body ON delivery
  WHEN NOT EXISTS (SELECT 1 FROM removing) OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR length(NEW.body) > 0
BEGIN SELECT RAISE(ABORT, 'a delivery''s bytes and lane never change'); END;
DROP TRIGGER delivery_again_is_the_same;
CREATE TRIGGER delivery_again_is_the_same BEFORE INSERT ON delivery WHEN NEW.resend_of IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = NEW.resend_of AND d.state = 'delivered' AND d.body = NEW.body
                  AND length(d.body) > 0
                  AND d.action = NEW.action AND d.partner = NEW.partner AND d.patient = NEW.patient AND d.exchange = NEW.exchange)
BEGIN SELECT RAISE(ABORT, 'what is sent again is a delivered delivery, byte by byte'); END;

-- Copies that are still there, so that what is due is found without looking at what has gone.
CREATE INDEX delivery_ended ON delivery (created_at) WHERE state IN ('delivered', 'skipped') AND length(body) > 0;
CREATE INDEX inbound_applied ON inbound (at) WHERE finding IS NULL AND length(body) > 0;
CREATE INDEX answer_at ON answer (at);
CREATE INDEX answer_of_exchange ON answer (exchange);

-- What the audit log says of an exchange goes with it: rows are found by what they are about; what is too young then waits here.
CREATE INDEX audit_of_object ON audit (object) WHERE payload IS NOT NULL;
CREATE TABLE audit_removal (
  due_at       INTEGER NOT NULL,
  chain        INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  PRIMARY KEY (due_at, chain, seq)
) STRICT, WITHOUT ROWID;
