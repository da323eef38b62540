-- Every move of a Task: where to, who moved it, and which version of the document it was about. A row never changes, and goes
-- with its exchange only. `actor` is the unit or partner that told it, `by` the HSA-id of the person, where it said so.
CREATE TABLE move (
  id              INTEGER PRIMARY KEY,
  exchange        BLOB    NOT NULL REFERENCES exchange (id),
  task            TEXT    NOT NULL CHECK (task <> ''),
  at              INTEGER NOT NULL,
  actor           TEXT    NOT NULL CHECK (actor <> ''),
  by              TEXT    CHECK (by <> ''),
  version         INTEGER NOT NULL CHECK (version >= 0),
  status          TEXT    NOT NULL CHECK (status IN ('requested', 'received', 'on-hold', 'accepted', 'in-progress', 'completed',
                                                     'rejected', 'failed', 'cancelled', 'entered-in-error')),
  business_status TEXT    CHECK (business_status <> '')
) STRICT;
CREATE INDEX move_of_exchange ON move (exchange, id);
CREATE TRIGGER move_stays BEFORE UPDATE ON move BEGIN SELECT RAISE(ABORT, 'a move never changes'); END;
CREATE TRIGGER move_is_kept BEFORE DELETE ON move WHEN NOT EXISTS (SELECT 1 FROM removing)
BEGIN SELECT RAISE(ABORT, 'a move is never deleted'); END;
