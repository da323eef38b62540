-- Spärr: what a patient has closed, and what follows from it. The rule is the program's (`domain/block`); the writer applies it
-- to everything of the patient's in the commit that changes any of it, so that a read asks no more than it did before.

-- `unit` makes it an inner block. `from_at` and `to_at` bound when what is closed was documented, both ends included.
-- `registered_by` and `lifted_by` are HSA-ids of persons.
CREATE TABLE block (
  id            BLOB    PRIMARY KEY CHECK (length(id) = 16),
  patient       TEXT    NOT NULL CHECK (patient <> ''),
  provider      TEXT    NOT NULL CHECK (provider <> '' AND provider = upper(provider)),
  unit          TEXT    CHECK (unit <> '' AND unit = upper(unit)),
  from_at       INTEGER,
  to_at         INTEGER,
  registered_at INTEGER NOT NULL,
  registered_by TEXT    NOT NULL CHECK (registered_by <> ''),
  lifted_at     INTEGER,
  lifted_by     TEXT    CHECK (lifted_by <> ''),
  CONSTRAINT period_runs_forward CHECK (from_at IS NULL OR to_at IS NULL OR from_at <= to_at),
  CONSTRAINT lifted_by_somebody  CHECK ((lifted_at IS NULL) = (lifted_by IS NULL)),
  CONSTRAINT lifted_after        CHECK (lifted_at IS NULL OR lifted_at >= registered_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_of_patient ON block (patient, registered_at, id);
CREATE INDEX block_standing ON block (patient) WHERE lifted_at IS NULL;
CREATE TRIGGER block_stays BEFORE UPDATE OF id, patient, provider, unit, from_at, to_at, registered_at, registered_by ON block
BEGIN SELECT RAISE(ABORT, 'a block never changes: it is lifted, and another registered'); END;
CREATE TRIGGER block_is_lifted_once BEFORE UPDATE OF lifted_at, lifted_by ON block WHEN OLD.lifted_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the block is lifted already'); END;
CREATE TRIGGER block_stands_until_lifted BEFORE DELETE ON block WHEN OLD.lifted_at IS NULL
BEGIN SELECT RAISE(ABORT, 'a block that stands is never deleted'); END;

-- Which care provider each unit belongs to, as the directory says: an outer block is decided by it.
CREATE TABLE affiliation (
  unit     TEXT PRIMARY KEY CHECK (unit <> '' AND unit = upper(unit)),
  provider TEXT NOT NULL CHECK (provider <> '' AND provider = upper(provider))
) STRICT, WITHOUT ROWID;

-- What is kept from whom: such rows of `concern` stand here for as long. The unit '' is whoever has none, as a registry.
CREATE TABLE withheld (
  rid  INTEGER NOT NULL REFERENCES resource (rid),
  unit TEXT    NOT NULL CHECK (unit = upper(unit)),
  PRIMARY KEY (rid, unit)
) STRICT, WITHOUT ROWID;
CREATE INDEX withheld_from_unit ON withheld (unit, rid);
-- What is shared again while a block keeps it from the unit stays kept; actors and places are many patients'.
CREATE TRIGGER concern_is_withheld BEFORE INSERT ON concern
  WHEN EXISTS (SELECT 1 FROM withheld w WHERE w.rid = NEW.rid AND w.unit = NEW.unit)
    AND (SELECT type FROM resource WHERE rid = NEW.rid) NOT IN ('Organization', 'Practitioner', 'PractitionerRole', 'Location')
BEGIN SELECT RAISE(IGNORE); END;

CREATE TABLE withheld_exchange (
  exchange BLOB NOT NULL REFERENCES exchange (id),
  unit     TEXT NOT NULL COLLATE NOCASE,
  PRIMARY KEY (exchange, unit)
) STRICT, WITHOUT ROWID;

-- A delivery that a block holds is parked, and in nobody's way: it is no head, and its lane goes on without it. `listed` says
-- that the worklist has heard of it; where the two differ, the worklist is behind.
ALTER TABLE delivery ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1) AND (held = 0 OR (state = 'parked' AND head = 0)));
ALTER TABLE delivery ADD COLUMN listed INTEGER NOT NULL DEFAULT 0 CHECK (listed IN (0, 1));
CREATE INDEX delivery_unlisted ON delivery (seq) WHERE held <> listed;
-- Counted without what blocks hold.
DROP INDEX delivery_parked;
CREATE INDEX delivery_parked ON delivery (partner, seq, held) WHERE state = 'parked';
