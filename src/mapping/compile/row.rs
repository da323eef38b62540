//! Rows and constants: both paths, the converter, the link, and whether the types agree.

use std::sync::Arc;

use super::element::{End, Reached, Scope, check_value};
use super::source::Base;
use super::{Compiler, error};
use crate::fhir::issue::{Code, Issue};
use crate::mapping::convert::{self, Makes};
use crate::mapping::near;
use crate::mapping::path::lists;
use crate::mapping::plan::{Class, FhirPath, Fixed, Link, Row, Via};
use crate::mapping::table::{FixedText, Only, RowText};
use crate::mapping::within::Within;

impl Compiler<'_> {
    pub(super) fn row(&mut self, base: &Base, scope: &Scope, text: &RowText) -> Option<Row> {
        let via = match (&text.via, &text.within) {
            (None, None) => None,
            (Some(name), None) => Some(self.via(name, &text.origin)?),
            (None, Some(path)) => Some(self.within(path, text)?),
            (Some(_), Some(_)) => {
                self.issues.push(error(
                    &text.origin,
                    "within",
                    "En rad har antingen via eller within.",
                    "A row has either via or within.",
                ));
                return None;
            }
        };
        let end = match (&text.link, &via) {
            (Some(_), None) => End::Link,
            (Some(_), Some(_)) => {
                self.issues.push(error(
                    &text.origin,
                    "via",
                    "En länk omvandlas inte; ta bort via eller within.",
                    "A link is not converted; remove via or within.",
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
        let object = source.as_ref().filter(|s| !matches!(end, End::Element(_)) && self.sources.has_fields(s.node));
        if let Some(source) = object {
            self.issues.push(error(
                &text.origin,
                &source.text,
                "Fältet har egna fält och är inget värde; gå vidare till ett av dem.",
                "The field has fields of its own and is not a value; go on to one of them.",
            ));
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
            Some(Via::Within(_)) if reached.type_code != "string" => {
                let kind = reached.type_code;
                self.issues.push(error(
                    &text.origin,
                    &text.fhir,
                    format!("within gör string, men här står {kind}."),
                    format!("within makes string, but this is {kind}."),
                ));
            }
            Some(Via::Within(_)) => {}
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

    pub(super) fn fixed(&mut self, base: &Base, scope: &Scope, text: &FixedText) -> Option<Fixed> {
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

    /// What the row's value is unique within: a field of the document that is one value, not an item's own.
    fn within(&mut self, path: &str, text: &RowText) -> Option<Via> {
        let compiled = self.sources.path(&Base::default(), path);
        let compiled = self.said(compiled, &format!("{} within", text.origin))?;
        if !compiled.root || compiled.full.is_empty() || lists(&compiled.full) > 0 {
            self.issues.push(error(
                &text.origin,
                "within",
                format!("{path} ska vara ett fält från dokumentets rot, som \"/id\", utan []."),
                format!("{path} should be a field from the document's root, as \"/id\", without []."),
            ));
            return None;
        }
        Some(Via::Within(Arc::new(Within { name: format!("within {path}"), path: compiled })))
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
}

fn fhir_path(scope: &Scope, reached: Reached, text: &str, end: End) -> FhirPath {
    let class = match end {
        End::Element(_) => Class::Element,
        _ => Class::of(reached.type_code),
    };
    let full = scope.steps.iter().cloned().chain(reached.steps).collect();
    FhirPath { full, at: scope.steps.len(), text: text.to_owned(), class, type_code: reached.type_code }
}
