//! What is sent: all four documents in every form, each version with a mark in its text that shows wherever it went.

use serde_json::{Value, json};

use crate::world::{NORTH, ONCOLOGY, SOUTH};

/// Test persons; each has a client of its own, so that "accepted before" has a meaning for each.
pub const PATIENTS: [&str; 11] = [
    "195009072553",
    "196101182803",
    "189002029800",
    "200302022389",
    "199002222397",
    "200001252386",
    "189602029812",
    "191212121212",
    "196109732393",
    "197010632391",
    "196408833231",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plan,
    Referral,
    RivReferral,
    /// To a unit that reads from the gateway: kept, not sent.
    ReferralToReader,
    /// From primary care to the hospital: it is answered here, and the answer is sent there.
    ReferralFromPrimaryCare,
    Sip,
    Active,
    /// Done for a request of primary care: sent to it.
    Activity,
    /// Done for nobody's request: kept for the registries.
    RivActivity,
}

/// One document with its versions.
#[derive(Debug, Clone)]
pub struct Document {
    pub kind: Kind,
    pub id: String,
    pub version: u32,
    pub ended: bool,
    patient: String,
    /// `client.number`
    number: String,
    plan: Option<String>,
    request: Option<String>,
}

/// The bytes of one version, and how they are sent.
#[derive(Debug, Clone)]
pub struct Letter {
    pub path: &'static str,
    pub unit: &'static str,
    pub media_type: &'static str,
    pub body: String,
    pub mark: String,
}

fn example(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

impl Document {
    pub fn new(kind: Kind, patient: &str, number: String, plan: Option<String>, request: Option<String>) -> Self {
        let id = match kind {
            Kind::Plan => format!("{ONCOLOGY}#RP-{number}"),
            Kind::Referral | Kind::RivReferral | Kind::ReferralToReader => format!("{ONCOLOGY}#R-{number}"),
            Kind::ReferralFromPrimaryCare => format!("{NORTH}#R-{number}"),
            Kind::Sip => format!("{ONCOLOGY}#SIP-{number}"),
            Kind::Active => format!("{ONCOLOGY}#AO-{number}"),
            Kind::Activity => format!("{ONCOLOGY}#A-{number}"),
            Kind::RivActivity => format!("{NORTH}:{}", number.replace('.', "00")),
        };
        Self { kind, id, version: 0, ended: false, patient: patient.to_owned(), number, plan, request }
    }

    /// Whether it goes to the receiver.
    pub fn is_sent(&self) -> bool {
        matches!(self.kind, Kind::Plan | Kind::Referral | Kind::RivReferral | Kind::Sip | Kind::Active | Kind::Activity)
    }

    pub fn may_change(&self) -> bool {
        !self.ended && self.kind != Kind::RivActivity
    }

    pub fn mark(&self) -> String {
        format!("[{}.{}]", self.number, self.version)
    }

    /// The next version; `retract` makes it entered-in-error.
    pub fn next(&mut self, retract: bool) -> Letter {
        self.version += 1;
        self.ended = retract;
        let mark = self.mark();
        if let Kind::RivReferral | Kind::RivActivity = self.kind {
            return self.xml(mark);
        }
        let mut body = self.json(&mark);
        body["id"] = json!(self.id);
        body["version"] = json!(self.version);
        body["patient"]["personnummer"] = json!(self.patient);
        if retract {
            body["status"] = json!("entered-in-error");
        }
        let (path, unit) = match self.kind {
            Kind::Plan => ("/v1/rehab-plans", ONCOLOGY),
            Kind::ReferralFromPrimaryCare => ("/v1/referrals", NORTH),
            Kind::Sip | Kind::Active => ("/v1/handovers", ONCOLOGY),
            Kind::Activity => ("/v1/activities", ONCOLOGY),
            _ => ("/v1/referrals", ONCOLOGY),
        };
        Letter { path, unit, media_type: "application/json", body: body.to_string(), mark }
    }

    fn json(&self, mark: &str) -> Value {
        match self.kind {
            Kind::Plan => {
                let mut plan = example(include_str!("../../../mappings/examples/rehab-plan.small.source.json"));
                plan["goals"][0]["text"] = json!(format!("Orka gå till affären {mark}"));
                plan
            }
            Kind::Sip => {
                let mut sip = example(include_str!("../../../mappings/examples/handover.sip-small.source.json"));
                sip["interventions"][0]["text"] = json!(format!("Stödsamtal {mark}"));
                sip
            }
            Kind::Active => {
                let text = include_str!("../../../mappings/examples/handover.active-small.source.json");
                let mut handover = example(text);
                handover["sbar"]["situation"] = json!(format!("Fatigue {mark}"));
                self.with_plan(handover)
            }
            Kind::Activity => {
                let mut activity = example(include_str!("../../../mappings/examples/activity.small.source.json"));
                activity["unit"] = json!(ONCOLOGY);
                activity["contactId"] = json!(format!("{ONCOLOGY}#K-{}", self.number));
                activity["diagnoses"][0]["text"] = json!(format!("Bröstcancer {mark}"));
                activity["requestId"] = json!(self.request);
                activity
            }
            _ => {
                let mut referral = example(include_str!("../../../mappings/examples/referral.small.source.json"));
                referral["question"] = json!(format!("Träning? {mark}"));
                if self.version > 1 {
                    referral["reasonForVersion"] = json!("AR");
                }
                match self.kind {
                    Kind::ReferralToReader => referral["recipient"]["unit"] = json!(SOUTH),
                    Kind::ReferralFromPrimaryCare => {
                        referral["recipient"]["unit"] = json!(ONCOLOGY);
                        referral["requester"]["unit"] = json!(NORTH);
                    }
                    _ => {}
                }
                self.with_plan(referral)
            }
        }
    }

    fn with_plan(&self, mut document: Value) -> Value {
        // A plan that never came is legal: the receipt says so.
        document["planId"] = json!(self.plan.clone().unwrap_or_else(|| format!("{ONCOLOGY}#RP-{}", self.number)));
        document
    }

    fn xml(&self, mark: String) -> Letter {
        let (path, unit, text) = match self.kind {
            Kind::RivReferral => {
                let text = include_str!("../../../mappings/examples/referral.riv-small.source.xml");
                let text = text
                    .replace(&format!("{ONCOLOGY}#R-2026-002"), &self.id)
                    .replace("Önskar bedömning av fatigue.", &format!("Fatigue? {mark}"))
                    .replace("<c:versionNumber>1<", &format!("<c:versionNumber>{}<", self.version));
                let reason = if self.version > 1 { "code=\"AR\"" } else { "code=\"NR\"" };
                ("/v1/referrals", ONCOLOGY, text.replace("code=\"NR\"", reason))
            }
            _ => {
                let text = include_str!("../../../mappings/examples/activity.riv-small.source.xml");
                let text = text.replace(&format!("{NORTH}:770001"), &self.id);
                ("/v1/activities", NORTH, text.replace("<c:dateOfBirth>19500907</c:dateOfBirth>", ""))
            }
        };
        let body = text.replace("195009072553", &self.patient);
        // A samordningsnummer has a root of its own.
        let day: u32 = self.patient[6..8].parse().unwrap();
        let body = if day > 60 { body.replace("1.2.752.129.2.1.3.1\"", "1.2.752.129.2.1.3.3\"") } else { body };
        let body = if day > 60 { body.replace("1.2.752.129.2.1.3.1<", "1.2.752.129.2.1.3.3<") } else { body };
        Letter { path, unit, media_type: "application/xml", body, mark }
    }
}
