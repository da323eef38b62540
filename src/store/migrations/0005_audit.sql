-- The audit log says whom it is about, how things ended, and can be proven by those who keep its signed checkpoints.

-- `form` says what a row's hash covers: 2 also covers the three columns here. `about` names, a line each, whom the row is about
-- and who had a part in it beside the actor: `Patient/…`, `agent/…`.
ALTER TABLE audit ADD COLUMN form INTEGER NOT NULL DEFAULT 1 CHECK (form IN (1, 2));
ALTER TABLE audit ADD COLUMN outcome INTEGER NOT NULL DEFAULT 0 CHECK (outcome IN (0, 4, 8, 12));
ALTER TABLE audit ADD COLUMN about TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_recent ON audit (chain, at, seq);
CREATE INDEX audit_failed ON audit (chain, at, seq) WHERE outcome <> 0;

-- The rows by patient and by who took part, in the order in which they are read: a page costs what is on it. Entries are made for
-- 1024 rows at a time, because one at a time would write a page of the index for every row.
CREATE TABLE audit_about (
  about TEXT    NOT NULL CHECK (about LIKE 'Patient/_%' OR about LIKE 'agent/_%'),
  at    INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (about, at, seq)
) STRICT, WITHOUT ROWID;

-- Rows of before are found by the same.
INSERT INTO audit_about SELECT 'agent/' || actor, at, seq FROM audit;
INSERT OR IGNORE INTO audit_about
  SELECT 'Patient/' || coalesce(r.patient, r.id), a.at, a.seq
  FROM audit a CROSS JOIN json_each(iif(json_valid(a.payload), a.payload, '{}'), '$.shown') s
    CROSS JOIN resource r ON r.type = substr(s.value, 1, instr(s.value, '/') - 1)
     AND r.id = substr(s.value, instr(s.value, '/') + 1,
                       instr(substr(s.value, instr(s.value, '/') + 1) || '/', '/') - 1)
  WHERE s.type = 'text' AND (r.patient IS NOT NULL OR r.type = 'Patient');
INSERT OR IGNORE INTO audit_about
  SELECT 'Patient/' || coalesce(r.patient, r.id), a.at, a.seq
  FROM audit a CROSS JOIN resource r ON r.type = substr(a.object, 1, instr(a.object, '/') - 1)
     AND r.id = substr(a.object, instr(a.object, '/') + 1,
                       instr(substr(a.object, instr(a.object, '/') + 1) || '/', '/') - 1)
  WHERE r.patient IS NOT NULL OR r.type = 'Patient';
INSERT OR IGNORE INTO audit_about
  SELECT 'Patient/' || e.patient, a.at, a.seq
  FROM audit a CROSS JOIN exchange e ON e.id = unhex(replace(substr(a.object, 10, 36), '-', ''))
  WHERE a.object LIKE 'exchange/%' AND e.patient IS NOT NULL;
INSERT OR IGNORE INTO audit_about
  SELECT 'Patient/' || e.patient, a.at, a.seq
  FROM audit a CROSS JOIN delivery d ON d.id = unhex(replace(substr(a.object, 10, 36), '-', ''))
    CROSS JOIN exchange e ON e.id = d.exchange
  WHERE a.object LIKE 'delivery/%' AND e.patient IS NOT NULL;

DROP TRIGGER audit_stays;
CREATE INDEX audit_about_meanwhile ON audit_about (seq);
UPDATE audit SET about = coalesce((SELECT group_concat(about, char(10)) FROM audit_about w
                                   WHERE w.seq = audit.seq AND w.about LIKE 'Patient/%'), '');
DROP INDEX audit_about_meanwhile;

CREATE TRIGGER audit_about_stays BEFORE UPDATE ON audit_about
BEGIN SELECT RAISE(ABORT, 'whom an audit row is about never changes'); END;
CREATE TRIGGER audit_about_is_kept BEFORE DELETE ON audit_about
  WHEN EXISTS (SELECT 1 FROM audit WHERE chain = 1 AND seq = OLD.seq)
BEGIN SELECT RAISE(ABORT, 'an audit row is found as long as it is kept'); END;

-- Where the chain stood, signed: `token` is a JWS over the other columns. `regular` says no more; `prune` says that rows up to
-- there may be removed; `restore` that rows after it were lost when a copy took the database's place.
CREATE TABLE audit_checkpoint (
  number INTEGER PRIMARY KEY,
  kind   TEXT    NOT NULL CHECK (kind IN ('regular', 'prune', 'restore')),
  seq    INTEGER NOT NULL CHECK (seq > 0),
  hash   BLOB    NOT NULL CHECK (length(hash) = 32),
  at     INTEGER NOT NULL,
  token  TEXT    NOT NULL CHECK (token LIKE '%.%.%')
) STRICT;
CREATE INDEX audit_checkpoint_prune ON audit_checkpoint (seq) WHERE kind = 'prune';
CREATE TRIGGER audit_checkpoint_is_true BEFORE INSERT ON audit_checkpoint
  WHEN NOT EXISTS (SELECT 1 FROM audit WHERE chain = 1 AND seq = NEW.seq AND hash = NEW.hash)
BEGIN SELECT RAISE(ABORT, 'a checkpoint is of a row that is there'); END;
CREATE TRIGGER audit_checkpoint_stays BEFORE UPDATE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'a checkpoint never changes'); END;
CREATE TRIGGER audit_checkpoint_is_kept BEFORE DELETE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'a checkpoint is never deleted'); END;

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
  WHEN NEW.payload IS NOT NULL OR NEW.chain <> OLD.chain OR NEW.seq <> OLD.seq OR NEW.at <> OLD.at OR NEW.actor <> OLD.actor
    OR NEW.action <> OLD.action OR NEW.object <> OLD.object OR NEW.payload_hash <> OLD.payload_hash
    OR NEW.prev_hash <> OLD.prev_hash OR NEW.hash <> OLD.hash OR NEW.form <> OLD.form OR NEW.outcome <> OLD.outcome
    OR NEW.about <> OLD.about
BEGIN SELECT RAISE(ABORT, 'an audit row never changes'); END;

-- Rows leave from the oldest end only, five years after they were written at the earliest (HSLF-FS 2016:40, 4 kap. 9 §), and
-- behind a signed checkpoint that the rest is verified from. 1827 days: five years with two leap days.
DROP TRIGGER audit_is_kept;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
  WHEN OLD.at > (unixepoch('now') - 1827 * 86400) * 1000
    OR OLD.seq <> (SELECT min(seq) FROM audit WHERE chain = OLD.chain)
    OR NOT EXISTS (SELECT 1 FROM audit_checkpoint WHERE kind = 'prune' AND seq >= OLD.seq)
BEGIN SELECT RAISE(ABORT, 'an audit row is kept for five years, and leaves from the oldest end behind a signed checkpoint'); END;
