-- The open loop: what is waited for in every exchange, since when, and when it is overdue. Which waits there are is the program's
-- (`domain/clock`); the writer derives them from the parties in the commit that changes these, so that no path can forget one.

-- `unit` is the one that is asked, or the sender for what only the sender can do. `dues` is when each level is reached by the wait's
-- own clock, which does not count pauses; `held_until` ends the pause that it is in (9223372036854775807: nobody has said when).
-- `due_at` is when the first level is reached and nothing is paused (the same number: never), `next_at` when something is to be
-- told next. `level` has been told; `item` says that
-- there is an open Task about it.
CREATE TABLE wait (
  exchange    BLOB    NOT NULL REFERENCES exchange (id),
  unit        TEXT    NOT NULL COLLATE NOCASE CHECK (unit <> ''),
  step        TEXT    NOT NULL CHECK (step IN ('not-delivered', 'parked', 'no-receipt', 'no-decision', 'no-completion', 'no-contact',
                                               'no-outcome', 'sip-not-called', 'no-abort-answer')),
  subject     TEXT    NOT NULL,
  task        TEXT    CHECK (task <> ''),
  sender      TEXT    NOT NULL COLLATE NOCASE,
  sort        TEXT    NOT NULL CHECK (sort IN ('rehab-plan', 'referral', 'sip', 'active', 'activity')),
  priority    TEXT    NOT NULL CHECK (priority IN ('routine', 'urgent', 'asap', 'stat')),
  since       INTEGER NOT NULL,
  dues        TEXT    NOT NULL CHECK (json_type(dues) = 'array'),
  held_until  INTEGER,
  held_by     TEXT    CHECK (held_by IN ('person', 'on-hold', 'deceased')),
  due_at      INTEGER NOT NULL,
  next_at     INTEGER,
  level       INTEGER NOT NULL CHECK (level BETWEEN 0 AND 4),
  item        INTEGER NOT NULL CHECK (item IN (0, 1)),
  PRIMARY KEY (exchange, unit, step, subject),
  CONSTRAINT held_by_something CHECK ((held_until IS NULL) = (held_by IS NULL)),
  CONSTRAINT subject_of_abort  CHECK ((step = 'no-abort-answer') = (subject <> ''))
) STRICT, WITHOUT ROWID;
CREATE INDEX wait_next ON wait (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX wait_due ON wait (due_at, exchange, unit, step, subject);
CREATE INDEX wait_of_unit ON wait (unit, due_at);
CREATE INDEX wait_of_sender ON wait (sender, due_at);
CREATE INDEX wait_step ON wait (step, level, since);

-- What clocks need to know of an exchange beside its parties, where it is not what most are: routine, and no meeting called.
CREATE TABLE clocked (
  exchange  BLOB    PRIMARY KEY REFERENCES exchange (id),
  priority  TEXT    NOT NULL CHECK (priority IN ('routine', 'urgent', 'asap', 'stat')),
  is_called INTEGER NOT NULL CHECK (is_called IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Time that does not count. A person's pause is of the whole exchange or of one unit; `by` is an HSA-id. While `until_at` is empty
-- nobody has ended it.
CREATE TABLE pause (
  id        BLOB    PRIMARY KEY CHECK (length(id) = 16),
  exchange  BLOB    NOT NULL REFERENCES exchange (id),
  unit      TEXT    COLLATE NOCASE CHECK (unit <> ''),
  why       TEXT    NOT NULL CHECK (why IN ('person', 'on-hold')),
  from_at   INTEGER NOT NULL,
  until_at  INTEGER CHECK (until_at >= from_at),
  by        TEXT    CHECK (by <> ''),
  reason    TEXT    CHECK (reason <> ''),
  ended_by  TEXT    CHECK (ended_by <> ''),
  CONSTRAINT person_says_why CHECK ((why = 'person') = (by IS NOT NULL AND reason IS NOT NULL)),
  CONSTRAINT person_says_until CHECK (why <> 'person' OR until_at IS NOT NULL),
  CONSTRAINT hold_is_of_unit CHECK (why <> 'on-hold' OR unit IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX pause_of_exchange ON pause (exchange, from_at);
CREATE TRIGGER pause_stays BEFORE UPDATE OF id, exchange, unit, why, from_at, by, reason ON pause
BEGIN SELECT RAISE(ABORT, 'a pause only ends'); END;

-- Since when a patient is known to have died, and until when where that was taken back.
CREATE TABLE deceased (
  patient  TEXT    NOT NULL CHECK (patient <> ''),
  from_at  INTEGER NOT NULL,
  until_at INTEGER CHECK (until_at >= from_at),
  PRIMARY KEY (patient, from_at)
) STRICT, WITHOUT ROWID;

-- What was told, level by level; and the Tasks that tell it, each to one unit.
CREATE TABLE escalation (
  exchange BLOB    NOT NULL REFERENCES exchange (id),
  unit     TEXT    NOT NULL COLLATE NOCASE CHECK (unit <> ''),
  step     TEXT    NOT NULL CHECK (step <> ''),
  subject  TEXT    NOT NULL,
  since    INTEGER NOT NULL,
  level    INTEGER NOT NULL CHECK (level BETWEEN 0 AND 4),
  at       INTEGER NOT NULL,
  ended_at INTEGER,
  PRIMARY KEY (exchange, unit, step, subject, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE escalation_task (
  exchange BLOB    NOT NULL REFERENCES exchange (id),
  rid      INTEGER NOT NULL REFERENCES resource (rid),
  unit     TEXT    NOT NULL COLLATE NOCASE CHECK (unit <> ''),
  step     TEXT    NOT NULL CHECK (step <> ''),
  subject  TEXT    NOT NULL,
  PRIMARY KEY (exchange, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX escalation_task_rid ON escalation_task (rid);

-- By which rules the waits were reckoned; where others are in force at the start, all are reckoned anew.
CREATE TABLE clock_rules (
  id   INTEGER PRIMARY KEY CHECK (id = 1),
  mark TEXT    NOT NULL
) STRICT;
