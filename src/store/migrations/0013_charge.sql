-- Who has charge of an area of a patient's rehabilitation: every step of it, in the order in which they were made. Steps are only
-- added. What they come to is the program's (`domain/charge`), and stands as EpisodeOfCare among the resources.

-- `origin` is the exchange that moved it. When the exchange is removed, `exchange` is null and `origin` a name that nobody knows:
-- what it moved stays moved. With the patient's last exchange its steps go.
CREATE TABLE charge_move (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  id       BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
  patient  TEXT    NOT NULL CHECK (patient <> ''),
  origin   BLOB    NOT NULL CHECK (length(origin) = 16),
  exchange BLOB    REFERENCES exchange (id) CHECK (exchange = origin),
  at       INTEGER NOT NULL,
  step     TEXT    NOT NULL CHECK (step IN ('states', 'lapses', 'takes', 'gives', 'returns', 'regains', 'void')),
  area     TEXT    NOT NULL,
  unit     TEXT    NOT NULL CHECK (unit = upper(unit)),
  CONSTRAINT void_is_of_all CHECK ((step = 'void') = (area = '') AND (step = 'void') = (unit = ''))
) STRICT;
CREATE INDEX charge_of_patient ON charge_move (patient, seq);
CREATE INDEX charge_of_exchange ON charge_move (exchange) WHERE exchange IS NOT NULL;
CREATE TRIGGER charge_stays BEFORE UPDATE ON charge_move
  WHEN NOT EXISTS (SELECT 1 FROM removing)
    OR (new.id, new.patient, new.at, new.step, new.area, new.unit) IS NOT (old.id, old.patient, old.at, old.step, old.area, old.unit)
  BEGIN SELECT RAISE(ABORT, 'a step never changes'); END;
CREATE TRIGGER charge_goes BEFORE DELETE ON charge_move
  WHEN NOT EXISTS (SELECT 1 FROM removing)
  BEGIN SELECT RAISE(ABORT, 'a step stays'); END;
