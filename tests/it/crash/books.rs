//! What the gateway's own database says: documents, deliveries, answers; read beside the program or after its end.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::effects::{Task, content, open};
use super::people::words;
use super::programs::Site;

/// A delivery with what it carries.
pub struct Sent {
    pub state: String,
    pub action: String,
    pub exchange: String,
    /// `Type?identifier=…` and content of what it brings up to date.
    pub puts: Vec<(String, String)>,
}

#[derive(Default)]
pub struct Books {
    /// Bytes of documents by exchange.
    pub documents: HashMap<String, Vec<Vec<u8>>>,
    /// In the order of their lanes.
    pub sent: Vec<Sent>,
    /// Task → status at the gateway.
    pub statuses: HashMap<String, String>,
    task_exchange: HashMap<String, String>,
    /// Exchanges with an answer that is held for a person.
    held: HashSet<String>,
    /// Every text of current resources that came back, with how many resources say it.
    answers: HashMap<String, usize>,
}

impl Books {
    pub fn read(site: &Site) -> Self {
        let db = open(&site.gateway_db());
        let mut books = Self::default();
        let id = |bytes: Vec<u8>| Uuid::from_slice(&bytes).unwrap().to_string();
        let mut each = |sql: &str, see: &mut dyn FnMut(&mut Self, &rusqlite::Row<'_>)| {
            let mut statement = db.prepare(sql).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                see(&mut books, row);
            }
        };
        each("SELECT exchange, source FROM document", &mut |books, row| {
            books.documents.entry(id(row.get(0).unwrap())).or_default().push(row.get(1).unwrap());
        });
        each("SELECT state, action, exchange, body FROM delivery ORDER BY seq", &mut |books, row| {
            let body: Vec<u8> = row.get(3).unwrap();
            books.sent.push(Sent {
                state: row.get(0).unwrap(),
                action: row.get(1).unwrap(),
                exchange: id(row.get(2).unwrap()),
                puts: puts(&body),
            });
        });
        each("SELECT task, status, exchange FROM party WHERE task IS NOT NULL", &mut |books, row| {
            let task: String = row.get(0).unwrap();
            books.statuses.insert(task.clone(), row.get(1).unwrap());
            books.task_exchange.insert(task, id(row.get(2).unwrap()));
        });
        each("SELECT exchange FROM inbound WHERE finding IS NOT NULL AND exchange IS NOT NULL", &mut |books, row| {
            books.held.insert(id(row.get(0).unwrap()));
        });
        let current = "SELECT v.body FROM resource r JOIN version v ON v.rid = r.rid AND v.version = r.version \
                       WHERE r.type IN ('Communication', 'Task')";
        each(current, &mut |books, row| {
            let body: Vec<u8> = row.get(0).unwrap();
            let resource: Value = serde_json::from_slice(&body).unwrap();
            let said = [&resource["payload"][0]["contentString"], &resource["statusReason"]["text"]];
            for text in said.into_iter().filter_map(Value::as_str) {
                *books.answers.entry(text.to_owned()).or_default() += 1;
            }
        });
        books
    }

    /// What a person has to decide about, or has decided never to send.
    pub fn given_up(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|s| matches!(s.state.as_str(), "parked" | "skipped"))
    }

    /// Tasks that the receiver's people moved and whose move is neither here nor held for a person.
    pub fn unanswered(&self, tasks: &[Task]) -> Vec<String> {
        tasks.iter().filter_map(|task| self.missing(task)).collect()
    }

    fn missing(&self, task: &Task) -> Option<String> {
        // What is not among them is a request to stop, or of a unit that left.
        let here = self.statuses.get(&task.ours)?;
        let exchange = self.task_exchange.get(&task.ours).cloned().unwrap_or_default();
        if *here == task.status {
            let told = matches!(here.as_str(), "completed" | "rejected");
            let said = self.answers.get(&words(&task.ours)).copied().unwrap_or_default();
            return match (told, said) {
                (true, 0) => Some(format!("Task {} is {here}, and its answer is not here", task.ours)),
                _ => None,
            };
        }
        if self.crossed(here, &exchange) {
            return None;
        }
        // Everything this receiver's people write is sound: what is held was misread.
        let held = if self.held.contains(&exchange) { "held" } else { "unheard" };
        let (ours, there) = (&task.ours, &task.status);
        Some(format!("Task {ours} is {there} at the receiver and {here} here, {held} (exchange {exchange})"))
    }

    /// The sender took it back while the receiver's people went on: the move was refused there, and a person decided.
    fn crossed(&self, here: &str, exchange: &str) -> bool {
        matches!(here, "cancelled" | "entered-in-error" | "requested")
            && self.sent.iter().any(|s| {
                s.exchange == exchange && s.action == "move-task" && matches!(s.state.as_str(), "parked" | "skipped")
            })
    }

    /// How many of the moves crossed a cancellation, and were left to a person.
    pub fn crossings(&self, tasks: &[Task]) -> usize {
        tasks
            .iter()
            .filter(|t| self.statuses.get(&t.ours).is_some_and(|here| *here != t.status))
            .filter(|t| self.missing(t).is_none())
            .count()
    }

    /// Answers that stand here more than once.
    pub fn repeated_answers(&self, tasks: &[Task]) -> Vec<String> {
        let more = |t: &&Task| self.answers.get(&words(&t.ours)).is_some_and(|n| *n > 1);
        tasks.iter().filter(more).map(|t| format!("the answer about Task {} stands here twice", t.ours)).collect()
    }
}

/// What a Bundle brings up to date: its conditional PUTs, Tasks apart (the receiver's people move those).
fn puts(body: &[u8]) -> Vec<(String, String)> {
    let bundle: Value = serde_json::from_slice(body).unwrap_or_default();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries
        .into_iter()
        .filter(|e| e["request"]["method"] == "PUT" && e["resource"]["resourceType"] != "Task")
        .map(|e| (e["request"]["url"].as_str().unwrap_or_default().to_owned(), content(e["resource"].clone())))
        .collect()
}
