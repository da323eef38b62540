-- Subscriptions: who wants to be told of what, and how far it has been told. Events follow from the commit log (`version`, `sight`),
-- so that none is lost between a commit and the word of it.

-- `since_seq`: commits after it are events. `numbered`, `offered`, `told`, `dropped` are event numbers: the last given, the last that
-- an attempt may have shown, the last that was taken, the last that is kept no more. `generation` counts what the client changed,
-- `changed` where that stands among all changes. `headers` are secrets, and are never shown.
CREATE TABLE subscription (
  id            BLOB    PRIMARY KEY CHECK (length(id) = 16),
  client        TEXT    NOT NULL CHECK (client <> ''),
  caller        TEXT    NOT NULL,
  topic         TEXT    NOT NULL CHECK (topic <> ''),
  asked         TEXT    NOT NULL,
  endpoint      TEXT    NOT NULL CHECK (endpoint <> ''),
  headers       TEXT    NOT NULL,
  payload       TEXT    NOT NULL CHECK (payload IN ('empty', 'id-only', 'full-resource')),
  heartbeat_s   INTEGER CHECK (heartbeat_s > 0),
  timeout_s     INTEGER NOT NULL CHECK (timeout_s > 0),
  max_count     INTEGER NOT NULL CHECK (max_count > 0),
  end_at        INTEGER,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  version       INTEGER NOT NULL CHECK (version > 0),
  generation    INTEGER NOT NULL CHECK (generation > 0),
  changed       INTEGER NOT NULL,
  status        TEXT    NOT NULL CHECK (status IN ('requested', 'active', 'error', 'off')),
  error         TEXT,
  since_seq     INTEGER NOT NULL CHECK (since_seq >= 0),
  numbered      INTEGER NOT NULL DEFAULT 0 CHECK (numbered >= 0),
  offered       INTEGER NOT NULL DEFAULT 0 CHECK (offered <= numbered),
  told          INTEGER NOT NULL DEFAULT 0 CHECK (told <= numbered),
  dropped       INTEGER NOT NULL DEFAULT 0 CHECK (dropped <= numbered),
  attempts      INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  failing_since INTEGER,
  due_at        INTEGER,
  spoken_at     INTEGER,
  CONSTRAINT error_for_reason CHECK (status <> 'error' OR error IS NOT NULL),
  CONSTRAINT failing_iff_attempts CHECK ((failing_since IS NULL) = (attempts = 0))
) STRICT, WITHOUT ROWID;
CREATE INDEX subscription_of_client ON subscription (client, created_at, id);
CREATE INDEX subscription_changed ON subscription (changed);
CREATE TRIGGER subscription_numbers_grow BEFORE UPDATE OF numbered, told, dropped ON subscription
  WHEN NEW.numbered < OLD.numbered OR NEW.told < OLD.told OR NEW.dropped < OLD.dropped
BEGIN SELECT RAISE(ABORT, 'the numbers of events only grow'); END;
CREATE TRIGGER subscription_is_the_same BEFORE UPDATE OF id, client, topic, asked, created_at ON subscription
BEGIN SELECT RAISE(ABORT, 'what a subscription is about never changes'); END;

-- What happened to whom it was asked for: a change of the resource `rid`, whose version stands at `version` in the log. A number is
-- given when it is first told, and only to what may be seen then.
CREATE TABLE subscription_event (
  subscription BLOB    NOT NULL REFERENCES subscription (id) ON DELETE CASCADE,
  seq          INTEGER NOT NULL,
  number       INTEGER CHECK (number > 0),
  rid          INTEGER NOT NULL,
  version      INTEGER NOT NULL,
  at           INTEGER NOT NULL,
  PRIMARY KEY (subscription, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX subscription_event_number ON subscription_event (subscription, number) WHERE number IS NOT NULL;
CREATE INDEX subscription_event_pending ON subscription_event (subscription, seq) WHERE number IS NULL;
CREATE TRIGGER subscription_event_stays BEFORE UPDATE ON subscription_event
  WHEN OLD.number IS NOT NULL OR NEW.rid <> OLD.rid OR NEW.version <> OLD.version OR NEW.at <> OLD.at
BEGIN SELECT RAISE(ABORT, 'an event gets its number once, and never changes'); END;

-- How far the log was read, and how often a subscription was made or changed.
CREATE TABLE subscription_log (
  id      INTEGER PRIMARY KEY CHECK (id = 1),
  matched INTEGER NOT NULL CHECK (matched >= 0),
  changes INTEGER NOT NULL CHECK (changes >= 0)
) STRICT;
INSERT INTO subscription_log VALUES (1, 0, 0);
