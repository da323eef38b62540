-- Clocks of areas: a request that is answered area by area is waited for area by area, and a referral that waits for samråd is a
-- step of its own. And whose responsibility is still to be derived from what was answered before it was kept.

-- As before, with two steps more; `subject` is the area where one is waited for by itself.
CREATE TABLE wait_anew (
  exchange    BLOB    NOT NULL REFERENCES exchange (id),
  unit        TEXT    NOT NULL COLLATE NOCASE CHECK (unit <> ''),
  step        TEXT    NOT NULL CHECK (step IN ('not-delivered', 'parked', 'no-consultation', 'no-receipt', 'no-decision', 'no-completion',
                                               'no-contact', 'no-outcome', 'no-taker', 'sip-not-called', 'no-abort-answer')),
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
  CONSTRAINT subject_of_abort  CHECK (step <> 'no-abort-answer' OR subject <> ''),
  CONSTRAINT subject_of_area   CHECK (step <> 'no-taker' OR subject <> ''),
  CONSTRAINT has_no_subject    CHECK (subject = '' OR step IN ('no-decision', 'no-outcome', 'no-taker', 'no-abort-answer'))
) STRICT, WITHOUT ROWID;
INSERT INTO wait_anew SELECT * FROM wait;
DROP TABLE wait;
ALTER TABLE wait_anew RENAME TO wait;
CREATE INDEX wait_next ON wait (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX wait_due ON wait (due_at, exchange, unit, step, subject);
CREATE INDEX wait_of_unit ON wait (unit, due_at);
CREATE INDEX wait_of_sender ON wait (sender, due_at);
CREATE INDEX wait_step ON wait (step, level, since);

-- What waits for samråd was 'parked' until now, and waits since then; what was told of it has that name too.
UPDATE wait SET step = 'no-consultation' WHERE step = 'parked' AND sort = 'referral'
  AND NOT EXISTS (SELECT 1 FROM party p WHERE p.exchange = wait.exchange AND p.role <> 'sender');
UPDATE escalation SET step = 'no-consultation' WHERE step = 'parked'
  AND EXISTS (SELECT 1 FROM wait w WHERE w.exchange = escalation.exchange AND w.step = 'no-consultation');
UPDATE escalation_task SET step = 'no-consultation' WHERE step = 'parked'
  AND EXISTS (SELECT 1 FROM wait w WHERE w.exchange = escalation_task.exchange AND w.step = 'no-consultation');
-- All are reckoned anew at the start.
UPDATE clock_rules SET mark = '';

-- Patients whose documents were answered before responsibility was kept: it is derived of each once, from the versions there are.
CREATE TABLE charge_underived (
  patient TEXT NOT NULL PRIMARY KEY CHECK (patient <> '')
) STRICT, WITHOUT ROWID;
INSERT INTO charge_underived
  SELECT DISTINCT e.patient FROM exchange e WHERE e.patient IS NOT NULL AND e.kind <> 'activity'
    AND NOT EXISTS (SELECT 1 FROM charge_move m WHERE m.patient = e.patient);
