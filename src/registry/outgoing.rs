//! A resource as a line of a file: what is stored, byte for byte, wherever nothing has to be changed.

use std::borrow::Cow;

use memchr::memchr2;
use serde_json::Value;

use super::request::Request;
use super::terms::Terms;
use crate::fhir::subset::{Shape, subset};

/// How resources of one type are written.
#[derive(Debug, Clone)]
pub struct Line {
    resource_type: String,
    terms: Terms,
    shape: Shape,
}

impl Line {
    pub fn of(resource_type: &str, request: &Request, terms: &Terms) -> Self {
        let shape = request.elements_of(resource_type).map_or(Shape::Whole, Shape::Elements);
        Self { resource_type: resource_type.to_owned(), terms: terms.clone(), shape }
    }

    /// Whether what is stored goes out byte for byte, where it is one line.
    pub fn keeps_bytes(&self) -> bool {
        self.shape == Shape::Whole && !self.terms.alters(&self.resource_type)
    }

    /// The line without its end; `None` where the client gets nothing of it.
    pub fn write<'b>(&self, body: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        let body = self.terms.outgoing(&self.resource_type, body)?;
        // What breaks the line between its own letters would break the file.
        if self.shape == Shape::Whole && memchr2(b'\n', b'\r', &body).is_none() {
            return Some(body);
        }
        let resource: Value = serde_json::from_slice(&body).ok()?;
        Some(Cow::Owned(subset(resource, &self.shape).to_string().into_bytes()))
    }

    /// The id by which the client knows it.
    pub fn known_as<'i>(&self, id: &'i str) -> Cow<'i, str> {
        self.terms.known_as(&self.resource_type, id)
    }

    /// What tells the client to erase a resource that it has: a line for each id that it may have there.
    pub fn write_deleted(&self, id: &str) -> impl Iterator<Item = Vec<u8>> {
        let known = self.terms.ever_known_as(&self.resource_type, id);
        known.into_iter().map(|id| deleted(&self.resource_type, &id))
    }
}

/// A Bundle that says that a resource is to be erased.
pub fn deleted(resource_type: &str, id: &str) -> Vec<u8> {
    let url = format!("{resource_type}/{id}");
    serde_json::json!({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{ "request": { "method": "DELETE", "url": url } }],
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_bytes_go_out_as_they_are_and_a_break_between_them_does_not_break_the_file() {
        let line = Line::of("Task", &Request::default(), &Terms::Whole);
        let stored = br#"{"resourceType":"Task","id":"t","note":[{"text":"a\nb"}]}"#;
        assert!(matches!(line.write(stored), Some(Cow::Borrowed(bytes)) if bytes == stored));
        let broken = b"{\n \"resourceType\": \"Task\", \"decimal\": 1.10 }";
        assert_eq!(line.write(broken).unwrap().as_ref(), br#"{"resourceType":"Task","decimal":1.10}"#);
    }

    #[test]
    fn a_part_says_that_it_is_one() {
        let request = Request { elements: vec!["Procedure.code".into()], ..Request::default() };
        let line = Line::of("Procedure", &request, &Terms::Whole);
        let stored = br#"{"resourceType":"Procedure","id":"p","status":"completed","code":{},"note":[]}"#;
        let part: Value = serde_json::from_slice(&line.write(stored).unwrap()).unwrap();
        assert_eq!(part["meta"]["tag"][0]["code"], "SUBSETTED");
        assert!(part.get("note").is_none() && part["status"] == "completed" && part.get("code").is_some());
    }
}
