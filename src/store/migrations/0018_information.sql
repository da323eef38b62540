-- Who was informed since a moment: a registry that gets only the informed gets all of these, however old it is.
CREATE INDEX information_recorded ON information (recorded_at);
