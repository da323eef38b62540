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
