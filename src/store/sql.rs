//! A statement in the making: conditions are put together from pieces, and each piece carries its own values.

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::StoreError;
use super::statement::Statements;

/// Text of a statement with the values of its question marks, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self { text: text.into(), values: values.into_iter().collect() }
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    pub(super) fn value(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(super) fn then(mut self, other: &Self) -> Self {
        self.text.push_str(&other.text);
        self.values.extend(other.values.iter().cloned());
        self
    }

    /// All of them, with a word between; `none` where there are none.
    pub(super) fn join(parts: &[Self], between: &str, none: &str) -> Self {
        let mut out = Self::default();
        for (n, part) in parts.iter().enumerate() {
            if n > 0 {
                out.text.push_str(between);
            }
            out = out.then(part);
        }
        if parts.is_empty() { out.text(none) } else { out }
    }

    /// The first row, read by `read`.
    pub(super) fn first<T>(
        self,
        db: &Statements<'_>,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        db.first(&self.text, params_from_iter(self.values), read)
    }

    /// Every row, read by `read`.
    pub(super) fn all<T>(
        self,
        db: &Statements<'_>,
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        db.all(&self.text, params_from_iter(self.values), read)
    }
}
