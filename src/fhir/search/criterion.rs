//! The name of a search criterion with its chain and modifier, and its value, as a clause.

use chrono::{DateTime, Utc};

use super::super::terminology::Terminology;
use super::value::{allowed, date, identifier, plain, reference, split, token};
use super::{Clause, Fault, Kind, Param, TextMatch, TokenMatch, fold, param, types};

/// What criteria are read by.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub terminology: &'a Terminology,
    pub base_url: &'a str,
    pub now: DateTime<Utc>,
    /// References that one criterion may follow.
    pub hops: usize,
    /// Whether it stands in a URL, where names of people must not.
    pub in_url: bool,
}

/// Modifiers that are served for a kind of parameter, beside `:missing`.
pub fn modifiers(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Token => &["not", "in", "not-in"],
        Kind::Reference => &["identifier"],
        Kind::String => &["exact", "contains"],
        Kind::Canonical | Kind::Date | Kind::Uri => &[],
    }
}

impl Reader<'_> {
    /// The clause that `name=value` means for a type.
    pub fn clause(&self, resource_type: &str, name: &str, value: &str) -> Result<Clause, Fault> {
        self.hop(resource_type, name, value, 0)
    }

    fn hop(&self, resource_type: &str, name: &str, value: &str, hops: usize) -> Result<Clause, Fault> {
        if hops > self.hops {
            return Err(Fault::too_far(self.hops));
        }
        if let Some(rest) = name.strip_prefix("_has:") {
            return self.has(resource_type, rest, value, hops + 1);
        }
        match name.split_once('.') {
            Some((head, rest)) => self.chain(resource_type, head, rest, value, hops + 1),
            None => self.one(resource_type, name, value),
        }
    }

    /// `patient.identifier`, `focus:ServiceRequest.code`.
    fn chain(&self, resource_type: &str, head: &str, rest: &str, value: &str, hops: usize) -> Result<Clause, Fault> {
        let (base, chosen) = head.split_once(':').map_or((head, None), |(base, chosen)| (base, Some(chosen)));
        let param = known(resource_type, base)?;
        if param.kind != Kind::Reference {
            return Err(Fault::unknown(resource_type, base));
        }
        let mut targets = allowed(param);
        if let Some(chosen) = chosen {
            targets.retain(|target| *target == chosen);
        }
        let mut any = Vec::new();
        // Of several types some need not have the parameter; if none has, it is unknown.
        let mut fault = None;
        for target in &targets {
            match self.hop(target, rest, value, hops) {
                Ok(clause) => any.push(Clause::Chain {
                    param: param.kept_as.to_owned(),
                    target: (*target).to_owned(),
                    clause: Box::new(clause),
                }),
                Err(other) if !matches!(fault, Some(Fault::Wrong(_))) => fault = Some(other),
                Err(_) => {}
            }
        }
        match fault {
            Some(fault @ Fault::Wrong(_)) => Err(fault),
            Some(fault) if any.is_empty() => Err(fault),
            None if any.is_empty() => Err(Fault::unknown(resource_type, base)),
            _ => Ok(Clause::Any(any)),
        }
    }

    /// `Procedure:patient:code` behind `_has:`.
    fn has(&self, resource_type: &str, rest: &str, value: &str, hops: usize) -> Result<Clause, Fault> {
        let mut parts = rest.splitn(3, ':');
        let (Some(source), Some(base), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault::wrong("_has", "_has:Typ:referens:parameter", "_has:Type:reference:parameter"));
        };
        if !types().contains(&source) {
            return Err(Fault::unknown(resource_type, "_has"));
        }
        let param = known(source, base)?;
        if param.kind != Kind::Reference || !allowed(param).contains(&resource_type) {
            return Err(Fault::unknown(source, base));
        }
        let clause = Box::new(self.hop(source, rest, value, hops)?);
        Ok(Clause::Has { source: source.to_owned(), param: param.kept_as.to_owned(), clause })
    }

    fn one(&self, resource_type: &str, name: &str, value: &str) -> Result<Clause, Fault> {
        let (base, modifier) = name.split_once(':').map_or((name, None), |(base, after)| (base, Some(after)));
        let parts = split(value);
        if parts.iter().any(String::is_empty) {
            return Err(Fault::wrong(base, "något; det är tomt", "something; it is empty"));
        }
        match (base, modifier) {
            ("_id", None) => return Ok(Clause::Id(parts.iter().map(|id| plain(id)).collect())),
            ("_lastUpdated", None) => {
                let any_of = parts.iter().map(|text| date(base, text, self.now)).collect::<Result<_, _>>()?;
                return Ok(Clause::LastUpdated { any_of });
            }
            ("_id" | "_lastUpdated", Some(modifier)) => return Err(Fault::modifier(base, modifier)),
            _ => {}
        }
        let param = known(resource_type, base)?;
        if self.in_url && param.is_personal && modifier != Some("missing") {
            return Err(Fault::personal(base));
        }
        if modifier == Some("missing") {
            return match value {
                "true" => Ok(Clause::Not(Box::new(Clause::Present(param)))),
                "false" => Ok(Clause::Present(param)),
                _ => Err(Fault::wrong(base, "true eller false", "true or false")),
            };
        }
        let name = param.kept_as.to_owned();
        let unknown_modifier = || Err(Fault::modifier(base, modifier.unwrap_or_default()));
        Ok(match param.kind {
            Kind::Token => {
                let any_of = match modifier {
                    None | Some("not") => parts.iter().map(|text| token(base, text)).collect::<Result<_, _>>()?,
                    Some("in" | "not-in") => self.members(base, &plain(value))?,
                    Some(_) => return unknown_modifier(),
                };
                let clause = Clause::Token { param: name, any_of };
                if matches!(modifier, Some("not" | "not-in")) { Clause::Not(Box::new(clause)) } else { clause }
            }
            Kind::Uri => {
                if modifier.is_some() {
                    return unknown_modifier();
                }
                let any_of = parts.iter().map(|url| TokenMatch { system: None, code: Some(plain(url)) }).collect();
                Clause::Token { param: name, any_of }
            }
            Kind::Canonical if modifier.is_some() => return unknown_modifier(),
            Kind::Reference | Kind::Canonical => {
                let mut any_of = Vec::new();
                for text in &parts {
                    match modifier {
                        Some("identifier") => any_of.push(identifier(base, text)?),
                        Some(chosen) if !allowed(param).contains(&chosen) => return unknown_modifier(),
                        chosen => any_of.extend(reference(param, base, chosen, text, self.base_url)?),
                    }
                }
                Clause::Reference { param: name, any_of }
            }
            Kind::Date => {
                if modifier.is_some() {
                    return unknown_modifier();
                }
                let any_of = parts.iter().map(|text| date(base, text, self.now)).collect::<Result<_, _>>()?;
                Clause::Date { param: name, any_of }
            }
            Kind::String => {
                let how = match modifier {
                    None => TextMatch::Starts,
                    Some("contains") => TextMatch::Contains,
                    Some("exact") => TextMatch::Exact,
                    Some(_) => return unknown_modifier(),
                };
                let word = |text: &String| if how == TextMatch::Exact { plain(text) } else { fold(&plain(text)) };
                Clause::Text { param: name, any_of: parts.iter().map(word).collect(), how }
            }
        })
    }

    /// The codes of a value set of the package. An element of type code has no system, so its bare codes count too.
    fn members(&self, name: &str, url: &str) -> Result<Vec<TokenMatch>, Fault> {
        let Some(set) = self.terminology.compose(url, &mut Vec::new()) else {
            return Err(Fault::wrong(
                name,
                "adressen till en ValueSet i profilpaketet",
                "the url of a ValueSet of the package",
            ));
        };
        let mut members = Vec::new();
        for (system, codes) in set.listed() {
            match codes {
                None => members.push(TokenMatch { system: Some(system.to_owned()), code: None }),
                Some(codes) => members.extend(codes.iter().flat_map(|code| {
                    [system, ""].map(|system| TokenMatch { system: Some(system.to_owned()), code: Some(code.clone()) })
                })),
            }
        }
        Ok(members)
    }
}

fn known(resource_type: &str, name: &str) -> Result<&'static Param, Fault> {
    param(resource_type, name).ok_or_else(|| Fault::unknown(resource_type, name))
}
