-- Two systems, one resource: what a partner has of a resource of ours, as far as it is known, and what was said of an element by
-- the one whose word it is. Both hold what the resource holds, and go when it goes.

-- `theirs` is the partner's id. `version` is what stands there (`meta.versionId`, an ETag), empty where its server does not tell;
-- `changed` is when it was changed by the partner's own clock. `body` is what both sides know: what comes in is compared with it.
-- `settled` says that nothing stands there that was not read here. `mark` grows with every change of the row.
CREATE TABLE counterpart (
  partner  TEXT    NOT NULL CHECK (partner <> ''),
  type     TEXT    NOT NULL CHECK (type <> ''),
  id       TEXT    NOT NULL CHECK (id <> ''),
  theirs   TEXT    NOT NULL CHECK (theirs <> ''),
  version  TEXT    CHECK (version <> ''),
  changed  TEXT    CHECK (changed <> ''),
  patient  TEXT    NOT NULL,
  exchange BLOB    NOT NULL REFERENCES exchange (id),
  mark     INTEGER NOT NULL,
  settled  INTEGER NOT NULL CHECK (settled IN (0, 1)),
  body     BLOB    NOT NULL,
  UNIQUE (partner, type, id)
) STRICT;
CREATE INDEX counterpart_of_patient ON counterpart (patient, partner);
CREATE INDEX counterpart_of_resource ON counterpart (type, id);
CREATE INDEX counterpart_of_exchange ON counterpart (exchange);

-- An element that its owner has written at its own system: what stood here before, and what it says. Values as JSON, empty where the
-- element is not there.
CREATE TABLE owned (
  type    TEXT NOT NULL CHECK (type <> ''),
  id      TEXT NOT NULL CHECK (id <> ''),
  path    TEXT NOT NULL CHECK (path <> ''),
  partner TEXT NOT NULL CHECK (partner <> ''),
  was     TEXT,
  said    TEXT,
  PRIMARY KEY (type, id, path)
) STRICT, WITHOUT ROWID;
