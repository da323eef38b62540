-- What a block closes is told to whoever had it, and what it opens again comes to them anew.

-- When it was closed, in the order of commits; 0 where the one it is kept from never had it.
ALTER TABLE withheld ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
-- The unit is to see it no more when the block is lifted either. The row stays for as long as the block, because of what was
-- made ready for the unit before.
ALTER TABLE withheld ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1));
DROP TRIGGER concern_is_withheld;
CREATE TRIGGER concern_is_withheld BEFORE INSERT ON concern
  WHEN EXISTS (SELECT 1 FROM withheld w WHERE w.rid = NEW.rid AND w.unit = NEW.unit)
    AND (SELECT type FROM resource WHERE rid = NEW.rid) NOT IN ('Organization', 'Practitioner', 'PractitionerRole', 'Location')
BEGIN
  UPDATE withheld SET hidden = 0 WHERE rid = NEW.rid AND unit = NEW.unit AND hidden = 1;
  SELECT RAISE(IGNORE);
END;
DROP INDEX withheld_from_unit;
CREATE INDEX withheld_from_unit ON withheld (unit, seq, rid);

-- What a registry must erase because a block closed it: told as removed, since of a block nothing is told.
ALTER TABLE erasure ADD COLUMN withheld INTEGER NOT NULL DEFAULT 0 CHECK (withheld IN (0, 1));
CREATE INDEX erasure_of_resource ON erasure (type, id);

-- Blocks that stand already: what was there before they were registered has been closed by them.
UPDATE withheld SET seq = coalesce((
  SELECT max(v.seq) FROM resource r
    CROSS JOIN block b ON b.patient = iif(r.type = 'Patient', r.id, r.patient) AND b.lifted_at IS NULL
    CROSS JOIN resource c ON c.type = 'Consent' AND c.id = lower(substr(hex(b.id), 1, 8) || '-' || substr(hex(b.id), 9, 4) || '-' ||
                             substr(hex(b.id), 13, 4) || '-' || substr(hex(b.id), 17, 4) || '-' || substr(hex(b.id), 21))
    CROSS JOIN version v ON v.rid = c.rid AND v.version = 1
  WHERE r.rid = withheld.rid AND EXISTS (SELECT 1 FROM version o WHERE o.rid = r.rid AND o.seq < v.seq)), 0);
INSERT OR IGNORE INTO sight (rid, unit, seq, gained) SELECT rid, unit, seq, 0 FROM withheld WHERE seq > 0;
INSERT INTO erasure (registry, type, id, patient, key, reason, at, withheld)
  SELECT d.registry, r.type, r.id, iif(r.type = 'Patient', r.id, r.patient), d.key, 'removed', unixepoch('now') * 1000, 1
  FROM withheld w CROSS JOIN disclosure d ON d.rid = w.rid CROSS JOIN resource r ON r.rid = w.rid WHERE w.unit = ''
  ON CONFLICT (registry, type, id) DO UPDATE SET withheld = 1;
UPDATE erasure SET withheld = 1 WHERE EXISTS (
  SELECT 1 FROM resource r CROSS JOIN withheld w ON w.rid = r.rid AND w.unit = ''
  WHERE r.type = erasure.type AND r.id = erasure.id);
