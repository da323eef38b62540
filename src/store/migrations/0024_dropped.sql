-- Files that partners put into folders: which exchanges came by which drop, and up to which revision they were written back there.
CREATE TABLE dropped (
  name     TEXT    NOT NULL CHECK (name <> ''),
  exchange BLOB    NOT NULL REFERENCES exchange (id),
  told     INTEGER NOT NULL CHECK (told >= 0),
  PRIMARY KEY (name, exchange)
) STRICT, WITHOUT ROWID;
CREATE INDEX dropped_of_exchange ON dropped (exchange);
