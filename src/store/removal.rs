//! Takes away what is due, all of an exchange in one commit, and leaves a stub that proves it.
//!
//! Nothing else deletes: the triggers let a version, a document, a delivery or an attempt go only while there is a row in
//! `removing`, which lives inside this commit. What goes is overwritten with zeros (`secure_delete`), so that it does not stay
//! in the file; pages that were in the log are overwritten when the log is.

use rusqlite::Connection;
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Expect;
use super::apply::{Refusal, Writing};
use super::link::{FORGET, kin, person};
use super::rights::{Copies, Removal};
use crate::domain::retention::What;

/// Units, and who works there, are in many exchanges and are nobody's patient.
macro_rules! actors {
    () => {
        "('Organization', 'Practitioner', 'PractitionerRole', 'Location')"
    };
}
/// No hold on the exchange `e`, nor on its patient under any number.
macro_rules! is_free {
    () => {
        "NOT EXISTS (SELECT 1 FROM hold h INDEXED BY hold_of_exchange WHERE h.exchange = e.id AND h.exchange IS NOT NULL AND h.lifted_at IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM hold h INDEXED BY hold_of_patient WHERE h.patient = e.patient AND h.patient IS NOT NULL AND h.lifted_at IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM kin k CROSS JOIN hold h INDEXED BY hold_of_patient \
                         ON h.patient = k.other AND h.patient IS NOT NULL AND h.lifted_at IS NULL WHERE k.patient = e.patient)"
    };
}
/// Nothing more is expected of the exchange `e`: nothing is under way, and no unit has an open Task.
macro_rules! is_over {
    () => {
        "e.stage NOT IN ('parked', 'waiting') \
         AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.exchange = e.id AND +d.state IN ('waiting', 'parked')) \
         AND NOT EXISTS (SELECT 1 FROM party p WHERE p.exchange = e.id AND p.role <> 'sender' \
                         AND +p.status IN ('requested', 'received', 'on-hold', 'accepted', 'in-progress'))"
    };
}
/// A hold on a patient whom the row `a` of the log is about, or on an exchange of that patient: who looked is what such a hold is
/// often for, and which of the patient's exchanges was looked at stands in what would be erased. A row that names the exchange
/// itself is held also where it is about nobody.
macro_rules! is_held {
    () => {
        "(EXISTS (SELECT 1 FROM hold h INDEXED BY hold_of_patient WHERE h.patient IS NOT NULL AND h.lifted_at IS NULL \
         AND (instr(char(10) || a.about || char(10), char(10) || 'Patient/' || h.patient || char(10)) > 0 \
         OR EXISTS (SELECT 1 FROM kin k WHERE k.patient = h.patient \
                    AND instr(char(10) || a.about || char(10), char(10) || 'Patient/' || k.other || char(10)) > 0))) \
         OR EXISTS (SELECT 1 FROM hold h INDEXED BY hold_of_exchange CROSS JOIN exchange e ON e.id = h.exchange \
         WHERE h.exchange IS NOT NULL AND h.lifted_at IS NULL \
         AND (instr(char(10) || a.about || char(10), char(10) || 'Patient/' || e.patient || char(10)) > 0 \
         OR instr(replace(a.object, '-', ''), lower(hex(h.exchange))) > 0)))"
    };
}
pub(super) use actors;
pub(super) use is_free;
pub(super) use is_held;
pub(super) use is_over;

pub(super) const REMOVABLE: &str =
    concat!("SELECT 1 FROM exchange e WHERE e.id = ?1 AND ", is_over!(), " AND ", is_free!());
const KIND: &str = "SELECT kind, patient FROM exchange WHERE id = ?1";
/// What is of this exchange alone.
const OWN: &str = concat!(
    "SELECT r.rid, r.type, r.id FROM exchange_resource x CROSS JOIN resource r ON r.rid = x.rid \
     WHERE x.exchange = ?1 AND r.type <> 'Patient' AND r.type NOT IN ",
    actors!(),
    " AND NOT EXISTS (SELECT 1 FROM exchange_resource y WHERE y.rid = x.rid AND y.exchange <> ?1)"
);
/// Tasks that told what was overdue in it.
const ITEMS: &str =
    "SELECT r.rid, r.type, r.id FROM escalation_task t CROSS JOIN resource r ON r.rid = t.rid WHERE t.exchange = ?1";
/// Tasks that asked for a new assessment because of it.
const REASSESSMENTS: &str =
    "SELECT r.rid, r.type, r.id FROM reassessment t CROSS JOIN resource r ON r.rid = t.rid WHERE t.exchange = ?1";
const TASK: &str = "SELECT rid, type, id FROM resource WHERE type = 'Task' AND id = ?1";
/// Of the person: also under another number.
const ANOTHER: &str = concat!("SELECT 1 FROM exchange WHERE patient IN ", person!("?1"), " AND id <> ?2 LIMIT 1");
pub(super) const ANOTHER_PROGRAMME: &str = concat!(
    "SELECT 1 FROM programme INDEXED BY programme_of_patient WHERE patient IN ",
    person!("?1"),
    " AND patient IS NOT NULL AND id <> ?2 LIMIT 1"
);
/// With a patient's last exchange goes the Patient, and what else is about nobody but them.
const LAST: &str = concat!(
    "SELECT r.rid, r.type, r.id FROM resource r INDEXED BY resource_of_patient WHERE r.patient = ?1 AND r.type NOT IN ",
    actors!(),
    " AND (r.type = 'Patient' AND r.id = ?1 OR NOT EXISTS (SELECT 1 FROM exchange_resource x WHERE x.rid = r.rid))"
);
const LET_GO: [&str; 9] = [
    "DELETE FROM counterpart WHERE (type, id) = (SELECT type, id FROM resource WHERE rid = ?1)",
    "DELETE FROM owned WHERE (type, id) = (SELECT type, id FROM resource WHERE rid = ?1)",
    "DELETE FROM sight WHERE rid = ?1",
    "DELETE FROM withheld WHERE rid = ?1",
    "DELETE FROM concern WHERE rid = ?1",
    "DELETE FROM exchange_resource WHERE rid = ?1",
    "DELETE FROM programme_resource WHERE rid = ?1",
    "DELETE FROM version WHERE rid = ?1",
    "DELETE FROM resource WHERE rid = ?1",
];
const VERSIONS: &str = "SELECT count(*) FROM version WHERE rid = ?1";
const DELIVERIES: &str = "SELECT id FROM delivery WHERE exchange = ?1";
const OF_EXCHANGE: &[(&str, &str)] = &[
    ("drops", "DELETE FROM dropped WHERE exchange = ?1"),
    // What a partner has by another exchange too, it has by that one; first by one that the partner has a part in.
    (
        "counterparts",
        "UPDATE counterpart AS c SET exchange = coalesce(\
           (SELECT x.exchange FROM resource r JOIN exchange_resource x ON x.rid = r.rid AND x.exchange <> ?1 \
            WHERE r.type = c.type AND r.id = c.id \
            AND EXISTS (SELECT 1 FROM party p WHERE p.exchange = x.exchange AND +p.partner = c.partner) LIMIT 1), \
           (SELECT x.exchange FROM resource r JOIN exchange_resource x ON x.rid = r.rid AND x.exchange <> ?1 \
            WHERE r.type = c.type AND r.id = c.id LIMIT 1)) \
         WHERE c.exchange = ?1 AND EXISTS (SELECT 1 FROM resource r \
         JOIN exchange_resource x ON x.rid = r.rid AND x.exchange <> ?1 WHERE r.type = c.type AND r.id = c.id)",
    ),
    ("counterparts", "DELETE FROM counterpart WHERE exchange = ?1"),
    ("waits", "DELETE FROM wait WHERE exchange = ?1"),
    ("clocks", "DELETE FROM clocked WHERE exchange = ?1"),
    ("pauses", "DELETE FROM pause WHERE exchange = ?1"),
    ("escalations", "DELETE FROM escalation WHERE exchange = ?1"),
    ("items", "DELETE FROM escalation_task WHERE exchange = ?1"),
    ("looks", "DELETE FROM plan_look WHERE exchange = ?1"),
    ("reassessments", "DELETE FROM reassessment WHERE exchange = ?1"),
    ("withheld", "DELETE FROM withheld_exchange WHERE exchange = ?1"),
    ("deliveries", "DELETE FROM delivery WHERE exchange = ?1"),
    ("inbound", "DELETE FROM inbound WHERE exchange = ?1"),
    ("moves", "DELETE FROM move WHERE exchange = ?1"),
    ("answers", "DELETE FROM answer WHERE exchange = ?1"),
    ("documents", "DELETE FROM document WHERE exchange = ?1"),
    ("parties", "DELETE FROM party WHERE exchange = ?1"),
    // What it moved stays moved, by something that is known no more.
    (
        "moves",
        "UPDATE charge_move SET exchange = NULL, origin = (SELECT randomblob(16)) WHERE exchange = ?1 AND exchange IS NOT NULL",
    ),
    ("links", "DELETE FROM exchange_resource WHERE exchange = ?1"),
    ("holds", "UPDATE hold SET exchange = NULL WHERE exchange = ?1 AND exchange IS NOT NULL AND lifted_at IS NOT NULL"),
];
const MOVES: &str = "DELETE FROM charge_move WHERE patient = ?1";
const ATTEMPTS: &str = "DELETE FROM attempt WHERE delivery IN (SELECT id FROM delivery WHERE exchange = ?1)";
const FORGET_DEATH: &str = "DELETE FROM deceased WHERE patient = ?1";
const EXCHANGE: &str = "DELETE FROM exchange WHERE id = ?1";
/// The row about the thing itself, and those about what is behind it: its history, its document.
pub(super) const SAID: [&str; 2] = [
    "SELECT chain, seq, at FROM audit INDEXED BY audit_of_object WHERE object = ?1 AND payload IS NOT NULL",
    "SELECT chain, seq, at FROM audit INDEXED BY audit_of_object \
     WHERE object > ?1 || '/' AND object < ?1 || '0' AND payload IS NOT NULL",
];
const UNSAY: &str = "UPDATE audit SET payload = NULL, salt = NULL WHERE chain = ?1 AND seq = ?2";
const UNSAY_LATER: &str = "INSERT INTO audit_removal (due_at, chain, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const UNSAY_NOW: &str = concat!(
    "SELECT l.due_at, l.chain, l.seq FROM audit_removal l LEFT JOIN audit a ON a.chain = l.chain AND a.seq = l.seq \
     WHERE l.due_at <= ?1 AND NOT ",
    is_held!(),
    " ORDER BY l.due_at LIMIT ?2"
);
const UNSAID: &str = "DELETE FROM audit_removal WHERE due_at = ?1 AND chain = ?2 AND seq = ?3";
pub(super) const STUB: &str = "INSERT INTO removal (id, what, kind, salt, object, rule, rule_version, at, by, counts) \
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const SEQ_GIVEN: &str =
    "INSERT INTO seq_given (id, seq) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET seq = max(seq, excluded.seq)";

/// `?1` is the time before which they are due, `?2` how many.
pub(super) const SENT: &str = concat!(
    "SELECT d.seq FROM delivery d INDEXED BY delivery_ended CROSS JOIN exchange e ON e.id = d.exchange \
     WHERE d.state IN ('delivered', 'skipped') AND length(d.body) > 0 AND d.created_at < ?1 AND d.due_at < ?1 AND ",
    is_free!(),
    " ORDER BY d.created_at LIMIT ?2"
);
pub(super) const RECEIVED: &str = concat!(
    "SELECT i.rowid FROM inbound i INDEXED BY inbound_applied LEFT JOIN exchange e ON e.id = i.exchange \
     WHERE i.finding IS NULL AND length(i.body) > 0 AND i.at < ?1 AND ",
    is_free!(),
    " ORDER BY i.at LIMIT ?2"
);
pub(super) const RECEIPTS: &str = concat!(
    "SELECT a.rowid FROM answer a INDEXED BY answer_at LEFT JOIN exchange e ON e.id = a.exchange WHERE a.at < ?1 AND ",
    is_free!(),
    " ORDER BY a.at LIMIT ?2"
);
const EMPTY_SENT: &str = "UPDATE delivery SET body = x'' WHERE seq = ?1";
const EMPTY_RECEIVED: &str = "UPDATE inbound SET body = x'' WHERE rowid = ?1";
const DROP_RECEIPT: &str = "DELETE FROM answer WHERE rowid = ?1";

pub(super) struct Named {
    pub(super) rid: i64,
    pub(super) name: String,
}

impl Named {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self, Refusal> {
        let (resource_type, id): (String, String) = (row.get("type")?, row.get("id")?);
        Ok(Self { rid: row.get("rid")?, name: format!("{resource_type}/{id}") })
    }
}

impl Writing<'_, '_> {
    pub(super) fn remove(&mut self, removal: &Removal) -> Result<(), Refusal> {
        let (exchange, revision) = (removal.exchange, removal.revision);
        self.check(&Expect::Revision { exchange, revision })?;
        self.check(&Expect::Removable { exchange })?;
        self.removing(removal.at.timestamp_millis(), |writing| writing.take_away(removal))
    }

    /// Opens what never goes otherwise, overwriting what goes, and closes it again whatever happens.
    pub(super) fn removing(
        &mut self,
        at_ms: i64,
        work: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let db = self.statements;
        overwrite(db.connection(), true)?;
        let result = (|| {
            db.run("INSERT INTO removing (at) VALUES (?1)", [at_ms])?;
            db.run(SEQ_GIVEN, [self.state.seq()])?;
            work(self)?;
            db.run("DELETE FROM removing", [])?;
            Ok(())
        })();
        overwrite(db.connection(), false)?;
        result
    }

    fn take_away(&mut self, removal: &Removal) -> Result<(), Refusal> {
        let db = self.statements;
        let id = removal.exchange.as_bytes();
        let found =
            db.first(KIND, [id], |row| Ok::<_, Refusal>((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
        let (kind, patient) = found.ok_or(Refusal::Corrupt("an exchange"))?;
        let mut own: Vec<Named> = db.all(OWN, [id], Named::read)?;
        own.extend(db.all(ITEMS, [id], Named::read)?);
        own.extend(db.all(REASSESSMENTS, [id], Named::read)?);
        for item in &removal.items {
            own.extend(db.first(TASK, [item], Named::read)?);
        }
        let mut objects = vec![format!("exchange/{}", removal.exchange)];
        objects.extend(db.all(DELIVERIES, [id], |row| {
            let id: [u8; 16] = row.get(0)?;
            Ok::<_, Refusal>(format!("delivery/{}", Uuid::from_bytes(id)))
        })?);
        let mut counts = serde_json::Map::new();
        counts.insert("attempts".into(), json!(db.run(ATTEMPTS, [id])?));
        for (name, sql) in OF_EXCHANGE {
            counts.insert((*name).into(), json!(db.run(sql, [id])?));
        }
        let is_last = match &patient {
            Some(patient) => {
                let is_there =
                    |sql| Ok::<_, Refusal>(db.first(sql, (patient, id), |_| Ok::<_, Refusal>(()))?.is_some());
                !is_there(ANOTHER)? && !is_there(ANOTHER_PROGRAMME)?
            }
            None => false,
        };
        let mut versions = 0;
        for rid in own.iter().map(|one| one.rid).collect::<Vec<_>>() {
            versions += self.let_go(rid, removal)?;
        }
        if let Some(patient) = patient.filter(|_| is_last) {
            let mut person = kin(db, &patient)?;
            person.push(patient);
            for patient in &person {
                db.run(MOVES, [patient])?;
                let last = db.all(LAST, [patient], Named::read)?;
                db.run(FORGET_DEATH, [patient])?;
                for sql in FORGET {
                    db.run(sql, [patient])?;
                }
                for one in &last {
                    versions += self.let_go(one.rid, removal)?;
                }
                own.extend(last);
            }
        }
        db.run(EXCHANGE, [id])?;
        counts.insert("resources".into(), json!(own.len()));
        counts.insert("versions".into(), json!(versions));
        objects.extend(own.into_iter().map(|one| one.name));
        let (now, later) = self.unsay(&objects, removal)?;
        counts.insert("payloads".into(), json!(now));
        counts.insert("payloadsLater".into(), json!(later));
        let salt = *Uuid::new_v4().as_bytes();
        let object: [u8; 32] = hashed(&salt, removal.exchange);
        let counts = serde_json::Value::Object(counts).to_string();
        let at = removal.at.timestamp_millis();
        let (what, stub) = (What::Exchange.code(), removal.id.as_bytes());
        let row = (stub, what, kind, salt, object, &removal.rule, &removal.rule_version, at, &removal.by, counts);
        db.run(STUB, row)?;
        Ok(())
    }

    /// A resource with all its versions; how many they were.
    pub(super) fn let_go(&mut self, rid: i64, removal: &Removal) -> Result<i64, Refusal> {
        self.erase_everywhere(rid, removal.at.timestamp_millis())?;
        self.forget_index(rid)?;
        let versions = self.statements.first(VERSIONS, [rid], |row| row.get::<_, i64>(0).map_err(Refusal::from))?;
        for sql in LET_GO {
            self.statements.run(sql, [rid])?;
        }
        Ok(versions.unwrap_or(0))
    }

    /// What the log says of these things: gone where its time is over, to go later where it is not. How many of each.
    pub(super) fn unsay(&mut self, objects: &[String], removal: &Removal) -> Result<(usize, usize), Refusal> {
        let db = self.statements;
        let (mut now, mut later) = (0, 0);
        for object in objects {
            for sql in SAID {
                let rows = db.all(sql, [object], |row| {
                    Ok::<_, Refusal>((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                })?;
                for (chain, seq, at) in rows {
                    if at < removal.log_before.timestamp_millis() {
                        now += db.run(UNSAY, (chain, seq))?;
                    } else {
                        later += db.run(UNSAY_LATER, (at.saturating_add(removal.log_kept_ms), chain, seq))?;
                    }
                }
            }
        }
        Ok((now, later))
    }

    /// A batch of copies; where none is due nothing is written, and no stub.
    pub(super) fn remove_copies(&mut self, copies: &Copies) -> Result<(), Refusal> {
        self.removing(copies.at.timestamp_millis(), |writing| writing.empty(copies))
    }

    fn empty(&mut self, copies: &Copies) -> Result<(), Refusal> {
        let db = self.statements;
        let (select, change) = match copies.what {
            What::DeliveryBody => (SENT, EMPTY_SENT),
            What::Inbound => (RECEIVED, EMPTY_RECEIVED),
            What::Answer => (RECEIPTS, DROP_RECEIPT),
            What::AuditPayload => return self.unsay_due(copies),
            What::Exchange => return Err(Refusal::Corrupt("an exchange is no copy")),
        };
        let due = (copies.before.timestamp_millis(), copies.most);
        let rows: Vec<i64> = db.all(select, due, |row| row.get(0).map_err(Refusal::from))?;
        for row in &rows {
            db.run(change, [row])?;
        }
        self.stub(copies, rows.len())
    }

    fn unsay_due(&mut self, copies: &Copies) -> Result<(), Refusal> {
        let db = self.statements;
        let due = (copies.at.timestamp_millis(), copies.most);
        let rows = db.all(UNSAY_NOW, due, |row| {
            Ok::<_, Refusal>((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?;
        for (due_at, chain, seq) in &rows {
            db.run(UNSAY, (chain, seq))?;
            db.run(UNSAID, (due_at, chain, seq))?;
        }
        self.stub(copies, rows.len())
    }

    fn stub(&mut self, copies: &Copies, rows: usize) -> Result<(), Refusal> {
        if rows == 0 {
            return Ok(());
        }
        let salt = *Uuid::new_v4().as_bytes();
        let (id, what, at) = (copies.id.as_bytes(), copies.what.code(), copies.at.timestamp_millis());
        let counts = json!({ "copies": rows }).to_string();
        let none: Option<[u8; 32]> = None;
        let kind: Option<String> = None;
        let row = (id, what, kind, salt, none, &copies.rule, &copies.rule_version, at, &copies.by, counts);
        self.statements.run(STUB, row)?;
        Ok(())
    }
}

/// What a stub says of an exchange: nothing to whoever does not have its id.
pub(super) fn hashed(salt: &[u8], exchange: Uuid) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(exchange.as_bytes()).finalize().into()
}

/// Whether freed pages are overwritten too; what is freed within a page always is (`FAST`), which costs no reading or writing, and about a
/// tenth of SQLite's time where every second commit replaces what another was found by.
/// Not by a kept statement: SQLite does this one while it prepares it.
pub(super) fn overwrite(connection: &Connection, also_pages: bool) -> Result<(), rusqlite::Error> {
    let how = if also_pages { "ON" } else { "FAST" };
    connection.query_row(&format!("PRAGMA secure_delete = {how}"), [], |_| Ok(()))
}
