//! The documents that are sent: the shipped examples with another number and another patient, in bytes of the same length.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

pub const ONCOLOGY: &str = "SE2321000131-E000000000101";
/// Served by the partner `primary-care`, which is sent to.
pub const NORTH: &str = "SE2321000131-E000000000202";
/// Served by the partner `reader`, which reads from the gateway.
pub const SOUTH: &str = "SE2321000131-E000000000203";
/// Served by the partner `municipality`.
pub const MUNICIPALITY: &str = "SE2120001355-E000000000501";

/// The number in the examples below, to find its places by. Eight digits, as all numbers have.
pub const NUMBER: u64 = 90_000_001;

/// Numbers of documents are never used twice in a run of the benchmark.
static NEXT: AtomicU64 = AtomicU64::new(10_000_000);

pub fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A document as bytes, with the places that differ from one to the next.
#[derive(Clone)]
pub struct Document {
    pub path: &'static str,
    bytes: Vec<u8>,
    numbers: Vec<usize>,
    patients: Vec<usize>,
}

impl Document {
    fn new(path: &'static str, value: &Value) -> Self {
        let bytes = value.to_string().into_bytes();
        let numbers = places(&bytes, NUMBER.to_string().as_bytes());
        let patients = places(&bytes, person(NUMBER).as_bytes());
        Self { path, bytes, numbers, patients }
    }

    /// The document of that number, for a patient of its own as far as there are any.
    pub fn numbered(&self, number: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        overwrite(&mut bytes, &self.numbers, format!("{number:08}").as_bytes());
        overwrite(&mut bytes, &self.patients, person(number).as_bytes());
        bytes
    }

    /// A request with it.
    pub fn request(&self, number: u64, bearer: &str) -> Vec<u8> {
        crate::load::post(self.path, bearer, "application/json", &self.numbered(number))
    }
}

pub fn referral(recipient: &str) -> Document {
    let mut value = example(include_str!("../../mappings/examples/referral.small.source.json"));
    value["id"] = json!(format!("{ONCOLOGY}#R-{NUMBER}"));
    value["planId"] = json!(format!("{ONCOLOGY}#RP-{NUMBER}"));
    value["recipient"]["unit"] = json!(recipient);
    value["consultation"]["primaryCare"]["unit"] = json!(recipient);
    Document::new("/v1/referrals", &value)
}

pub fn plan() -> Document {
    let mut value = example(include_str!("../../mappings/examples/rehab-plan.small.source.json"));
    value["id"] = json!(format!("{ONCOLOGY}#RP-{NUMBER}"));
    value["interventions"][0]["responsible"] = json!(SOUTH);
    value["recipients"] = json!([SOUTH]);
    Document::new("/v1/rehab-plans", &value)
}

/// Its day, to find its places by.
pub const DAY: &str = "2026-03-16";

/// An activity with these main codes.
pub fn activity_of(codes: &[&str]) -> Document {
    let mut value = example(include_str!("../../mappings/examples/activity.small.source.json"));
    value["id"] = json!(format!("{SOUTH}#A-{NUMBER}"));
    value["contactId"] = json!(format!("{SOUTH}#K-{NUMBER}"));
    value["unit"] = json!(SOUTH);
    value["codes"] = codes.iter().map(|code| json!({ "code": code })).collect();
    Document::new("/v1/activities", &value)
}

pub fn activity() -> Document {
    let mut value = example(include_str!("../../mappings/examples/activity.small.source.json"));
    value["id"] = json!(format!("{SOUTH}#A-{NUMBER}"));
    value["contactId"] = json!(format!("{SOUTH}#K-{NUMBER}"));
    value["unit"] = json!(SOUTH);
    Document::new("/v1/activities", &value)
}

fn example(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).expect("an example");
    value["patient"]["personnummer"] = json!(person(NUMBER));
    value
}

/// How many persons there are.
pub const PERSONS: u64 = 10 * 336 * 20;

/// A personnummer of the series that are only given to tests (980–999), of the 1890s: nobody has it.
pub fn person(number: u64) -> String {
    let index = number % PERSONS;
    let (serial, day) = (980 + index % 20, index / 20);
    let (year, month, day) = (1890 + day / 336, 1 + day / 28 % 12, 1 + day % 28);
    let digits = format!("{year:04}{month:02}{day:02}{serial:03}");
    let sum: u32 = digits[2..]
        .bytes()
        .zip([2, 1].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// Where `what` stands in `bytes`.
pub fn places(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    bytes.windows(what.len()).enumerate().filter(|(_, window)| *window == what).map(|(at, _)| at).collect()
}

pub fn overwrite(bytes: &mut [u8], places: &[usize], with: &[u8]) {
    for at in places {
        bytes[*at..at + with.len()].copy_from_slice(with);
    }
}
