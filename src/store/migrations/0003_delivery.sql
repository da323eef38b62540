-- Deliveries grown up: some overtake, some are sent again, some are notices. SQLite cannot change a CHECK, so the two
-- tables are made anew; attempts are set aside first, because they refer to deliveries.

CREATE TABLE attempt_aside AS SELECT * FROM attempt;
DROP TABLE attempt;

-- A lane is (partner, patient), its order `seq`, its head the first that is neither delivered nor skipped. `head` is kept by
-- the writer rather than computed, so that finding what is due costs what is found, however much is held up.
-- A notice has a lane of its own: `partner` is the partner's name with `#notices`, `patient` its own id.
-- `urgent` says that the delivery overtakes other lanes: it is urgent, or something behind it in its lane is.
-- `resend_of` names the delivered one whose bytes it repeats.
CREATE TABLE delivery_anew (
  seq              INTEGER PRIMARY KEY,
  id               BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
  exchange         BLOB    NOT NULL REFERENCES exchange (id),
  document_version INTEGER NOT NULL CHECK (document_version >= 0),
  partner          TEXT    NOT NULL CHECK (partner <> ''),
  unit             TEXT    NOT NULL CHECK (unit <> ''),
  patient          TEXT    NOT NULL,
  action           TEXT    NOT NULL CHECK (action IN ('transaction', 'move-task', 'notice')),
  state            TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'parked', 'skipped')),
  head             INTEGER NOT NULL CHECK (head IN (0, 1)),
  attempts         INTEGER NOT NULL CHECK (attempts >= 0),
  created_at       INTEGER NOT NULL,
  first_attempt_at INTEGER,
  due_at           INTEGER NOT NULL,
  urgent           INTEGER NOT NULL CHECK (urgent IN (0, 1)),
  resend_of        BLOB    REFERENCES delivery_anew (id) CHECK (resend_of <> id),
  note             TEXT,
  body             BLOB    NOT NULL,
  CONSTRAINT head_is_open        CHECK (head = 0 OR state IN ('waiting', 'parked')),
  CONSTRAINT delivered_by_trying CHECK (state <> 'delivered' OR attempts > 0),
  CONSTRAINT first_iff_attempts  CHECK ((first_attempt_at IS NULL) = (attempts = 0)),
  CONSTRAINT stopped_for_reason  CHECK (state NOT IN ('parked', 'skipped') OR (note IS NOT NULL AND note <> '')),
  CONSTRAINT notices_apart       CHECK ((action = 'notice') = (partner LIKE '%#notices'))
) STRICT;

INSERT INTO delivery_anew (seq, id, exchange, document_version, partner, unit, patient, action, state, head, attempts,
                           created_at, first_attempt_at, due_at, urgent, resend_of, note, body)
  SELECT seq, id, exchange, document_version, partner, unit, patient, action, state, head, attempts,
         created_at, first_attempt_at, due_at, 0, NULL, note, body
  FROM delivery ORDER BY seq;
DROP TABLE delivery;
ALTER TABLE delivery_anew RENAME TO delivery;

CREATE INDEX delivery_lane ON delivery (partner, patient, seq) WHERE state IN ('waiting', 'parked');
CREATE UNIQUE INDEX delivery_head ON delivery (partner, patient) WHERE head = 1;
CREATE INDEX delivery_due ON delivery (partner, urgent, due_at, seq, patient) WHERE head = 1 AND state = 'waiting';
CREATE INDEX delivery_of_exchange ON delivery (exchange, seq);
CREATE INDEX delivery_of_partner ON delivery (partner, seq);
CREATE INDEX delivery_waiting ON delivery (partner, seq) WHERE state = 'waiting';
CREATE INDEX delivery_parked ON delivery (partner, seq) WHERE state = 'parked';
CREATE INDEX delivery_of_state ON delivery (state, seq);
CREATE INDEX delivery_resent ON delivery (resend_of) WHERE resend_of IS NOT NULL;
CREATE TRIGGER delivery_bytes_stay
  BEFORE UPDATE OF seq, id, exchange, document_version, partner, unit, patient, action, created_at, resend_of, body ON delivery
BEGIN SELECT RAISE(ABORT, 'a delivery''s bytes and lane never change'); END;
CREATE TRIGGER delivery_is_over BEFORE UPDATE OF state ON delivery WHEN OLD.state IN ('delivered', 'skipped') AND NEW.state <> OLD.state
BEGIN SELECT RAISE(ABORT, 'the delivery is over'); END;
CREATE TRIGGER delivery_in_order BEFORE UPDATE OF state ON delivery WHEN NEW.state = 'delivered' AND OLD.head = 0
BEGIN SELECT RAISE(ABORT, 'something in the lane comes before this delivery'); END;
CREATE TRIGGER delivery_again_is_the_same BEFORE INSERT ON delivery WHEN NEW.resend_of IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = NEW.resend_of AND d.state = 'delivered' AND d.body = NEW.body
                  AND d.action = NEW.action AND d.partner = NEW.partner AND d.patient = NEW.patient AND d.exchange = NEW.exchange)
BEGIN SELECT RAISE(ABORT, 'what is sent again is a delivered delivery, byte by byte'); END;

CREATE TABLE attempt (
  delivery    BLOB    NOT NULL REFERENCES delivery (id),
  number      INTEGER NOT NULL CHECK (number > 0),
  at          INTEGER NOT NULL,
  class       TEXT    NOT NULL CHECK (class IN ('delivered', 'transient', 'unauthorized', 'conflict', 'permanent', 'barred')),
  status      INTEGER CHECK (status BETWEEN 100 AND 999),
  reason      TEXT,
  duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
  PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt SELECT * FROM attempt_aside;
DROP TABLE attempt_aside;
CREATE TRIGGER attempt_stays BEFORE UPDATE ON attempt BEGIN SELECT RAISE(ABORT, 'an attempt never changes'); END;
