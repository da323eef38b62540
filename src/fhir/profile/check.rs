//! Proves a package on its own examples: every good one passes, every bad one gives exactly the finding it was made for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Files, Profiles};
use crate::fhir::canonical::BASE;
use crate::fhir::guard::{self, Limits};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::validate::{Context, validate_as};

/// What `examples/expected.toml` says of one bad example.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    code: String,
    expression: String,
}

const EXPECTED: &str = "examples/expected.toml";

/// Every finding of a package: of loading it, and of its examples.
pub fn check(files: &Files) -> Vec<Issue> {
    let (profiles, mut issues) = Profiles::load(files);
    let expected: BTreeMap<String, Expected> = match files.get(EXPECTED).map(|text| toml::from_str(text)) {
        Some(Ok(expected)) => expected,
        Some(Err(_)) => {
            issues.push(fault("filen går inte att läsa", "the file cannot be read", EXPECTED));
            return issues;
        }
        None => BTreeMap::new(),
    };
    for url in profiles.urls() {
        let Some(name) = url.strip_prefix(BASE).and_then(|u| u.strip_prefix("/StructureDefinition/")) else { continue };
        if profiles.is_extension(url) {
            continue;
        }
        let good = format!("examples/{name}.good.json");
        for issue in findings(&profiles, files, &good, url) {
            let (sv, en) = (format!("borde gå igenom: {}", issue.sv), format!("should pass: {}", issue.en));
            issues.push(Issue::error(issue.code, issue.expression, sv, en).from(good.as_str()));
        }
        let bad = format!("examples/{name}.bad.json");
        let found = findings(&profiles, files, &bad, url);
        let Some(due) = expected.get(name) else {
            issues.push(fault(
                &format!("säger inget om {name}.bad.json"),
                &format!("says nothing of {name}.bad.json"),
                EXPECTED,
            ));
            continue;
        };
        if !matches!(&found[..], [one] if one.code.code() == due.code && one.expression == due.expression) {
            let list: Vec<String> = found.iter().map(|i| format!("{} {}", i.code.code(), i.expression)).collect();
            let list = list.join("; ");
            issues.push(fault(
                &format!("borde ge just {} {}, gav: {list}", due.code, due.expression),
                &format!("should give just {} {}, gave: {list}", due.code, due.expression),
                &bad,
            ));
        }
    }
    issues
}

fn findings(profiles: &Profiles, files: &Files, name: &str, url: &str) -> Vec<Issue> {
    let Some(text) = files.get(name) else {
        return vec![Issue::error(Code::NotFound, "", "exemplet saknas", "the example is missing")];
    };
    match guard::read(text.as_bytes(), &Limits::RESOURCE) {
        (Some(resource), _) => validate_as(&resource, &[url], &Context { profiles, codes: profiles.codes() }),
        (None, issues) => issues,
    }
}

fn fault(sv: &str, en: &str, file: &str) -> Issue {
    Issue::error(Code::Processing, "", sv, en).from(file)
}
