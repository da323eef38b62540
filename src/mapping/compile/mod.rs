//! From a table's text to its plan: every path, name, converter, code map and link looked up, all findings at once.

mod element;
mod rules;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use self::element::{Choice, Elements, End, Reached, Scope, check_value};
use self::source::{Base, Sources};
use super::codes::CodeMap;
use super::convert::{self, Makes};
use super::near;
use super::path::{Step, Take, lists};
use super::plan::{
    Block, Class, EnvelopePaths, FhirPath, Fixed, Group, Guard, KeyRead, Link, Need, Profile, Row, SourcePath, Table,
    Via,
};
use super::shape::Shape;
use super::table::{AliasText, BlockText, FixedText, GroupText, Only, RowText, TableText};
use crate::fhir::canonical::BASE;
use crate::fhir::issue::{Code, Issue, any_error};
use crate::fhir::r4;

/// What tables refer to by name.
#[derive(Debug, Default)]
pub(super) struct Library {
    pub codes: BTreeMap<String, Arc<CodeMap>>,
    pub shapes: BTreeMap<String, Arc<Shape>>,
}

/// Resource types that stand for someone outside the document.
const ACTORS: &[&str] = &["Patient", "Organization", "Practitioner", "PractitionerRole", "RelatedPerson", "Location"];

/// Compiles a table; with an error finding there is none.
pub(super) fn compile(text: &TableText, library: &Library, version: String, issues: &mut Vec<Issue>) -> Option<Table> {
    let mut found = Vec::new();
    let shape = text.shape.as_ref().and_then(|name| match library.shapes.get(name) {
        Some(shape) => Some(Arc::clone(shape)),
        None => {
            let (sv, en) = near::hint(name, library.shapes.keys().map(String::as_str));
            found.push(
                Issue::error(
                    Code::NotFound,
                    name.clone(),
                    format!("Det finns ingen form shapes/{name}.shape.{sv}"),
                    format!("There is no shape shapes/{name}.shape.{en}"),
                )
                .from(text.file.clone()),
            );
            None
        }
    });
    if (text.format == crate::domain::Format::Riv) != text.shape.is_some() {
        found.push(error(
            &text.file,
            "shape",
            "Formatet riv har en form (shape), json ingen.",
            "The format riv has a shape, json none.",
        ));
    }
    let table = if any_error(&found) {
        None
    } else {
        let compiler = Compiler {
            text,
            library,
            sources: Sources::new(shape.as_deref()),
            elements: Elements::new(&text.aliases),
            bases: Vec::new(),
            issues: &mut found,
        };
        Some(compiler.table(shape.clone(), version))
    };
    let broken = any_error(&found);
    issues.extend(found);
    table.filter(|_| !broken)
}

struct Compiler<'a> {
    text: &'a TableText,
    library: &'a Library,
    sources: Sources<'a>,
    elements: Elements<'a>,
    /// Where the items of each block are.
    bases: Vec<Base>,
    issues: &'a mut Vec<Issue>,
}

impl Compiler<'_> {
    fn table(mut self, shape: Option<Arc<Shape>>, version: String) -> Table {
        let text = self.text;
        let guard = self.guards(&Base::default(), &text.when, &text.file);
        self.mention();
        for block in &text.blocks {
            let base = match &block.each {
                None => Base::default(),
                Some(each) => self.sources.base(&Base::default(), each).unwrap_or_else(|issue| {
                    self.issues.push(issue.from(format!("{} each", block.origin)));
                    Base::default()
                }),
            };
            self.bases.push(base);
        }
        let mut blocks: Vec<Block> = text.blocks.iter().enumerate().filter_map(|(n, b)| self.block(n, b)).collect();
        if blocks.is_empty() && text.blocks.is_empty() {
            self.issues.push(error(&text.file, "resource", "Tabellen har inga block.", "The table has no blocks."));
        }
        // Links count blocks by their place, so nothing more can be said about a table that lacks one.
        let whole = blocks.len() == text.blocks.len();
        if whole {
            for (n, block) in text.blocks.iter().enumerate() {
                let key = self.key(n, block);
                if let Some(compiled) = blocks.get_mut(n) {
                    compiled.key_reads = key.iter().map(|k| key_reads(compiled, k, &self.sources)).collect();
                    compiled.key = key;
                }
            }
            borrowed_keys(&mut blocks);
            rules::check(&mut blocks, &self.sources, text, self.issues);
        }
        let anchor = match &text.anchor {
            None => 0,
            Some(name) => blocks.iter().position(|b| b.name == *name).unwrap_or_else(|| {
                let (sv, en) = near::hint(name, text.blocks.iter().map(|b| b.name.as_str()));
                self.issues.push(error(
                    &text.file,
                    "anchor",
                    format!("Det finns inget block {name}.{sv}"),
                    format!("There is no block {name}.{en}"),
                ));
                0
            }),
        };
        let envelope = self.envelope();
        Table {
            name: text.file.trim_end_matches(".toml").to_owned(),
            version,
            kind: text.kind,
            format: text.format,
            shape,
            guard,
            envelope,
            blocks,
            anchor,
        }
    }

    /// Names all source fields in the order of the file, which is the order they come back in. What is wrong with a
    /// path is told when its row is compiled.
    fn mention(&mut self) {
        for block in &self.text.blocks {
            let base = block.each.as_ref().and_then(|each| self.sources.base(&Base::default(), each).ok());
            let base = base.unwrap_or_default();
            for (path, _) in &block.when {
                let _ = self.sources.path(&base, path);
            }
            self.mention_group(&base, &block.group);
        }
    }

    fn mention_group(&mut self, base: &Base, group: &GroupText) {
        for row in &group.rows {
            for path in row.when.iter().map(|(path, _)| path).chain(&row.source) {
                let _ = self.sources.path(base, path);
            }
        }
        for part in &group.parts {
            let inner = part.each.as_ref().and_then(|each| self.sources.base(base, each).ok());
            self.mention_group(inner.as_ref().unwrap_or(base), part);
        }
        for fixed in &group.fixed {
            for path in fixed.when.iter().map(|(path, _)| path).chain(&fixed.source) {
                let _ = self.sources.path(base, path);
            }
        }
    }

    fn block(&mut self, number: usize, text: &BlockText) -> Option<Block> {
        let place = r4::resources().iter().find(|r| **r == text.resource_type);
        let Some(resource_type) = place else {
            let (sv, en) = near::hint(&text.resource_type, r4::resources().iter().copied());
            let name = &text.resource_type;
            self.issues.push(
                Issue::error(
                    Code::NotFound,
                    "type",
                    format!("Resurstypen {name} är inte känd.{sv}"),
                    format!("The resource type {name} is not known.{en}"),
                )
                .from(text.origin.clone()),
            );
            return None;
        };
        if self.text.blocks.iter().take(number).any(|b| b.name == text.name) {
            self.issues.push(error(
                &text.origin,
                "name",
                "Två block har samma namn.",
                "Two blocks have the same name.",
            ));
        }
        let base = self.bases.get(number).cloned().unwrap_or_default();
        let guard = self.guards(&base, &text.when, &text.origin);
        let scope = Scope { content: resource_type, key: (*resource_type).to_owned(), steps: Vec::new() };
        self.elements.usage = element::Usage::default();
        let group = self.group(&base, &scope, &text.group, Vec::new(), Vec::new(), Vec::new());
        let profile = text.profile.as_ref().map(|name| self.profile(resource_type, name));
        self.mixed_lists(text);
        let mut block = Block {
            name: text.name.clone(),
            resource_type,
            actor: ACTORS.contains(resource_type),
            each_text: self.sources.text(base.node),
            each: base.steps,
            chain: base.chain,
            key: Vec::new(),
            key_reads: Vec::new(),
            placed_by_key: false,
            need: text.need,
            guard,
            profile,
            group,
            standing: Vec::new(),
            made: true,
            parent: None,
            origin: text.origin.clone(),
        };
        let mut from_source = block.rows().into_iter().filter(|(_, row)| row.source.is_some()).peekable();
        block.made = from_source.peek().is_none() || from_source.any(|(_, row)| row.only != Only::Back);
        if block.made {
            self.required(&block);
        }
        rules::tie(&mut block, self.issues);
        Some(block)
    }

    fn group(
        &mut self,
        base: &Base,
        scope: &Scope,
        text: &GroupText,
        each: Vec<Step>,
        into: Vec<Step>,
        guard: Vec<Guard>,
    ) -> Group {
        let rows = text.rows.iter().filter_map(|row| self.row(base, scope, row)).collect();
        let parts = text.parts.iter().filter_map(|part| self.part(base, scope, part)).collect();
        let fixed = text.fixed.iter().filter_map(|fixed| self.fixed(base, scope, fixed)).collect();
        Group {
            each,
            into,
            chain: base.chain.clone(),
            need: None,
            guard,
            rows,
            fixed,
            parts,
            origin: text.origin.clone(),
        }
    }

    fn part(&mut self, base: &Base, scope: &Scope, text: &GroupText) -> Option<Group> {
        let inner = match &text.each {
            Some(each) if each.starts_with('/') => {
                self.issues.push(error(
                    &text.origin,
                    each,
                    "En dels each utgår från blockets objekt, inte från dokumentets rot.",
                    "A part's each starts from the block's item, not from the document's root.",
                ));
                return None;
            }
            Some(each) => {
                let inner = self.sources.base(base, each);
                self.said(inner, &text.origin)?
            }
            None => base.clone(),
        };
        let (mut steps, mut place) = (Vec::new(), scope.clone());
        if let Some(into) = &text.into {
            let reached = self.elements.path(scope, into, End::Inside, writes(text), &text.origin);
            let reached = self.said(reached, &text.origin)?;
            steps = reached.steps.clone();
            let full = scope.steps.iter().cloned().chain(reached.steps).collect();
            place = Scope { content: reached.content, key: reached.key, steps: full };
        }
        let each_steps = inner.steps.get(base.steps.len()..).unwrap_or(&[]).to_vec();
        if lists(&each_steps) != lists(&steps) {
            self.unequal(text.each.as_deref().unwrap_or("."), text.into.as_deref().unwrap_or("."), &text.origin);
            return None;
        }
        let guard = self.guards(&inner, &text.when, &text.origin);
        let need = text.need.then(|| Need { source: inner.steps.clone(), fhir: place.steps.clone() });
        let group = self.group(&inner, &place, text, each_steps, steps, guard);
        Some(Group { need, ..group })
    }

    fn row(&mut self, base: &Base, scope: &Scope, text: &RowText) -> Option<Row> {
        let via = match &text.via {
            Some(name) => Some(self.via(name, &text.origin)?),
            None => None,
        };
        let end = match (&text.link, &via) {
            (Some(_), None) => End::Link,
            (Some(_), Some(_)) => {
                self.issues.push(error(
                    &text.origin,
                    "via",
                    "En länk omvandlas inte; ta bort via.",
                    "A link is not converted; remove via.",
                ));
                return None;
            }
            (None, Some(Via::Convert(converter))) => match converter.makes {
                Makes::Element(kind, _) => End::Element(kind),
                Makes::Value(_) => End::Value,
            },
            (None, _) => End::Value,
        };
        let reached = self.elements.path(scope, &text.fhir, end, text.only != Only::Back, &text.origin);
        let reached = self.said(reached, &text.origin)?;
        let source = match &text.source {
            Some(source) => {
                let path = self.sources.path(base, source);
                Some(self.said(path, &text.origin)?)
            }
            None => None,
        };
        let own_lists = lists(&reached.steps);
        if let Some(source) = &source
            && lists(source.tail()) != own_lists
        {
            self.unequal(text.source.as_deref().unwrap_or_default(), &text.fhir, &text.origin);
            return None;
        }
        let link = match &text.link {
            Some(name) => Some(self.link(base, name, text, &reached, own_lists)?),
            None => {
                self.typed(text, &reached, via.as_ref());
                None
            }
        };
        let guard = self.guards(base, &text.when, &text.origin);
        Some(Row {
            source,
            fhir: fhir_path(scope, reached, &text.fhir, end),
            link,
            via,
            need: text.need,
            only: text.only,
            guard,
            below_link: None,
            origin: text.origin.clone(),
        })
    }

    fn link(&mut self, base: &Base, name: &str, text: &RowText, reached: &Reached, own_lists: usize) -> Option<Link> {
        let Some(block) = self.text.blocks.iter().position(|b| b.name == name) else {
            let (sv, en) = near::hint(name, self.text.blocks.iter().map(|b| b.name.as_str()));
            self.issues.push(
                Issue::error(
                    Code::NotFound,
                    "link",
                    format!("Det finns inget block {name}.{sv}"),
                    format!("There is no block {name}.{en}"),
                )
                .from(text.origin.clone()),
            );
            return None;
        };
        let target = self.text.blocks.get(block)?;
        let kind = target.resource_type.as_str();
        if !reached.targets.is_empty() && !reached.targets.contains(&kind) && !reached.targets.contains(&"Resource") {
            let allowed = reached.targets.join(", ");
            self.issues.push(error(
                &text.origin,
                &text.fhir,
                format!("Referensen får inte peka på {kind}; R4 tillåter {allowed}."),
                format!("The reference may not point at {kind}; R4 allows {allowed}."),
            ));
        }
        let by_key = text.source.is_some();
        if by_key && target.key.len() != 1 {
            self.issues.push(error(
                &text.origin,
                "link",
                format!("En länk med source kräver att {name} har precis en key."),
                format!("A link with source needs {name} to have exactly one key."),
            ));
        }
        let chain = &self.bases.get(block)?.chain;
        let common = base.chain.iter().zip(chain).take_while(|(a, b)| a == b).count();
        if !by_key && own_lists > 1 {
            self.issues.push(error(
                &text.origin,
                &text.fhir,
                "En länk har högst en egen [].",
                "A link has at most one [] of its own.",
            ));
            return None;
        }
        if !by_key && chain.len() > common && own_lists == 0 {
            self.issues.push(error(
                &text.origin,
                &text.fhir,
                format!("Det kan finnas flera {name}; vägen behöver []."),
                format!("There may be several {name}; the path needs []."),
            ));
        }
        Some(Link { block, common, appends: !by_key && own_lists == 1, by_key })
    }

    /// Whether what a row carries is of the element's type, as far as can be known without a document.
    fn typed(&mut self, text: &RowText, reached: &Reached, via: Option<&Via>) {
        let class = Class::of(reached.type_code);
        let (sv, en) = class.words();
        match via {
            None if class != Class::Text && self.sources.is_xml() => {
                let kind = reached.type_code;
                self.issues.push(error(
                    &text.origin,
                    &text.fhir,
                    format!("{kind} är {sv} i JSON men XML har bara texter; använd via."),
                    format!("{kind} is {en} in JSON but XML has only texts; use via."),
                ));
            }
            None => {}
            Some(Via::Convert(converter)) => {
                if let Makes::Value(types) = converter.makes
                    && !types.contains(&reached.type_code)
                {
                    let (name, kind, types) = (converter.name, reached.type_code, types.join(", "));
                    self.issues.push(error(
                        &text.origin,
                        &text.fhir,
                        format!("{name} gör {types}, men här står {kind}."),
                        format!("{name} makes {types}, but this is {kind}."),
                    ));
                }
            }
            Some(Via::Codes(map)) => {
                if text.only == Only::Back {
                    return;
                }
                for value in map.targets() {
                    if let Err(issue) = check_value(&text.fhir, value, reached) {
                        self.issues.push(issue.from(format!("{} via {}", text.origin, map.name)));
                    }
                }
            }
        }
    }

    fn fixed(&mut self, base: &Base, scope: &Scope, text: &FixedText) -> Option<Fixed> {
        let source = match &text.source {
            Some(source) => {
                let path = self.sources.path(base, source);
                let path = self.said(path, &text.origin)?;
                self.plain(&path, &text.constant, &text.origin);
                Some(path)
            }
            None => None,
        };
        if source.is_some() && !text.when.is_empty() {
            self.issues.push(error(
                &text.origin,
                "when",
                "En konstant i källan har inget villkor.",
                "A constant in the source has no guard.",
            ));
        }
        let fhir = match &text.fhir {
            Some(fhir) => {
                let reached = self.elements.path(scope, fhir, End::Value, text.only != Only::Back, &text.origin);
                let reached = self.said(reached, &text.origin)?;
                if let Err(issue) = check_value(fhir, &text.constant, &reached) {
                    self.issues.push(issue.from(text.origin.clone()));
                }
                Some(fhir_path(scope, reached, fhir, End::Value))
            }
            None => None,
        };
        let guard = self.guards(base, &text.when, &text.origin);
        let (value, only, origin) = (text.constant.clone(), text.only, text.origin.clone());
        Some(Fixed { source, fhir, tie: 0, source_tie: 0, value, only, guard, origin })
    }

    fn guards(&mut self, base: &Base, when: &[(String, Value)], origin: &str) -> Vec<Guard> {
        let mut guards = Vec::new();
        for (text, value) in when {
            let path = self.sources.path(base, text);
            let Some(path) = self.said(path, &format!("{origin} when")) else { continue };
            self.plain(&path, value, &format!("{origin} when"));
            guards.push(Guard { path, value: value.clone() });
        }
        guards
    }

    /// A constant or guard looks at one text, number or flag.
    fn plain(&mut self, path: &SourcePath, value: &Value, origin: &str) {
        if lists(path.tail()) > 0 {
            self.issues.push(error(origin, &path.text, "Vägen får inte ha [].", "The path may not have []."));
        }
        if self.sources.is_xml() && !value.is_string() {
            self.issues.push(error(
                origin,
                &path.text,
                format!("XML har bara texter; skriv \"{value}\"."),
                format!("XML has only texts; write \"{value}\"."),
            ));
        }
    }

    fn via(&mut self, name: &str, origin: &str) -> Option<Via> {
        if let Some(converter) = convert::find(name) {
            return Some(Via::Convert(converter));
        }
        if let Some(map) = self.library.codes.get(name) {
            return Some(Via::Codes(Arc::clone(map)));
        }
        let converters = convert::CONVERTERS.iter().map(|c| c.name);
        let (sv, en) = near::hint(name, converters.chain(self.library.codes.keys().map(String::as_str)));
        self.issues.push(
            Issue::error(
                Code::NotFound,
                "via",
                format!("Det finns ingen omvandlare eller kodmappning {name}.{sv}"),
                format!("There is no converter or code map {name}.{en}"),
            )
            .from(origin),
        );
        None
    }

    fn profile(&mut self, resource_type: &'static str, name: &str) -> Profile {
        let mut step = |content: &str, name: &str, list: bool, key: &str| Step {
            name: name.into(),
            position: r4::find(content, name).map_or(0, |f| u32::try_from(f.position).unwrap_or(0)),
            list,
            take: Take::First,
            slot: self.elements.slot(key),
            conds: Vec::new(),
        };
        let meta = step(resource_type, "meta", false, &format!("{resource_type}.meta"));
        let list = step("Meta", "profile", true, &format!("{resource_type}.meta.profile[{name}]"));
        Profile { url: format!("{BASE}/StructureDefinition/{name}"), steps: vec![meta, list] }
    }

    fn key(&mut self, number: usize, text: &BlockText) -> Vec<SourcePath> {
        let base = self.bases.get(number).cloned().unwrap_or_default();
        let mut key = Vec::new();
        for path in &text.key {
            if !self.sources.knows(&base, path) {
                let known = self.sources.siblings(&base, path);
                let (sv, en) = near::hint(path, known.iter().map(String::as_str));
                self.issues.push(
                    Issue::error(
                        Code::NotFound,
                        path.clone(),
                        format!("Ingen rad läser nyckeln {path}.{sv}"),
                        format!("No row reads the key {path}.{en}"),
                    )
                    .from(format!("{} key", text.origin)),
                );
                continue;
            }
            let compiled = self.sources.path(&base, path);
            let Some(compiled) = self.said(compiled, &format!("{} key", text.origin)) else { continue };
            if lists(compiled.tail()) > 0 {
                self.issues.push(error(&text.origin, path, "En nyckel får inte ha [].", "A key may not have []."));
            }
            key.push(compiled);
        }
        key
    }

    fn envelope(&mut self) -> EnvelopePaths {
        let text = &self.text.envelope;
        let origin = format!("{} [envelope]", self.text.file);
        let root = Base::default();
        // What rows name, before the envelope names more.
        let known = self.sources.siblings(&root, "");
        let mut steps = |path: &String| -> Option<Vec<Step>> {
            if !self.sources.knows(&root, path) {
                if let Some(near) = near::nearest(path, known.iter().map(String::as_str)) {
                    self.issues.push(
                        Issue::warning(
                            Code::NotFound,
                            path.clone(),
                            format!("Ingen rad läser {path}. Menade du \u{201d}{near}\u{201d}?"),
                            format!("No row reads {path}. Did you mean \u{201c}{near}\u{201d}?"),
                        )
                        .from(origin.clone()),
                    );
                }
            }
            match self.sources.path(&root, path) {
                Ok(path) => Some(path.full),
                Err(issue) => {
                    self.issues.push(issue.from(origin.clone()));
                    None
                }
            }
        };
        EnvelopePaths {
            id: text.id.as_ref().and_then(&mut steps).unwrap_or_default(),
            version: text.version.as_ref().and_then(&mut steps),
            status: text.status.as_ref().and_then(&mut steps),
            unit: text.unit.as_ref().and_then(&mut steps),
            patient: text.patient.as_ref().and_then(&mut steps),
            recipients: text.recipients.iter().filter_map(&mut steps).collect(),
        }
    }

    /// Bare and picked access to one list, or access with and without `[]`.
    fn mixed_lists(&mut self, text: &BlockText) {
        for (list, choices) in &self.elements.usage.lists {
            let mut choices_seen = choices.iter();
            let Some((first, first_origin)) = choices_seen.next() else { continue };
            for (choice, origin) in choices_seen {
                let (sv, en) = match (first, choice) {
                    (Choice::Bare | Choice::Each, Choice::Picked(_) | Choice::EachPicked(_)) => (
                        "väljs med namn på en rad och utan på en annan",
                        "is picked by a name in one row and not in another",
                    ),
                    (Choice::Bare, Choice::Each) => (
                        "står med [] på en rad och utan på en annan",
                        "stands with [] in one row and without in another",
                    ),
                    (Choice::Picked(a), Choice::EachPicked(b)) if a == b => (
                        "väljs med each på en rad och utan på en annan",
                        "is picked with each in one row and without in another",
                    ),
                    (Choice::Picked(a) | Choice::EachPicked(a), Choice::Picked(b) | Choice::EachPicked(b))
                        if overlap(self.text.aliases.get(a), self.text.aliases.get(b)) =>
                    {
                        ("väljs med två namn som båda kan passa", "is picked by two names that can both fit")
                    }
                    _ => continue,
                };
                self.issues.push(error(
                    &text.origin,
                    list,
                    format!("Listan {list} {sv}: {first_origin} och {origin}."),
                    format!("The list {list} {en}: {first_origin} and {origin}."),
                ));
            }
        }
    }

    /// Elements that R4 requires and no row writes.
    fn required(&mut self, block: &Block) {
        for (key, (content, written)) in &self.elements.usage.made {
            for element in r4::children(content).into_iter().filter(|e| e.min > 0) {
                if !written.contains(element.path) {
                    let name = element.name;
                    self.issues.push(
                        Issue::error(
                            Code::Required,
                            format!("{key}.{name}"),
                            format!("R4 kräver {name} i {key}, men ingen rad skriver det."),
                            format!("R4 requires {name} in {key}, but no row writes it."),
                        )
                        .from(block.origin.clone()),
                    );
                }
            }
        }
        if !self.elements.usage.made.contains_key(block.resource_type) {
            self.issues.push(error(&block.origin, &block.name, "Blocket har inga rader.", "The block has no rows."));
        }
    }

    fn unequal(&mut self, source: &str, fhir: &str, origin: &str) {
        self.issues.push(error(
            origin,
            fhir,
            format!("{source} och {fhir} har inte lika många []."),
            format!("{source} and {fhir} do not have the same number of []."),
        ));
    }

    fn said<T>(&mut self, result: Result<T, Issue>, origin: &str) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(issue) => {
                self.issues.push(issue.from(origin));
                None
            }
        }
    }
}

/// Whether anything in the group goes out.
fn writes(group: &GroupText) -> bool {
    group.rows.iter().any(|r| r.only != Only::Back)
        || group.fixed.iter().any(|f| f.only != Only::Back)
        || group.parts.iter().any(writes)
}

fn fhir_path(scope: &Scope, reached: Reached, text: &str, end: End) -> FhirPath {
    let class = match end {
        End::Element(_) => Class::Element,
        _ => Class::of(reached.type_code),
    };
    let full = scope.steps.iter().cloned().chain(reached.steps).collect();
    FhirPath { full, at: scope.steps.len(), text: text.to_owned(), class, type_code: reached.type_code }
}

/// The rows of a block that carry a key, or something around it.
fn key_reads(block: &Block, key: &SourcePath, sources: &Sources<'_>) -> Vec<KeyRead> {
    let mut reads = Vec::new();
    for (_, row) in block.rows() {
        let Some(source) = &row.source else { continue };
        let whole = row.via.as_ref().is_some_and(|via| via.reads().is_some());
        if lists(&row.fhir.full) > 0 || !(source.node == key.node || (whole && sources.within(key.node, source.node))) {
            continue;
        }
        let mut steps = row.fhir.full.clone();
        reads.push(match &row.link {
            Some(link) => {
                steps.pop();
                KeyRead::Link { steps, block: link.block, key: 0 }
            }
            None => {
                let rest = key.full.get(source.full.len()..).unwrap_or(&[]).to_vec();
                KeyRead::Row { steps, via: row.via.clone(), rest }
            }
        });
    }
    let fixed = block.fixed().into_iter().filter(|(_, f)| f.source.as_ref().is_some_and(|s| s.node == key.node));
    reads.extend(fixed.map(|(_, f)| KeyRead::Constant(f.value.clone())));
    let guards = block.guard.iter().filter(|g| g.path.node == key.node);
    reads.extend(guards.map(|g| KeyRead::Constant(g.value.clone())));
    reads
}

/// A block without a row for a key has that of the block it links to on the same item.
fn borrowed_keys(blocks: &mut [Block]) {
    let mut borrowed = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        for (_, row) in block.rows() {
            let Some(link) = row.link.as_ref().filter(|l| !l.by_key && !l.appends) else { continue };
            let Some(target) = blocks.get(link.block) else { continue };
            if target.chain != block.chain || block.chain.is_empty() {
                continue;
            }
            for (own, path) in block.key.iter().enumerate() {
                let key = target.key.iter().position(|k| k.node == path.node);
                if let Some(key) = key.filter(|_| block.key_reads.get(own).is_some_and(Vec::is_empty)) {
                    let steps = row.fhir.full.split_last().map_or(Vec::new(), |(_, steps)| steps.to_vec());
                    borrowed.push((number, own, KeyRead::Link { steps, block: link.block, key }));
                }
            }
        }
    }
    for (number, own, read) in borrowed {
        if let Some(reads) = blocks.get_mut(number).and_then(|b| b.key_reads.get_mut(own)) {
            reads.push(read);
        }
    }
}

fn overlap(a: Option<&AliasText>, b: Option<&AliasText>) -> bool {
    match (a, b) {
        (Some(AliasText::Systems(a)), Some(AliasText::Systems(b))) => a.iter().any(|x| b.contains(x)),
        (Some(AliasText::At { at, is }), Some(AliasText::At { at: other, is: also })) => {
            at == other && is.iter().any(|x| also.contains(x))
        }
        _ => false,
    }
}

pub(super) fn error(origin: &str, expression: &str, sv: impl Into<String>, en: impl Into<String>) -> Issue {
    Issue::error(Code::BusinessRule, expression, sv, en).from(origin)
}
