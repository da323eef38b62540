-- One person, several numbers: which Patient replaces which. Every document stays under the number that it was sent with; what
-- belongs to a person asks `kin`, which follows from the links that stand, so that undoing one gives both back exactly.

-- `made_by` and `undone_by` are HSA-ids of persons, `unit` the unit they work for.
CREATE TABLE patient_link (
  id            BLOB    PRIMARY KEY CHECK (length(id) = 16),
  old           TEXT    NOT NULL CHECK (old <> ''),
  new           TEXT    NOT NULL CHECK (new <> ''),
  unit          TEXT    NOT NULL CHECK (unit <> ''),
  made_at       INTEGER NOT NULL,
  made_by       TEXT    NOT NULL CHECK (made_by <> ''),
  reason        TEXT    NOT NULL CHECK (reason <> ''),
  -- In the order of commits: exports ask what was said since.
  made_seq      INTEGER NOT NULL,
  undone_seq    INTEGER,
  undone_at     INTEGER,
  undone_by     TEXT    CHECK (undone_by <> ''),
  undone_reason TEXT    CHECK (undone_reason <> ''),
  CONSTRAINT two_numbers        CHECK (old <> new),
  CONSTRAINT undone_by_somebody CHECK ((undone_at IS NULL) = (undone_by IS NULL) AND (undone_at IS NULL) = (undone_reason IS NULL)),
  CONSTRAINT undone_after       CHECK (undone_at IS NULL OR undone_at >= made_at)
) STRICT, WITHOUT ROWID;
-- A number is replaced by one other.
CREATE UNIQUE INDEX patient_link_of_old ON patient_link (old) WHERE undone_at IS NULL;
CREATE INDEX patient_link_of_new ON patient_link (new) WHERE undone_at IS NULL;
CREATE INDEX patient_link_old ON patient_link (old);
CREATE INDEX patient_link_new ON patient_link (new);
CREATE INDEX patient_link_made ON patient_link (made_seq);
CREATE INDEX patient_link_undone ON patient_link (undone_seq) WHERE undone_seq IS NOT NULL;
CREATE TRIGGER patient_link_stays BEFORE UPDATE OF id, old, new, unit, made_at, made_by, reason, made_seq ON patient_link
BEGIN SELECT RAISE(ABORT, 'a link never changes: it is undone, and another made'); END;
CREATE TRIGGER patient_link_is_undone_once BEFORE UPDATE OF undone_at, undone_by, undone_reason, undone_seq ON patient_link
  WHEN OLD.undone_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the link is undone already'); END;

-- Each Patient with each other Patient of the same person: both ways, and nothing of a person with one number.
CREATE TABLE kin (
  patient TEXT NOT NULL CHECK (patient <> ''),
  other   TEXT NOT NULL CHECK (other <> ''),
  PRIMARY KEY (patient, other),
  CONSTRAINT of_another CHECK (patient <> other)
) STRICT, WITHOUT ROWID;

-- For what is counted: the Patient that stands for a replaced one.
CREATE TABLE merged (
  rid  INTEGER PRIMARY KEY,
  into_rid INTEGER NOT NULL
) STRICT;

-- Units that see a Patient only because a link told them of it: with the link that ends.
CREATE TABLE link_sight (
  link BLOB    NOT NULL REFERENCES patient_link (id),
  rid  INTEGER NOT NULL,
  unit TEXT    NOT NULL,
  PRIMARY KEY (link, rid, unit)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_sight_of ON link_sight (rid, unit);

-- What a named person has said of a patient beside any document: that the patient died, that this was wrong, or that the unit's
-- word about a protected identity holds no more.
CREATE TABLE patient_word (
  id      BLOB    PRIMARY KEY CHECK (length(id) = 16),
  patient TEXT    NOT NULL CHECK (patient <> ''),
  what    TEXT    NOT NULL CHECK (what IN ('deceased', 'alive', 'unprotected')),
  unit    TEXT    NOT NULL CHECK (unit <> ''),
  by      TEXT    NOT NULL CHECK (by <> ''),
  reason  TEXT,
  at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX patient_word_of ON patient_word (patient, what, at);
CREATE TRIGGER patient_word_stays BEFORE UPDATE ON patient_word
BEGIN SELECT RAISE(ABORT, 'what somebody has said never changes'); END;
