//! `within`: a value that is unique only inside the document's own id, written with it.
//!
//! An Identifier must mean one thing everywhere, and "goal 1" is a goal of every plan. So it is written as
//! `plan id|1`, and read back as what follows the last bar. The value itself may therefore have no bar in it; the id
//! before it may.

use serde_json::{Value, json};

use super::convert::{Made, Text};
use super::path;
use super::plan::SourcePath;

/// What a value is unique within: a field of the document, from its root.
#[derive(Debug)]
pub(super) struct Within {
    /// `within /id`: how explanations show it.
    pub name: String,
    pub path: SourcePath,
}

const BAR: char = '|';

impl Within {
    pub fn out(&self, value: &Value, document: &Value) -> Result<Made, Text> {
        let Some(inner) = value.as_str() else {
            return Err(Text::new("Värdet ska vara en text.", "The value should be a text."));
        };
        let outer = &self.path.text;
        if inner.contains(BAR) {
            return Err(Text {
                sv: format!("Värdet får inte innehålla {BAR}: det skrivs tillsammans med {outer}, med {BAR} emellan."),
                en: format!(
                    "The value may not contain {BAR}: it is written together with {outer}, with {BAR} between."
                ),
            });
        }
        match path::first(document, &self.path.full).and_then(Value::as_str) {
            Some(outer) => Ok(json!(format!("{outer}{BAR}{inner}")).into()),
            None => Err(Text {
                sv: format!("Värdet är bara entydigt inom {outer}, som saknas eller inte är en text."),
                en: format!("The value is unique only within {outer}, which is missing or not a text."),
            }),
        }
    }

    pub fn back(&self, value: &Value) -> Result<Made, Text> {
        let outer = &self.path.text;
        let (_, inner) = parts(value).ok_or_else(|| Text {
            sv: format!("Värdet ska vara dokumentets {outer}, {BAR} och ett eget värde."),
            en: format!("The value should be the document's {outer}, {BAR} and a value of its own."),
        })?;
        Ok(json!(inner).into())
    }
}

/// What stands before the last bar, and after it.
pub(super) fn parts(value: &Value) -> Option<(&str, &str)> {
    value.as_str()?.rsplit_once(BAR).filter(|(outer, inner)| !outer.is_empty() && !inner.is_empty())
}
