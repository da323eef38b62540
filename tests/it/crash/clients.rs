//! Those who send: each for one patient, one thing at a time, until it is answered; and their notes of what was promised.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::documents::{Document, Kind, Letter};
use super::programs::{Site, http};

/// What a client was promised, or refused, for one version of one document.
#[derive(Debug, Clone)]
pub struct Note {
    pub kind: Kind,
    pub mark: String,
    pub body: String,
    /// The patient's client; its notes stand in the order of acceptance.
    pub client: usize,
    pub verdict: Verdict,
    /// Whether the receiver is to have it.
    pub is_sent: bool,
    /// How often it was sent before it was answered.
    pub tries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 202: the exchange, and the receipt as it was answered.
    Accepted { exchange: String, receipt: String },
    /// 409: the recipient had answered already, or the like.
    Refused,
    /// Answered otherwise than a sound request should be.
    Wrong(String),
    /// The same key and body were answered otherwise the second time.
    AnsweredOtherwise(String),
}

/// An answer that decides: status, Location, body.
type Answer = (u16, String, String);

pub struct Client {
    site: Site,
    http: reqwest::Client,
    number: usize,
    patient: String,
    rng: fastrand::Rng,
    documents: Vec<Document>,
    notes: Vec<Note>,
    letters: Vec<(Letter, Option<String>, Answer)>,
    made: u32,
}

impl Client {
    pub fn new(site: &Site, number: usize, patient: &str, seed: u64) -> Self {
        Self {
            site: site.clone(),
            http: http(),
            number,
            patient: patient.to_owned(),
            rng: fastrand::Rng::with_seed(seed),
            documents: Vec::new(),
            notes: Vec::new(),
            letters: Vec::new(),
            made: 0,
        }
    }

    pub async fn send_until(mut self, stop: Arc<AtomicBool>) -> Vec<Note> {
        while !stop.load(Ordering::SeqCst) {
            match self.rng.u8(..20) {
                0..10 => self.write_new().await,
                10..15 => self.write_again(false).await,
                15 => self.write_again(true).await,
                16 => self.cancel().await,
                17 => self.report_many().await,
                _ => self.ask_again().await,
            }
            tokio::time::sleep(Duration::from_millis(self.rng.u64(20..160))).await;
        }
        self.notes
    }

    fn document(&mut self) -> Document {
        let request = self.last(Kind::ReferralFromPrimaryCare);
        let kind = match self.rng.u8(..20) {
            0..3 => Kind::Plan,
            3..8 => Kind::Referral,
            8..10 => Kind::RivReferral,
            10 => Kind::ReferralToReader,
            11..13 => Kind::ReferralFromPrimaryCare,
            13..15 => Kind::Sip,
            15..17 => Kind::Active,
            17..19 if request.is_some() => Kind::Activity,
            _ => Kind::RivActivity,
        };
        self.made += 1;
        let plan = self.last(Kind::Plan);
        let number = format!("{}.{}", self.number, self.made);
        Document::new(kind, &self.patient, number, plan, request)
    }

    fn last(&self, kind: Kind) -> Option<String> {
        self.documents.iter().rev().find(|d| d.kind == kind && !d.ended).map(|d| d.id.clone())
    }

    async fn write_new(&mut self) {
        let mut document = self.document();
        let letter = document.next(false);
        if self.send(&document, letter).await {
            self.documents.push(document);
        }
    }

    async fn write_again(&mut self, retract: bool) {
        let open: Vec<usize> = (0..self.documents.len()).filter(|i| self.documents[*i].may_change()).collect();
        let Some(index) = self.rng.choice(open) else { return };
        if retract && self.documents[index].kind == Kind::RivReferral {
            return; // the contract has no word for it
        }
        let mut document = self.documents[index].clone();
        let letter = document.next(retract);
        if self.send(&document, letter).await {
            self.documents[index] = document;
        } else {
            self.documents[index].ended = true; // the recipient has answered: no more of this one
        }
    }

    /// Sends until it is decided; true where it was accepted.
    async fn send(&mut self, document: &Document, letter: Letter) -> bool {
        let key = (self.rng.u8(..4) > 0).then(|| format!("key-{}", letter.mark));
        let (answer, tries) = self.post(&letter, key.as_deref()).await;
        let verdict = verdict(&answer);
        let accepted = matches!(verdict, Verdict::Accepted { .. });
        self.note(document, &letter, verdict, tries);
        if accepted {
            self.letters.push((letter, key, answer));
        }
        accepted
    }

    fn note(&mut self, document: &Document, letter: &Letter, verdict: Verdict, tries: u32) {
        self.notes.push(Note {
            kind: document.kind,
            mark: letter.mark.clone(),
            body: letter.body.clone(),
            client: self.number,
            verdict,
            is_sent: document.is_sent(),
            tries,
        });
    }

    /// The same letter once more, with the same key: nothing new, and the same answer byte for byte.
    async fn ask_again(&mut self) {
        let Some(index) = self.rng.choice(0..self.letters.len()) else { return };
        let (letter, key, before) = self.letters[index].clone();
        let (answer, _) = self.post(&letter, key.as_deref()).await;
        if answer == before {
            return;
        }
        let said = format!("{} {} then {} {}: {}", before.0, before.1, answer.0, answer.1, letter.mark);
        let note = self.notes.iter_mut().find(|n| n.mark == letter.mark && n.body == letter.body);
        note.unwrap().verdict = Verdict::AnsweredOtherwise(said);
    }

    async fn cancel(&mut self) {
        let referrals = [Kind::Referral, Kind::RivReferral, Kind::ReferralToReader];
        let asked: Vec<String> = self
            .notes
            .iter()
            .filter(|n| referrals.contains(&n.kind))
            .filter_map(|n| match &n.verdict {
                Verdict::Accepted { exchange, .. } => Some(exchange.clone()),
                _ => None,
            })
            .collect();
        let Some(exchange) = self.rng.choice(asked) else { return };
        let letter = Letter {
            path: "",
            unit: crate::world::ONCOLOGY,
            media_type: "application/json",
            body: json!({ "reason": "Patienten har ångrat sig." }).to_string(),
            mark: String::new(),
        };
        self.post_to(&format!("{exchange}/cancel"), &letter, None).await;
    }

    /// Activities as NDJSON: a result for each line.
    async fn report_many(&mut self) {
        let Some(request) = self.last(Kind::ReferralFromPrimaryCare) else { return };
        let mut documents = Vec::new();
        let mut letters = Vec::new();
        for _ in 0..3 {
            self.made += 1;
            let number = format!("{}.{}", self.number, self.made);
            let mut document = Document::new(Kind::Activity, &self.patient, number, None, Some(request.clone()));
            letters.push(document.next(false));
            documents.push(document);
        }
        let key = format!("key-lines-{}.{}", self.number, self.made);
        let body = letters.iter().map(|l| l.body.as_str()).collect::<Vec<_>>().join("\n");
        let sheet = Letter { media_type: "application/x-ndjson", body, ..letters[0].clone() };
        let (answer, tries) = self.post(&sheet, Some(&key)).await;
        let results: Vec<Value> = answer.2.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        for (index, (document, letter)) in documents.into_iter().zip(letters).enumerate() {
            let result = results.get(index).cloned().unwrap_or_default();
            let verdict = match result["status"].as_u64() {
                Some(202) => Verdict::Accepted {
                    exchange: result["location"].as_str().unwrap_or_default().to_owned(),
                    receipt: result["receipt"].to_string(),
                },
                Some(409) => Verdict::Refused,
                // A line that met a full queue or a dying store is sent again as a document of its own.
                Some(429 | 503) => {
                    self.send(&document, letter).await;
                    continue;
                }
                _ => Verdict::Wrong(format!("{} {}", answer.0, result)),
            };
            let accepted = matches!(verdict, Verdict::Accepted { .. });
            self.note(&document, &letter, verdict, tries);
            if accepted {
                self.documents.push(document);
            }
        }
    }

    async fn post(&mut self, letter: &Letter, key: Option<&str>) -> (Answer, u32) {
        self.post_to(letter.path, letter, key).await
    }

    /// As a careful sender does it: what got no answer, or "not now", is sent again until it is decided.
    async fn post_to(&mut self, path: &str, letter: &Letter, key: Option<&str>) -> (Answer, u32) {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = self
                .http
                .post(format!("{}{path}", self.site.gateway()))
                .header("Vardkedja-Unit", letter.unit)
                .header("Content-Type", letter.media_type)
                .body(letter.body.clone());
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            if let Ok(response) = request.send().await {
                let status = response.status().as_u16();
                let location = response.headers().get("location").map(|l| l.to_str().unwrap().to_owned());
                // An answer that broke off is no answer.
                if let Ok(text) = response.text().await
                    && !matches!(status, 408 | 429 | 503)
                {
                    return ((status, location.unwrap_or_default(), text), tries);
                }
            }
            tokio::time::sleep(Duration::from_millis(self.rng.u64(5..40))).await;
        }
    }
}

fn verdict(answer: &Answer) -> Verdict {
    match answer {
        (202, exchange, receipt) => Verdict::Accepted { exchange: exchange.clone(), receipt: receipt.clone() },
        (409, _, _) => Verdict::Refused,
        (status, _, text) => Verdict::Wrong(format!("{status} {text}")),
    }
}
