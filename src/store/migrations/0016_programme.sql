-- Programmes: where each stands, and which resources are of it. What a purge takes is found here; what is left of one that was
-- purged says of whom it was no more.
CREATE TABLE programme (
  id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
  revision     INTEGER NOT NULL CHECK (revision > 0),
  definition   TEXT    NOT NULL CHECK (definition <> ''),
  version      TEXT    NOT NULL,
  stage        TEXT    NOT NULL CHECK (stage IN ('started', 'handed-over', 'accepted', 'appointed', 'active', 'evaluated',
                                                 'closed', 'purged')),
  patient      TEXT,
  unit         TEXT    NOT NULL CHECK (unit = upper(unit) AND unit <> ''),
  team         TEXT    CHECK (team = upper(team) AND team <> ''),
  started_at   INTEGER NOT NULL,
  -- The earliest start of a moment: two years after it nothing of it may be left.
  moment_at    INTEGER NOT NULL CHECK (moment_at <= started_at),
  active_at    INTEGER,
  treatment_at INTEGER,
  closed_at    INTEGER,
  purged_at    INTEGER,
  -- Everything that was due until then has been made.
  swept_at     INTEGER NOT NULL,
  -- By then it is purged, whoever has forgotten to close it.
  purge_at     INTEGER NOT NULL,
  next_at      INTEGER,
  -- Modules, the team, the open check-in: no word of a patient's.
  state        TEXT    NOT NULL,
  CONSTRAINT purged_knows_nobody CHECK ((stage = 'purged') = (patient IS NULL) AND (stage = 'purged') = (purged_at IS NOT NULL)
                                        AND (stage <> 'purged' OR next_at IS NULL)),
  CONSTRAINT closed_when_closed  CHECK ((stage IN ('closed', 'purged')) = (closed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX programme_next ON programme (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX programme_of_patient ON programme (patient, started_at) WHERE patient IS NOT NULL;
CREATE INDEX programme_of_unit ON programme (unit, started_at);
CREATE INDEX programme_of_team ON programme (team, started_at) WHERE team IS NOT NULL;
CREATE INDEX programme_recent ON programme (started_at);
CREATE UNIQUE INDEX programme_once ON programme (patient, definition, unit) WHERE closed_at IS NULL;
CREATE TRIGGER programme_is_over BEFORE UPDATE ON programme WHEN OLD.stage = 'purged'
BEGIN SELECT RAISE(ABORT, 'what was purged never changes'); END;
CREATE TRIGGER programme_is_kept BEFORE DELETE ON programme BEGIN SELECT RAISE(ABORT, 'a programme is purged, not deleted'); END;

-- `kept` is the journal's business and outlives the purge: that something has to be documented.
CREATE TABLE programme_resource (
  programme BLOB    NOT NULL REFERENCES programme (id),
  rid       INTEGER NOT NULL REFERENCES resource (rid),
  kept      INTEGER NOT NULL CHECK (kept IN (0, 1)),
  PRIMARY KEY (programme, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX programme_of_resource ON programme_resource (rid);

-- A purge leaves a stub as every removal does.
CREATE TABLE removal_new (
  id           BLOB    PRIMARY KEY CHECK (length(id) = 16),
  what         TEXT    NOT NULL CHECK (what IN ('exchange', 'delivery-body', 'inbound', 'answer', 'audit-payload', 'programme')),
  kind         TEXT,
  salt         BLOB    NOT NULL CHECK (length(salt) = 16),
  object       BLOB    CHECK (length(object) = 32),
  rule         TEXT    NOT NULL CHECK (rule <> ''),
  rule_version TEXT    NOT NULL CHECK (rule_version <> ''),
  at           INTEGER NOT NULL,
  by           TEXT    NOT NULL CHECK (by <> ''),
  counts       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO removal_new SELECT * FROM removal;
DROP TABLE removal;
ALTER TABLE removal_new RENAME TO removal;
CREATE INDEX removal_at ON removal (at);
CREATE TRIGGER removal_stays BEFORE UPDATE ON removal BEGIN SELECT RAISE(ABORT, 'a stub never changes'); END;
CREATE TRIGGER removal_is_kept BEFORE DELETE ON removal BEGIN SELECT RAISE(ABORT, 'a stub is never deleted'); END;
