//! What the command line does without a server: map, check, validate; and the few calls it makes to a running one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::Conformance;
use crate::assets;
use crate::config::{Channel, Config, Files};
use crate::domain::{Format, Kind};
use crate::drop::try_folders;
use crate::fhir::bundle::{Dialect, TaskMode, transaction};
use crate::fhir::document::{beside_the_schema, rules};
use crate::fhir::guard::{self, Limits};
use crate::fhir::issue::{Code, Issue, any_error, outcome};
use crate::fhir::validate::not_enforced;
use crate::fhir::{cursor, profile};
use crate::mapping::{ExampleIds, Mappings, traced, unwritten};
use crate::rules::check_cases;

/// Prints a line, and ends quietly where nobody reads any more (`vardkedja map … | head`).
macro_rules! say {
    ($($word:tt)*) => {
        if writeln!(std::io::stdout(), $($word)*).is_err() {
            return Ok(true);
        }
    };
}

/// How a document is to be mapped.
#[derive(Debug, Clone, Copy)]
pub struct MapWish {
    pub kind: Kind,
    pub format: Format,
    pub back: bool,
    pub explain: bool,
}

/// Prints the Bundle (or the document) on standard output and findings on standard error; false where there are errors.
pub fn map(bytes: &[u8], wish: MapWish, folder: Option<&Path>) -> anyhow::Result<bool> {
    let files = assets::mapping_files(folder).context("cannot read the mapping tables")?;
    let (mappings, issues) = Mappings::load(&files);
    report(&issues.into_iter().filter(Issue::is_error).collect::<Vec<_>>());
    if wish.back { back(&mappings, bytes, wish) } else { out(&mappings, bytes, wish) }
}

fn out(mappings: &Mappings, bytes: &[u8], wish: MapWish) -> anyhow::Result<bool> {
    let (tree, mut issues) = match wish.format {
        Format::Json => guard::read(bytes, &Limits::DOCUMENT),
        Format::Riv => match mappings.parse(wish.kind, wish.format, bytes) {
            Ok(mut source) => {
                source.issues.extend(beside_the_schema(&source.tree));
                (Some(source.tree), source.issues)
            }
            Err(issues) => (None, issues),
        },
    };
    let Some(tree) = tree.filter(|_| !any_error(&issues)) else {
        report(&issues);
        return Ok(false);
    };
    let table = match mappings.choose(wish.kind, wish.format, &tree) {
        Ok(table) => table,
        Err(issue) => {
            report(&[issue]);
            return Ok(false);
        }
    };
    let mapped = table.explain(&tree, &ExampleIds);
    issues.extend(mapped.issues);
    let resources: Vec<Value> = mapped.resources.into_iter().map(|m| m.value).collect();
    if wish.explain {
        for line in &mapped.trace {
            let via = line.via.as_ref().map_or(String::new(), |v| format!(" via {v}"));
            eprintln!("{} ← {}{via}   [{}]", line.expression, line.source, line.origin);
        }
    }
    issues.extend(rules(&resources));
    let (conformance, _) = Conformance::load(&assets::profile_files(None).context("cannot read the profiles")?);
    for resource in &resources {
        let found = conformance.validate(std::slice::from_ref(resource));
        issues.extend(found.into_iter().map(|issue| traced(issue, resource, &mapped.trace)));
    }
    let bundle = transaction(&resources, TaskMode::CreateOnce, &Dialect::default());
    say!("{}", serde_json::to_string_pretty(&bundle)?);
    report(&issues);
    Ok(!any_error(&issues))
}

fn back(mappings: &Mappings, bytes: &[u8], wish: MapWish) -> anyhow::Result<bool> {
    let value = match guard::parse(bytes, &Limits::RESOURCE) {
        Ok(value) => value,
        Err(issues) => {
            report(&issues);
            return Ok(false);
        }
    };
    let resources = resources_of(&value);
    let candidates = mappings.tables().filter(|t| t.kind() == wish.kind && t.format() == wish.format);
    // The table that finds everything it needs is the one that made them.
    let Some((table, back)) = candidates
        .map(|t| (t, t.back(&resources)))
        .min_by_key(|(_, back)| back.issues.iter().filter(|i| i.is_error()).count())
    else {
        bail!("there is no table for {} in {}", wish.kind, wish.format);
    };
    match wish.format {
        Format::Json => say!("{}", serde_json::to_string_pretty(&back.tree)?),
        Format::Riv => say!("{}", String::from_utf8_lossy(&mappings.write(table, &back.tree))),
    }
    report(&back.issues);
    Ok(!any_error(&back.issues))
}

/// The resources of a Bundle (its `urn:uuid:` references put right), of an array, or the one.
fn resources_of(value: &Value) -> Vec<Value> {
    let Some(entries) = value["entry"].as_array() else {
        return value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    };
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut resources = Vec::new();
    for entry in entries {
        let mut resource = entry["resource"].clone();
        if let (Some(full), Some(kind)) =
            (entry["fullUrl"].as_str(), resource["resourceType"].as_str().map(str::to_owned))
        {
            let id = full.trim_start_matches("urn:uuid:").rsplit('/').next().unwrap_or_default().to_owned();
            names.insert(full.to_owned(), format!("{kind}/{id}"));
            resource["id"] = json!(id);
        }
        resources.push(resource);
    }
    for resource in &mut resources {
        crate::fhir::resource::visit_references(resource, &mut |reference| {
            let name = reference.get("reference").and_then(Value::as_str).and_then(|r| names.get(r));
            if let Some(name) = name {
                let name = json!(name);
                reference.insert("reference".into(), name);
            }
        });
    }
    resources
}

/// Says what settings come to, what is legal and surprising in them, and what of the files that they name is not there; false where
/// something is wrong. That they could be read at all is known by then.
pub fn check_settings(config: &Config) -> bool {
    let mut lines =
        vec![format!("{} units, {} clients", config.directory.iter().count(), config.agreements.now().clients.len())];
    for partner in &config.partners {
        let channel = match &partner.channel {
            Channel::Push { .. } => "push",
            Channel::Poll => "poll",
        };
        let units = config.directory.of_partner(&partner.name).count();
        let assumed = if partner.assumed.is_some() { ", ASSUMED" } else { "" };
        lines.push(format!("partner {}: {channel}, {units} units{assumed}", partner.name));
    }
    let mut wrong = Vec::new();
    for drop in &config.drops {
        let format = match drop.files {
            Files::Whole(format) => format.name(),
            Files::Lines => "ndjson",
        };
        lines.push(format!("drop {}: {} as {format}, from {}", drop.name, drop.kind, drop.partner));
        wrong.extend(try_folders(drop).into_iter().map(|what| format!("drop {}: {what}", drop.name)));
    }
    lines.extend(config.warnings.iter().map(|warning| format!("warning: {warning}")));
    for line in lines {
        if writeln!(std::io::stdout(), "{line}").is_err() {
            break;
        }
    }
    for what in &wrong {
        eprintln!("error: {what}");
    }
    wrong.is_empty()
}

/// The rule sets as pages that a clinician reads.
pub fn pages(profiles: Option<&Path>, own_rules: Option<&Path>) -> anyhow::Result<bool> {
    let package = assets::package_files(profiles, own_rules).context("cannot read the profiles")?;
    let (conformance, issues) = Conformance::load(&package);
    for issue in issues.iter().filter(|issue| issue.is_error()) {
        say!("{}", issue.line());
    }
    for set in conformance.rules.all() {
        say!("{}", crate::rules::page(set, &conformance.rules.inputs).trim_end());
    }
    Ok(!issues.iter().any(Issue::is_error))
}

/// Checks tables, profiles and rules; prints every finding, and false where one is an error.
pub fn check(mappings: Option<&Path>, profiles: Option<&Path>, own_rules: Option<&Path>) -> anyhow::Result<bool> {
    let files = assets::mapping_files(mappings).context("cannot read the mapping tables")?;
    let (tables, mut issues) = Mappings::load(&files);
    issues.extend(tables.check(&files));
    let package = assets::package_files(profiles, own_rules).context("cannot read the profiles")?;
    for kind in Kind::ALL {
        if !tables.tables().any(|t| t.kind() == kind) {
            issues.push(Issue::error(
                Code::NotFound,
                kind.name(),
                "Det finns ingen tabell för dokumentet.",
                "There is no table for the document.",
            ));
        }
    }
    issues.extend(profile::check(&package));
    let (conformance, found) = Conformance::load(&package);
    // What the profiles' own check has said is said once.
    issues.extend(found.into_iter().filter(|issue| {
        let said = ["PlanDefinition", "CodeSystem.concept", "SubscriptionTopic"];
        said.iter().any(|start| issue.expression.starts_with(start))
    }));
    issues.extend(check_cases(&conformance.rules, &package));
    issues.extend(unwritten(&tables, &conformance.profiles));
    issues.extend(check_examples(&files, &conformance));
    for difference in cursor::differences() {
        issues.push(Issue::error(Code::Structure, "src/fhir/r4.tsv", "Schemat och fhirbolt skiljer sig.", difference));
    }
    for (path, key, why) in not_enforced() {
        say!("not enforced: {key} on {path}: {why}");
    }
    report(&issues);
    let errors = issues.iter().filter(|i| i.is_error()).count();
    let rules: usize = conformance.rules.all().iter().map(|set| set.rules().count()).sum();
    say!("{rules} rules in {} rule sets", conformance.rules.all().len());
    say!("{} tables, {errors} errors, {} other findings", tables.tables().count(), issues.len() - errors);
    Ok(errors == 0)
}

/// What the examples become follows the profiles it claims: a table that leaves out what a profile requires is found here.
fn check_examples(files: &assets::Files, conformance: &Conformance) -> Vec<Issue> {
    let results = files.iter().filter(|(name, _)| name.ends_with(".fhir.json"));
    let resources = results.flat_map(|(name, text)| {
        let list: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        list.into_iter().map(move |resource| (name, resource))
    });
    resources
        .flat_map(|(name, resource)| {
            let found = conformance.validate(&[resource]);
            found.into_iter().filter(Issue::is_error).map(move |issue| issue.from(name.clone()))
        })
        .collect()
}

/// Validates each file; one OperationOutcome a line, in the order given.
pub fn validate(files: &[PathBuf], profiles: Option<&Path>) -> anyhow::Result<bool> {
    let package = assets::profile_files(profiles).context("cannot read the profiles")?;
    let (conformance, issues) = Conformance::load(&package);
    report(&issues.into_iter().filter(Issue::is_error).collect::<Vec<_>>());
    let mut good = true;
    for file in files {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let issues = match guard::parse(&bytes, &Limits::RESOURCE) {
            Ok(resource) => conformance.validate(&[resource]),
            Err(issues) => issues,
        };
        good &= !any_error(&issues);
        say!("{}", outcome(&issues));
    }
    Ok(good)
}

fn report(issues: &[Issue]) {
    for issue in issues {
        eprintln!("{}: {}", issue.severity.code(), issue.line());
    }
}

/// Asks a running gateway, and prints what it answers.
pub async fn get(url: &str, token: Option<String>, path: &str) -> anyhow::Result<bool> {
    show(crate::partner::call(url, token, path, None).await?)
}

/// Tells a running gateway something, and prints what it answers.
pub async fn post(url: &str, token: Option<String>, path: &str, body: Value) -> anyhow::Result<bool> {
    show(crate::partner::call(url, token, path, Some(body)).await?)
}

/// Sends deliveries again, or shows what would be sent: page after page, until all that matches was looked at. False where it
/// ended before that; asking once more is harmless.
pub async fn resend(url: &str, token: Option<String>, mut wish: Value) -> anyhow::Result<bool> {
    let (mut sends, mut left_out, mut after) = (0, 0, 0);
    loop {
        let (status, answer) =
            crate::partner::call(url, token.clone(), "/v1/deliveries/resend", Some(wish.clone())).await?;
        let (count, next) = (answer["count"].as_u64().unwrap_or(0), answer["next"].as_i64());
        let more = answer["more"] == true;
        left_out += answer["leftOut"].as_array().map_or(0, Vec::len);
        sends += count;
        let is_done = show((status, answer))? && !more;
        if is_done {
            let what = if wish["preview"] == true { "would be sent" } else { "sent" };
            eprintln!("{sends} {what}, {left_out} left out; that is all that matches");
            return Ok(true);
        }
        match next.filter(|next| more && *next > after) {
            Some(next) => after = next,
            None => {
                eprintln!("it ended before everything was looked at ({sends} so far): ask again");
                return Ok(false);
            }
        }
        wish["after"] = json!(after);
    }
}

fn show((status, body): (u16, Value)) -> anyhow::Result<bool> {
    say!("{}", serde_json::to_string_pretty(&body)?);
    Ok((200..300).contains(&status))
}
