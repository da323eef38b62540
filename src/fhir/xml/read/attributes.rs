//! The attributes that FHIR has: the value of a primitive, the id of an element, the url of an extension.

use serde_json::Value;

use super::super::pieces::Tag;
use super::super::schema::Class;
use super::{Object, Reader, Stopped};
use crate::fhir::issue::{Code, shown_name};
use crate::fhir::validate::Path;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// What stood in an element beside its elements.
#[derive(Default)]
pub(super) struct Attributes {
    pub id: Option<String>,
    pub url: Option<String>,
    pub value: Option<String>,
}

impl<'a> Reader<'a> {
    /// The id of an element, and the url of an extension.
    pub(super) fn own_attributes(
        &mut self,
        tag: &Tag<'a>,
        content: &Class,
        object: &mut Object,
        path: &Path<'_>,
    ) -> Result<(), Stopped> {
        let has_url = content.field("url").is_some_and(|f| f.attribute);
        let found = self.attributes(tag, if has_url { &["id", "url"] } else { &["id"] }, path)?;
        for (name, value) in [("id", found.id), ("url", found.url)] {
            match value {
                Some(value) if value.is_empty() => {
                    self.error(Code::Value, &path.field(name), "är tomt; utelämna det", "is empty; leave it out")?;
                }
                Some(value) => {
                    object.insert(name.to_owned(), Value::String(value));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Those the element may have. Where schemas are to be found (`xsi:`) says nothing of the resource.
    pub(super) fn attributes(
        &mut self,
        tag: &Tag<'a>,
        allowed: &[&str],
        path: &Path<'_>,
    ) -> Result<Attributes, Stopped> {
        let mut found = Attributes::default();
        for attribute in &tag.attributes {
            let value = || Some(attribute.value.clone().into_owned());
            match attribute.name {
                _ if *attribute.namespace == *XSI => {}
                name if attribute.namespace.is_empty() && allowed.contains(&name) => match name {
                    "id" => found.id = value(),
                    "url" => found.url = value(),
                    _ => found.value = value(),
                },
                name => {
                    let here = path.field(shown_name(name));
                    self.error(
                        Code::Structure,
                        &here,
                        "är inget attribut som R4 har här",
                        "is no attribute that R4 has here",
                    )?;
                }
            }
        }
        Ok(found)
    }
}
