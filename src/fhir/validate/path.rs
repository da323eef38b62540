//! Where in a resource the validator stands: a chain on the stack that becomes FHIRPath only when something is found.

use std::fmt;

/// One step of the chain.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'a str,
    index: Option<usize>,
}

impl<'a> Path<'a> {
    /// The resource itself: its type.
    pub fn root(name: &'a str) -> Self {
        Self { parent: None, name, index: None }
    }

    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), name, index: None }
    }

    /// The same step, as the nth of a list.
    #[must_use]
    pub fn item(self, index: usize) -> Self {
        Self { index: Some(index), ..self }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        f.write_str(self.name)?;
        self.index.map_or(Ok(()), |i| write!(f, "[{i}]"))
    }
}

impl From<&Path<'_>> for String {
    fn from(path: &Path<'_>) -> Self {
        path.to_string()
    }
}
