//! The loss table: what the clients were promised, held against what the two databases say.

use std::collections::{BTreeMap, HashMap, HashSet};

use vardkedja::store::{Options, Store};

use super::books::Books;
use super::clients::{Note, Verdict};
use super::effects::{Effects, Version};
use super::programs::{Moment, Site};

/// How often the gateway was killed, by moment.
#[derive(Default, Clone, Copy)]
pub struct Kills {
    starting: usize,
    listening: usize,
    working: usize,
    checkpoint: usize,
}

impl Kills {
    pub fn add(&mut self, moment: Moment) {
        match moment {
            Moment::Starting => self.starting += 1,
            Moment::Listening => self.listening += 1,
            Moment::Working => self.working += 1,
            Moment::Checkpoint => self.checkpoint += 1,
        }
    }

    fn all(&self) -> usize {
        self.starting + self.listening + self.working + self.checkpoint
    }
}

#[derive(Default)]
pub struct Table {
    pub kills: Kills,
    pub receiver_kills: usize,
    accepted: usize,
    /// Of these, so many were sent more than once before the answer came.
    repeated: usize,
    refused: usize,
    for_receiver: usize,
    delivered: usize,
    given_up: usize,
    attempts: usize,
    answers: usize,
    answers_crossed: usize,
    audit_rows: u64,
    // What must be nought.
    duplicated: Vec<String>,
    out_of_order: Vec<String>,
    lost: Vec<String>,
    answers_lost: Vec<String>,
    answered_otherwise: Vec<String>,
    without_bytes: Vec<String>,
    wrong: Vec<String>,
    broken: Vec<String>,
}

impl Table {
    pub async fn count(&mut self, site: &Site, notes: &[Note]) {
        let (effects, books) = (Effects::read(site), Books::read(site));
        self.promises(notes, &effects, &books);
        self.order_of_notes(notes, &effects, &books);
        self.histories(&effects, &books);
        self.duplicated.extend(effects.doubles.iter().cloned());
        let moved: Vec<_> = effects.tasks.iter().filter(|t| t.status != "requested").cloned().collect();
        self.answers = moved.len();
        self.answers_lost = books.unanswered(&effects.tasks);
        self.answers_crossed = books.crossings(&effects.tasks);
        self.duplicated.extend(books.repeated_answers(&effects.tasks));
        self.soundness(site).await;
    }

    /// Every acknowledged version: its bytes are kept, and its effect is at the receiver, or a person knows why not.
    fn promises(&mut self, notes: &[Note], effects: &Effects, books: &Books) {
        let given_up: HashSet<&str> = books.given_up().map(|s| s.exchange.as_str()).collect();
        self.given_up = books.given_up().count();
        for note in notes {
            let (exchange, receipt) = match &note.verdict {
                Verdict::Accepted { exchange, receipt } => (exchange, receipt),
                Verdict::Refused => {
                    self.refused += 1;
                    continue;
                }
                Verdict::Wrong(said) => {
                    self.wrong.push(format!("{} {:?}: {said}", note.mark, note.kind));
                    continue;
                }
                Verdict::AnsweredOtherwise(said) => {
                    self.answered_otherwise.push(said.clone());
                    continue;
                }
            };
            self.accepted += 1;
            self.repeated += usize::from(note.tries > 1);
            let id = exchange.trim_start_matches("/v1/exchanges/");
            let kept = books.documents.get(id);
            if kept.is_none_or(|k| !k.iter().any(|bytes| bytes == note.body.as_bytes())) || receipt.is_empty() {
                self.without_bytes.push(format!("{} {:?} was acknowledged and is not kept", note.mark, note.kind));
            }
            if !note.is_sent {
                continue;
            }
            self.for_receiver += 1;
            if effects.marks.contains_key(&note.mark) {
                self.delivered += 1;
            } else if !given_up.contains(id) {
                self.lost.push(format!("{} {:?} was acknowledged and is not there ({id})", note.mark, note.kind));
            }
        }
    }

    /// The receiver saw a patient's documents in the order in which they were accepted.
    fn order_of_notes(&mut self, notes: &[Note], effects: &Effects, books: &Books) {
        let given_up: HashSet<&str> = books.given_up().map(|s| s.exchange.as_str()).collect();
        let mut last: BTreeMap<usize, (i64, &str)> = BTreeMap::new();
        for note in notes.iter().filter(|n| n.is_sent) {
            let Verdict::Accepted { exchange, .. } = &note.verdict else { continue };
            // What was given up may have come later, in the Bundle of another document.
            if given_up.contains(exchange.trim_start_matches("/v1/exchanges/")) {
                continue;
            }
            let Some(at) = effects.marks.get(&note.mark) else { continue };
            let before = last.insert(note.client, (*at, note.mark.as_str()));
            if let Some((earlier, mark)) = before.filter(|(earlier, _)| earlier > at) {
                self.out_of_order.push(format!("{mark} took effect after {} ({earlier} > {at})", note.mark));
            }
        }
    }

    /// The history of every resource at the receiver is what its lane's deliveries make of it, one after the other: no version
    /// too many, none too few, none in another order.
    fn histories(&mut self, effects: &Effects, books: &Books) {
        let mut expected: BTreeMap<&str, Vec<(&str, bool)>> = BTreeMap::new();
        for sent in &books.sent {
            // What was given up may have taken effect all the same.
            let certain = sent.state == "delivered";
            for (address, content) in &sent.puts {
                expected.entry(address.as_str()).or_default().push((content, certain));
            }
        }
        let mut actual: HashMap<(&str, &str, &str), Vec<&Version>> = HashMap::new();
        for version in &effects.versions {
            for (system, value) in &version.identifiers {
                actual.entry((&version.kind, system, value)).or_default().push(version);
            }
        }
        for (address, expected) in expected {
            let Some((kind, system, value)) = parts(address) else {
                self.broken.push(format!("{address} is no address of ours"));
                continue;
            };
            let history = actual.get(&(kind.as_str(), system.as_str(), value.as_str()));
            self.compare(address, &expected, history.map_or(&[][..], Vec::as_slice));
        }
    }

    fn compare(&mut self, address: &str, expected: &[(&str, bool)], history: &[&Version]) {
        let mut at = 0;
        let mut stands: Option<&str> = None;
        for (content, certain) in expected {
            if stands == Some(content) {
                continue; // the same again makes no version
            }
            match history.get(at) {
                Some(version) if version.content == *content => {
                    at += 1;
                    stands = Some(content);
                }
                _ if !certain => {}
                Some(version) => {
                    let (id, when) = (&version.id, version.at);
                    let later = history.iter().skip(at).any(|v| v.content == *content);
                    let what = format!("{address} ({id}): version {} of {when} is not what came then", at + 1);
                    if later {
                        self.duplicated.push(what)
                    } else {
                        self.out_of_order.push(what)
                    }
                    return;
                }
                None => {
                    self.lost.push(format!("{address}: a version that was delivered is not there"));
                    return;
                }
            }
        }
        if at < history.len() {
            self.duplicated.push(format!("{address} has {} versions too many", history.len() - at));
        }
    }

    /// The gateway's database is whole, and its audit log an unbroken chain.
    async fn soundness(&mut self, site: &Site) {
        let store = Store::open(&site.gateway_db(), Options::default()).unwrap();
        match store.verify_audit().await {
            Ok(rows) => self.audit_rows = rows,
            Err(error) => self.broken.push(error.to_string()),
        }
        store.close();
        let db = super::effects::open(&site.gateway_db());
        let word: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        let strays = db.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
        if word != "ok" || strays {
            self.broken.push(format!("the database is not whole: {word}, foreign keys {strays}"));
        }
        let tried = "SELECT count(*) FROM attempt";
        self.attempts += db.query_row(tried, [], |row| row.get::<_, i64>(0)).unwrap() as usize;
    }

    pub fn add(&mut self, other: Self) {
        self.kills.starting += other.kills.starting;
        self.kills.listening += other.kills.listening;
        self.kills.working += other.kills.working;
        self.kills.checkpoint += other.kills.checkpoint;
        for (sum, more) in [
            (&mut self.receiver_kills, other.receiver_kills),
            (&mut self.accepted, other.accepted),
            (&mut self.repeated, other.repeated),
            (&mut self.refused, other.refused),
            (&mut self.for_receiver, other.for_receiver),
            (&mut self.delivered, other.delivered),
            (&mut self.given_up, other.given_up),
            (&mut self.attempts, other.attempts),
            (&mut self.answers, other.answers),
            (&mut self.answers_crossed, other.answers_crossed),
        ] {
            *sum += more;
        }
        self.audit_rows += other.audit_rows;
        for (list, more) in [
            (&mut self.duplicated, other.duplicated),
            (&mut self.out_of_order, other.out_of_order),
            (&mut self.lost, other.lost),
            (&mut self.answers_lost, other.answers_lost),
            (&mut self.answered_otherwise, other.answered_otherwise),
            (&mut self.without_bytes, other.without_bytes),
            (&mut self.wrong, other.wrong),
            (&mut self.broken, other.broken),
        ] {
            list.extend(more);
        }
    }

    fn counted(&self) -> [(&'static str, &Vec<String>); 8] {
        [
            ("lost (acknowledged, and neither delivered nor given up by a named person)", &self.lost),
            ("duplicated effect (two resources for one identifier, or a version too many)", &self.duplicated),
            ("out of order for a patient", &self.out_of_order),
            ("answers lost (moved at the receiver, not at the gateway)", &self.answers_lost),
            ("same key and body, another answer", &self.answered_otherwise),
            ("acknowledged without the document's bytes", &self.without_bytes),
            ("sound documents answered otherwise than 202 or 409", &self.wrong),
            ("audit chain or database broken", &self.broken),
        ]
    }

    /// Everything that must not be.
    pub fn faults(&self) -> Vec<String> {
        let shown = |(name, list): (&str, &Vec<String>)| {
            let some: Vec<String> = list.iter().take(12).map(|l| format!("  {l}")).collect();
            (!list.is_empty()).then(|| format!("{name}: {}\n{}", list.len(), some.join("\n")))
        };
        self.counted().into_iter().filter_map(shown).collect()
    }

    /// Whether enough happened for the noughts to mean something.
    pub fn is_telling(&self) -> bool {
        self.accepted > 2 * self.kills.all() && self.repeated > 0 && self.delivered > 0 && self.answers > 0
    }

    pub fn line(&self) -> String {
        let faults: usize = self.counted().iter().map(|(_, list)| list.len()).sum();
        format!(
            "{} kills, {} accepted, {} delivered, {} answers, {faults} faults",
            self.kills.all(),
            self.accepted,
            self.delivered,
            self.answers
        )
    }

    pub fn markdown(&self, seed: u64) -> String {
        let k = self.kills;
        let mut rows = vec![
            ("kills of the gateway".to_owned(), k.all().to_string()),
            ("– in its first 250 ms / as it began to listen".into(), format!("{} / {}", k.starting, k.listening)),
            ("– at work / while the log was moved".into(), format!("{} / {}", k.working, k.checkpoint)),
            ("kills of the receiver".into(), self.receiver_kills.to_string()),
            ("accepted (202 seen by the client)".into(), self.accepted.to_string()),
            ("– of these sent more than once until answered".into(), self.repeated.to_string()),
            ("refused (409: the recipient had answered already)".into(), self.refused.to_string()),
            ("delivered (effect at the receiver) of those for it".into(), {
                format!("{} of {}", self.delivered, self.for_receiver)
            }),
            ("attempts".into(), self.attempts.to_string()),
            ("deliveries given up by a named person".into(), self.given_up.to_string()),
            ("answers at the receiver".into(), self.answers.to_string()),
            ("– that crossed a cancellation, decided by a person".into(), self.answers_crossed.to_string()),
            ("audit rows in an unbroken chain".into(), self.audit_rows.to_string()),
        ];
        rows.extend(self.counted().map(|(name, list)| (format!("**{name}**"), format!("**{}**", list.len()))));
        let lines: Vec<String> = rows.iter().map(|(name, value)| format!("| {name} | {value} |")).collect();
        format!("| seed {seed} | |\n|---|--:|\n{}", lines.join("\n"))
    }
}

/// `Type?identifier=system|value` in its parts.
fn parts(address: &str) -> Option<(String, String, String)> {
    let (kind, query) = address.split_once('?')?;
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).ok()?;
    let (_, token) = url.query_pairs().find(|(name, _)| name == "identifier")?;
    let (system, value) = token.split_once('|')?;
    Some((kind.to_owned(), system.to_owned(), value.to_owned()))
}
