-- More search parameters at less cost for the writer. What a resource is found by is made anew from its current version: `reindex`
-- says how far that has come, `param.ready` whether a parameter can be asked.

-- `definition` is what the values were made by; `coded` says that they are in `facet_token` and not in `token`.
ALTER TABLE param ADD COLUMN definition TEXT NOT NULL DEFAULT '';
ALTER TABLE param ADD COLUMN coded INTEGER NOT NULL DEFAULT 0 CHECK (coded IN (0, 1));
ALTER TABLE param ADD COLUMN ready INTEGER NOT NULL DEFAULT 1 CHECK (ready IN (0, 1));

-- Types whose resources are being indexed anew: those up to `done` are.
CREATE TABLE reindex (
  type TEXT    NOT NULL PRIMARY KEY,
  done INTEGER NOT NULL CHECK (done >= 0)
) STRICT, WITHOUT ROWID;

-- The coded values of a resource together: status, intent, priority, code, profile and their like. There are few such
-- combinations, so a resource names one instead of having a row for each value.
CREATE TABLE facet (
  id   INTEGER PRIMARY KEY,
  hash BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32)
) STRICT;
CREATE TABLE facet_token (
  param     INTEGER NOT NULL REFERENCES param (id),
  code      TEXT    NOT NULL,
  system_id INTEGER NOT NULL REFERENCES system (id),
  facet     INTEGER NOT NULL REFERENCES facet (id),
  PRIMARY KEY (param, code, system_id, facet)
) STRICT, WITHOUT ROWID;
CREATE INDEX facet_token_of ON facet_token (facet, param);
ALTER TABLE resource ADD COLUMN facet INTEGER REFERENCES facet (id);
CREATE INDEX resource_facet ON resource (facet);

-- Words: `folded` is how they are compared.
CREATE TABLE text (
  param  INTEGER NOT NULL REFERENCES param (id),
  folded TEXT    NOT NULL,
  exact  TEXT    NOT NULL,
  rid    INTEGER NOT NULL REFERENCES resource (rid),
  PRIMARY KEY (param, folded, exact, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX text_of ON text (rid, param);

-- A type is walked in the order its resources were made: that never changes, so pages neither skip nor repeat what does.
DROP INDEX resource_walk;
CREATE INDEX resource_of_type ON resource (type, rid);
