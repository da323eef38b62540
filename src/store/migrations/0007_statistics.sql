-- What statistics are counted from. A fact is one small row for what a resource's version in force says; the writer makes it in
-- the commit of that version, and takes the old one away. How the facts were made is `fact_edition`; where that is not the
-- program's, they are made anew, and `fact_fill` says how far that has come.

CREATE TABLE fact_edition (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  edition INTEGER NOT NULL CHECK (edition >= 0)
) STRICT;
INSERT INTO fact_edition VALUES (1, 0);

CREATE TABLE fact_fill (
  type TEXT    NOT NULL PRIMARY KEY,
  done INTEGER NOT NULL CHECK (done >= 0)
) STRICT, WITHOUT ROWID;

-- Units that facts name, HSA-ids in upper case; '' is that nobody knows.
CREATE TABLE fact_unit (
  id     INTEGER PRIMARY KEY,
  hsa_id TEXT    NOT NULL UNIQUE CHECK (hsa_id = upper(hsa_id))
) STRICT;

-- A main act that was done. `day` counts from 1970-01-01, `month` twelve a year from year 0; `patient` and `contact` are the `rid`
-- of the Patient and the Encounter; `distance` says that an add-on code (ZV051) of the act or its contact does.
CREATE TABLE act (
  rid      INTEGER PRIMARY KEY REFERENCES resource (rid) ON DELETE CASCADE,
  code     TEXT    NOT NULL CHECK (length(code) = 5),
  day      INTEGER NOT NULL,
  unit     INTEGER NOT NULL REFERENCES fact_unit (id),
  patient  INTEGER,
  contact  INTEGER,
  distance INTEGER NOT NULL CHECK (distance IN (0, 1)),
  month    INTEGER GENERATED ALWAYS AS
             (strftime('%Y', day * 86400, 'unixepoch') * 12 + strftime('%m', day * 86400, 'unixepoch') - 1) VIRTUAL
) STRICT;
CREATE INDEX act_counted ON act (code, day, unit, distance, patient);
CREATE INDEX act_of_contact ON act (contact) WHERE contact IS NOT NULL;
CREATE TRIGGER act_stays BEFORE UPDATE OF rid, code, day, unit, patient, contact ON act
BEGIN SELECT RAISE(ABORT, 'an act is made anew, not changed'); END;

-- How many acts there are of each kind in a month and in a year, kept by the database itself.
CREATE TABLE act_month (
  code     TEXT    NOT NULL,
  month    INTEGER NOT NULL,
  unit     INTEGER NOT NULL REFERENCES fact_unit (id),
  distance INTEGER NOT NULL CHECK (distance IN (0, 1)),
  acts     INTEGER NOT NULL CHECK (acts >= 0),
  PRIMARY KEY (code, month, unit, distance)
) STRICT, WITHOUT ROWID;
CREATE TABLE act_year (
  code     TEXT    NOT NULL,
  year     INTEGER NOT NULL,
  unit     INTEGER NOT NULL REFERENCES fact_unit (id),
  distance INTEGER NOT NULL CHECK (distance IN (0, 1)),
  acts     INTEGER NOT NULL CHECK (acts >= 0),
  PRIMARY KEY (code, year, unit, distance)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER act_is_counted AFTER INSERT ON act BEGIN
  INSERT INTO act_month VALUES (NEW.code, NEW.month, NEW.unit, NEW.distance, 1)
    ON CONFLICT (code, month, unit, distance) DO UPDATE SET acts = acts + 1;
  INSERT INTO act_year VALUES (NEW.code, NEW.month / 12, NEW.unit, NEW.distance, 1)
    ON CONFLICT (code, year, unit, distance) DO UPDATE SET acts = acts + 1;
END;
CREATE TRIGGER act_counts_no_more AFTER DELETE ON act BEGIN
  UPDATE act_month SET acts = acts - 1 WHERE code = OLD.code AND month = OLD.month AND unit = OLD.unit AND distance = OLD.distance;
  DELETE FROM act_month WHERE code = OLD.code AND month = OLD.month AND unit = OLD.unit AND distance = OLD.distance AND acts = 0;
  UPDATE act_year SET acts = acts - 1 WHERE code = OLD.code AND year = OLD.month / 12 AND unit = OLD.unit AND distance = OLD.distance;
  DELETE FROM act_year WHERE code = OLD.code AND year = OLD.month / 12 AND unit = OLD.unit AND distance = OLD.distance AND acts = 0;
END;
CREATE TRIGGER act_counts_otherwise AFTER UPDATE OF distance ON act WHEN NEW.distance <> OLD.distance BEGIN
  UPDATE act_month SET acts = acts - 1 WHERE code = OLD.code AND month = OLD.month AND unit = OLD.unit AND distance = OLD.distance;
  DELETE FROM act_month WHERE code = OLD.code AND month = OLD.month AND unit = OLD.unit AND distance = OLD.distance AND acts = 0;
  UPDATE act_year SET acts = acts - 1 WHERE code = OLD.code AND year = OLD.month / 12 AND unit = OLD.unit AND distance = OLD.distance;
  DELETE FROM act_year WHERE code = OLD.code AND year = OLD.month / 12 AND unit = OLD.unit AND distance = OLD.distance AND acts = 0;
  INSERT INTO act_month VALUES (NEW.code, NEW.month, NEW.unit, NEW.distance, 1)
    ON CONFLICT (code, month, unit, distance) DO UPDATE SET acts = acts + 1;
  INSERT INTO act_year VALUES (NEW.code, NEW.month / 12, NEW.unit, NEW.distance, 1)
    ON CONFLICT (code, year, unit, distance) DO UPDATE SET acts = acts + 1;
END;

-- Add-on codes for care at a distance, by the act or contact that they are an add-on to (`Type/id`, which may come later).
CREATE TABLE act_add_on (
  target TEXT    NOT NULL,
  rid    INTEGER NOT NULL REFERENCES resource (rid) ON DELETE CASCADE,
  PRIMARY KEY (target, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX act_add_on_of ON act_add_on (rid);

-- What happened in a person's rehabilitation, or stands without a day.
CREATE TABLE milestone (
  rid     INTEGER NOT NULL REFERENCES resource (rid) ON DELETE CASCADE,
  kind    TEXT    NOT NULL CHECK (kind IN ('plan', 'min-vardplan', 'halsoskattning', 'contact-nurse')),
  patient INTEGER NOT NULL,
  day     INTEGER CHECK (day IS NOT NULL OR kind = 'contact-nurse'),
  unit    INTEGER NOT NULL REFERENCES fact_unit (id),
  PRIMARY KEY (rid, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX milestone_of_kind ON milestone (kind, day, patient, unit);
