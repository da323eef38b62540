//! Findings: what is wrong or worth knowing, where, and how to mend it, in Swedish and English.
//!
//! A finding is a value, not an error: every check adds to one list, so that a sender sees all of them at once.
//! Texts must never carry a personnummer, a name or free text from a document.

use serde_json::{Value, json};

/// How bad a finding is, as `OperationOutcome.issue.severity` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Information,
    Warning,
    Error,
    Fatal,
}

impl Severity {
    /// The code of <http://hl7.org/fhir/R4/valueset-issue-severity.html>.
    pub fn code(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// The kind of finding: the codes of <http://hl7.org/fhir/R4/valueset-issue-type.html> that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    Structure,
    Required,
    Value,
    Invariant,
    CodeInvalid,
    BusinessRule,
    NotFound,
    NotSupported,
    Conflict,
    Duplicate,
    Forbidden,
    Login,
    TooLong,
    TooCostly,
    Throttled,
    Transient,
    Exception,
    Processing,
    Informational,
}

impl Code {
    pub fn code(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::Invariant => "invariant",
            Self::CodeInvalid => "code-invalid",
            Self::BusinessRule => "business-rule",
            Self::NotFound => "not-found",
            Self::NotSupported => "not-supported",
            Self::Conflict => "conflict",
            Self::Duplicate => "duplicate",
            Self::Forbidden => "forbidden",
            Self::Login => "login",
            Self::TooLong => "too-long",
            Self::TooCostly => "too-costly",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Exception => "exception",
            Self::Processing => "processing",
            Self::Informational => "informational",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    pub severity: Severity,
    pub code: Code,
    /// FHIRPath of the element (`Task.input[0].value`), or the path in the source document.
    pub expression: String,
    /// What is wrong and how to mend it, in Swedish.
    pub sv: String,
    /// The same in English.
    pub en: String,
    /// Where in a table or source document the finding comes from: `activity.toml row 4, source codes[1].code`.
    pub origin: Option<String>,
}

impl Issue {
    pub fn new(
        severity: Severity,
        code: Code,
        expression: impl Into<String>,
        sv: impl Into<String>,
        en: impl Into<String>,
    ) -> Self {
        Self { severity, code, expression: expression.into(), sv: sv.into(), en: en.into(), origin: None }
    }

    pub fn error(code: Code, expression: impl Into<String>, sv: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, expression, sv, en)
    }

    pub fn warning(code: Code, expression: impl Into<String>, sv: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, expression, sv, en)
    }

    pub fn information(expression: impl Into<String>, sv: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(Severity::Information, Code::Informational, expression, sv, en)
    }

    /// The same finding with its place in a table or source.
    #[must_use]
    pub fn from(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Whether a document with this finding is refused.
    pub fn is_error(&self) -> bool {
        self.severity >= Severity::Error
    }

    /// `Procedure.code — … | … [activity.toml row 4]`: one line for people.
    pub fn line(&self) -> String {
        let origin = self.origin.as_ref().map_or(String::new(), |o| format!(" [{o}]"));
        format!("{} — {} | {}{origin}", self.expression, self.sv, self.en)
    }

    fn to_json(&self) -> Value {
        let mut issue = json!({
            "severity": self.severity.code(),
            "code": self.code.code(),
            "details": { "text": format!("{} | {}", self.sv, self.en) },
        });
        if !self.expression.is_empty() {
            issue["expression"] = json!([self.expression]);
        }
        if let Some(origin) = &self.origin {
            issue["diagnostics"] = json!(origin);
        }
        issue
    }
}

/// Stands in a path for a name that could be anything.
pub const UNKNOWN_NAME: &str = "(unknown name)";

/// The name of a field as a finding may repeat it: what a sender wrote as a name can be a personnummer.
pub fn shown_name(name: &str) -> &str {
    let inner = name.strip_prefix('_').unwrap_or(name);
    let plain = inner.len() <= 40
        && inner.starts_with(|c: char| c.is_ascii_alphabetic())
        && inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if plain && !has_number(inner) { name } else { UNKNOWN_NAME }
}

/// The id of a resource as a finding may repeat it: one of ours, or one that holds no number.
pub fn shown_id(id: &str) -> &str {
    let plain = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    if uuid::Uuid::try_parse(id).is_ok() || (plain && !has_number(id)) { id } else { "(unknown id)" }
}

/// Whether the text has six digits in a row: a date of birth, or more.
fn has_number(text: &str) -> bool {
    let digits = text.as_bytes().split(|b| !b.is_ascii_digit());
    digits.into_iter().any(|run| run.len() >= 6)
}

/// Whether any finding refuses the document.
pub fn any_error(issues: &[Issue]) -> bool {
    issues.iter().any(Issue::is_error)
}

/// Findings as an OperationOutcome, worst first, otherwise in the order they were found.
/// With no findings it says that all is well, because R4 requires at least one issue.
pub fn outcome(issues: &[Issue]) -> Value {
    let mut sorted: Vec<&Issue> = issues.iter().collect();
    sorted.sort_by_key(|i| std::cmp::Reverse(i.severity));
    let mut list: Vec<Value> = sorted.into_iter().map(Issue::to_json).collect();
    if list.is_empty() {
        list.push(Issue::information("", "Inga anmärkningar.", "No findings.").to_json());
    }
    json!({ "resourceType": "OperationOutcome", "issue": list })
}

/// The longest name that is told back.
const LONGEST_NAME: usize = 31;

/// A name that the caller wrote, where it can be nothing but a name; otherwise nothing, because it may be a person's number
/// or whatever else was put in the wrong place.
pub fn told(name: &str) -> &str {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_name = starts && name.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-'));
    if is_name && name.len() <= LONGEST_NAME { name } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_anything_is_not_repeated() {
        for name in ["reasonCode", "_given", "x-1", "a12345", "valueBase64Binary"] {
            assert_eq!(shown_name(name), name);
        }
        let long = "a".repeat(41);
        for name in ["195009072553", "p195009", "Tolvan Tolvansson", "å", "", "_", "a.b", long.as_str()] {
            assert_eq!(shown_name(name), UNKNOWN_NAME, "{name}");
        }
    }

    #[test]
    fn an_id_is_repeated_when_it_is_a_uuid_or_holds_no_number() {
        for id in ["2f1ab999-1234-5678-9012-0123456789ab", "p1", "1.2"] {
            assert_eq!(shown_id(id), id);
        }
        for id in ["195009072553", "19500907-2553", "Tolvan Tolvansson", "p/å"] {
            assert_eq!(shown_id(id), "(unknown id)", "{id}");
        }
    }
}
