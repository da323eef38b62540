-- Re-assessments: what a plan's ended interventions ask for.

-- When a plan has to be looked at again, because an intervention of it ends by the calendar. Plans of before are looked at once.
CREATE TABLE plan_look (
  exchange BLOB    PRIMARY KEY REFERENCES exchange (id),
  at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX plan_look_at ON plan_look (at);
INSERT INTO plan_look (exchange, at)
  SELECT id, 0 FROM exchange WHERE kind IN ('rehab-plan', 'handover') AND entered_in_error = 0 AND patient IS NOT NULL;

-- The Tasks that ask for a new assessment, each of one intervention of a plan. They are of no exchange: reading one is not reading
-- the plan. Blocks and removal find them here.
CREATE TABLE reassessment (
  rid      INTEGER PRIMARY KEY REFERENCES resource (rid),
  exchange BLOB    NOT NULL REFERENCES exchange (id)
) STRICT;
CREATE INDEX reassessment_of_exchange ON reassessment (exchange);
