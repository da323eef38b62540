-- Bulk exports: what a registry asked for, how far it has come, and the files that were written.

-- Which commits stand on which side of a moment. The time of a version is its request's; in what order things became
-- visible is told by `seq` alone, so a moment that somebody names is looked up here.
CREATE TABLE mark (
  at  INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL CHECK (seq >= 0)
) STRICT;
CREATE TRIGGER mark_is_last BEFORE INSERT ON mark WHEN EXISTS (SELECT 1 FROM mark WHERE at >= NEW.at)
BEGIN SELECT RAISE(ABORT, 'marks are made in order'); END;
CREATE TRIGGER mark_stays BEFORE UPDATE ON mark BEGIN SELECT RAISE(ABORT, 'a mark never changes'); END;
-- Of what stood here before, nothing is known but that it stood.
INSERT INTO mark (at, seq) SELECT max(at), max(seq) FROM version HAVING max(at) IS NOT NULL;

-- When a unit was let in to a resource that stood already, or was shut out: no version says so.
CREATE TABLE sight (
  rid    INTEGER NOT NULL REFERENCES resource (rid),
  unit   TEXT    NOT NULL CHECK (unit = upper(unit)),
  seq    INTEGER NOT NULL,
  gained INTEGER NOT NULL CHECK (gained IN (0, 1)),
  PRIMARY KEY (rid, unit, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX sight_by_seq ON sight (seq);
CREATE TRIGGER sight_stays BEFORE UPDATE ON sight BEGIN SELECT RAISE(ABORT, 'what was seen never changes'); END;

-- `step` is the place in the list of what there is to do, `position` the last row of that step. An export shows what had been
-- committed up to `seq`; `since_seq` is what the one who asks had got before, `basis` the export whose patients it compares with.
CREATE TABLE export_job (
  id             BLOB    PRIMARY KEY CHECK (length(id) = 16),
  client         TEXT    NOT NULL CHECK (client <> ''),
  caller         TEXT    NOT NULL,
  level          TEXT    NOT NULL CHECK (level IN ('system', 'patient', 'group')),
  cohort         TEXT,
  request        TEXT    NOT NULL,
  asked          TEXT    NOT NULL,
  is_partial     INTEGER NOT NULL CHECK (is_partial IN (0, 1)),
  created_at     INTEGER NOT NULL,
  transaction_at INTEGER NOT NULL,
  seq            INTEGER NOT NULL CHECK (seq >= 0),
  since_at       INTEGER,
  since_seq      INTEGER CHECK (since_seq >= 0),
  basis          BLOB,
  until_at       INTEGER,
  until_seq      INTEGER,
  state          TEXT    NOT NULL CHECK (state IN ('open', 'done', 'failed', 'gone')),
  step           INTEGER NOT NULL CHECK (step >= 0),
  position       INTEGER NOT NULL CHECK (position >= 0),
  resources      INTEGER NOT NULL CHECK (resources >= 0),
  note           TEXT,
  finished_at    INTEGER,
  expires_at     INTEGER,
  CONSTRAINT cohort_iff_group CHECK ((level = 'group') = (cohort IS NOT NULL)),
  CONSTRAINT since_is_known   CHECK ((since_at IS NULL) = (since_seq IS NULL)),
  CONSTRAINT until_is_known   CHECK ((until_at IS NULL) = (until_seq IS NULL)),
  CONSTRAINT failed_for_reason CHECK (state <> 'failed' OR (note IS NOT NULL AND expires_at IS NOT NULL)),
  CONSTRAINT done_at_a_time   CHECK (state <> 'done' OR (finished_at IS NOT NULL AND expires_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX export_open ON export_job (created_at, id) WHERE state = 'open';
CREATE INDEX export_kept ON export_job (client, state, created_at);
CREATE INDEX export_expires ON export_job (expires_at) WHERE state IN ('done', 'failed');
CREATE INDEX export_of_cohort ON export_job (client, cohort, transaction_at)
  WHERE finished_at IS NOT NULL AND is_partial = 0 AND cohort IS NOT NULL;
CREATE TRIGGER export_asks_once
  BEFORE UPDATE OF id, client, caller, level, cohort, request, asked, is_partial, created_at, transaction_at, seq, since_at,
                   since_seq, until_at, until_seq ON export_job
BEGIN SELECT RAISE(ABORT, 'what an export asks for never changes'); END;
CREATE TRIGGER export_is_over BEFORE UPDATE OF state ON export_job
  WHEN OLD.state = 'gone' OR (OLD.state IN ('done', 'failed') AND NEW.state <> 'gone')
BEGIN SELECT RAISE(ABORT, 'the export is over'); END;

-- What was written and is on disk: `bytes` of a file that is not whole yet may be followed by bytes that nobody knows of.
CREATE TABLE export_file (
  job    BLOB    NOT NULL REFERENCES export_job (id),
  name   TEXT    NOT NULL CHECK (name <> ''),
  kind   TEXT    NOT NULL CHECK (kind IN ('output', 'deleted', 'error')),
  type   TEXT    NOT NULL CHECK (type <> ''),
  lines  INTEGER NOT NULL CHECK (lines >= 0),
  bytes  INTEGER NOT NULL CHECK (bytes >= 0),
  sha256 TEXT    CHECK (length(sha256) = 64),
  PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER export_file_is_whole BEFORE UPDATE ON export_file WHEN OLD.sha256 IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a file that is whole never changes'); END;
CREATE TRIGGER export_file_grows BEFORE UPDATE OF lines, bytes ON export_file WHEN NEW.lines < OLD.lines OR NEW.bytes < OLD.bytes
BEGIN SELECT RAISE(ABORT, 'a file only grows'); END;

-- The patients an export is about, where not all are: members of a group, those that came to it since, those that left it.
CREATE TABLE export_patient (
  job     BLOB NOT NULL REFERENCES export_job (id),
  patient TEXT NOT NULL CHECK (patient <> ''),
  state   TEXT NOT NULL CHECK (state IN ('member', 'new', 'left')),
  PRIMARY KEY (job, patient)
) STRICT, WITHOUT ROWID;
