-- What a client has shown at the token endpoint, until it has expired: each assertion is good once, also across restarts. The
-- hash of its jti, so that a row has one size whatever a client calls its assertions.
CREATE TABLE assertion (
  client     TEXT    NOT NULL CHECK (client <> ''),
  jti        BLOB    NOT NULL CHECK (length(jti) = 32),
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (client, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX assertion_of_client ON assertion (client, expires_at);
CREATE INDEX assertion_expired ON assertion (expires_at);
CREATE TRIGGER assertion_stays BEFORE UPDATE ON assertion BEGIN SELECT RAISE(ABORT, 'an assertion never changes'); END;
