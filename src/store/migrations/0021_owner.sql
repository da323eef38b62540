-- Exports belong to the client that began them; what a patient says of registries stands in the order of commits; registries
-- have no words of anybody.

-- The client of whose token it was. Of exports of before only the name is known that the caller had: a client's own, or that of a
-- unit for which several clients may speak, and then it is nobody's any more.
ALTER TABLE export_job ADD COLUMN client_id TEXT;
DROP TRIGGER export_asks_once;
CREATE TRIGGER export_asks_once
  BEFORE UPDATE OF id, client, client_id, caller, level, cohort, request, asked, is_partial, created_at, transaction_at, seq,
                   since_at, since_seq, until_at, until_seq ON export_job
BEGIN SELECT RAISE(ABORT, 'what an export asks for never changes'); END;

-- When it was said, in the order of commits: a clock may stand still or go back. What was said before stands behind the last mark
-- before it: an export of the same moment may be asked for once more, and none goes out that should not.
DROP TRIGGER opt_out_stays;
ALTER TABLE opt_out ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE opt_out ADD COLUMN lifted_seq INTEGER;
ALTER TABLE information ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
UPDATE opt_out SET
  seq = 1 + coalesce((SELECT m.seq FROM mark m WHERE m.at <= opt_out.registered_at ORDER BY m.at DESC LIMIT 1), 0),
  lifted_seq = iif(lifted_at IS NULL, NULL,
    1 + coalesce((SELECT m.seq FROM mark m WHERE m.at <= opt_out.lifted_at ORDER BY m.at DESC LIMIT 1), 0));
UPDATE information SET
  seq = 1 + coalesce((SELECT m.seq FROM mark m WHERE m.at <= information.recorded_at ORDER BY m.at DESC LIMIT 1), 0);
CREATE TRIGGER opt_out_stays BEFORE UPDATE ON opt_out
  WHEN OLD.lifted_at IS NOT NULL AND NEW.patient IS OLD.patient OR NEW.registry <> OLD.registry OR NEW.system <> OLD.system
    OR NEW.value <> OLD.value OR NEW.unit <> OLD.unit OR NEW.objected_at <> OLD.objected_at OR NEW.registered_at <> OLD.registered_at
    OR NEW.seq <> OLD.seq
BEGIN SELECT RAISE(ABORT, 'an objection is lifted once, and otherwise never changes'); END;
DROP INDEX opt_out_changed;
CREATE INDEX opt_out_changed ON opt_out (seq);
DROP INDEX opt_out_lifted;
CREATE INDEX opt_out_lifted ON opt_out (lifted_seq) WHERE lifted_seq IS NOT NULL;
DROP INDEX information_recorded;
CREATE INDEX information_recorded ON information (seq);

-- What registries have got that was never theirs to have.
INSERT INTO erasure (registry, type, id, patient, key, reason, at)
  SELECT d.registry, r.type, r.id, r.patient, d.key, 'removed', unixepoch('now') * 1000
  FROM disclosure d CROSS JOIN resource r ON r.rid = d.rid
  WHERE r.type IN ('Binary', 'Communication', 'CommunicationRequest', 'Composition', 'Consent', 'DocumentReference')
  ON CONFLICT (registry, type, id) DO NOTHING;
