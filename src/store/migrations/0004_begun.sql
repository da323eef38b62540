-- When an attempt began whose outcome is not on record: it may have arrived, whatever became of us meanwhile. Kept only for
-- what rests on a patient's consent, whose withdrawal is told to everybody who may have got it.
ALTER TABLE delivery ADD COLUMN begun_at INTEGER;
