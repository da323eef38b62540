//! Questions that could tie a code to a person: whoever gets coded resources, and could ask for those of a number, a name, a
//! birthday or a journal's own id, would know whose they are by what comes.

use super::super::r4;
use super::{Clause, Kind, Param, params};

/// What no coded resource shows. A question for it is a question for somebody.
const HIDDEN: [&str; 12] = [
    "Identifier",
    "HumanName",
    "Address",
    "ContactPoint",
    "Attachment",
    "Annotation",
    "string",
    "markdown",
    "uri",
    "url",
    "id",
    "uuid",
];
/// Of these a coded resource has the year, or nothing.
const BLURRED: [&str; 4] =
    ["Patient.birthDate", "Patient.deceased[x]", "Practitioner.birthDate", "RelatedPerson.birthDate"];

/// Whether the clause asks of resources of that type what only whoever knows the person can ask. `is_unit` says which HSA-ids are
/// units': these are no secret.
pub fn links(resource_type: &str, clause: &Clause, is_unit: &dyn Fn(&str) -> bool) -> bool {
    let by_element = |name: &str| {
        let found = params(resource_type).iter().find(|param| param.kept_as == name);
        found.is_none_or(is_hidden)
    };
    match clause {
        Clause::Id(_) | Clause::Text { .. } => true,
        Clause::Token { param, .. } | Clause::Date { param, .. } => by_element(param),
        Clause::Reference { any_of, .. } => !any_of.iter().all(|target| is_of_unit(target, is_unit)),
        Clause::LastUpdated { .. } | Clause::Present(_) | Clause::Awaited { .. } => false,
        Clause::Chain { target, clause, .. } => links(target, clause, is_unit),
        Clause::Has { source, clause, .. } => links(source, clause, is_unit),
        Clause::Not(clause) => links(resource_type, clause, is_unit),
        Clause::Any(clauses) => clauses.iter().any(|clause| links(resource_type, clause, is_unit)),
    }
}

/// A reference to a unit, or by a unit's own number. The types that an id without one could have are all asked for.
fn is_of_unit(target: &str, is_unit: &dyn Fn(&str) -> bool) -> bool {
    match target.strip_prefix("identifier:").and_then(|logical| logical.rsplit_once('|')) {
        Some((_, value)) => is_unit(value),
        None => target.starts_with("Organization/") || target.contains("://"),
    }
}

fn is_hidden(param: &Param) -> bool {
    // Profiles, and the addresses of definitions.
    if matches!(param.kind, Kind::Canonical) || param.name == "_profile" {
        return false;
    }
    param.paths.iter().any(|path| {
        let mut content = param.resource_type;
        for name in path.split('.') {
            if name.starts_with("extension[") {
                content = "Extension";
                continue;
            }
            let Some(found) = r4::find(content, name) else { return true };
            if HIDDEN.contains(&found.type_code) || BLURRED.contains(&found.element.path) {
                return true;
            }
            content = found.content;
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, types};
    use super::*;
    use crate::Conformance;

    #[test]
    fn what_is_counted_can_be_asked_and_what_leads_to_a_person_cannot() {
        let (conformance, _) = Conformance::load(&crate::profile_files(None).unwrap());
        let terminology = conformance.profiles.terminology();
        let now = chrono::DateTime::UNIX_EPOCH;
        let reader = Reader { terminology, base_url: "http://x", now, hops: 3, in_url: false };
        let asks = |resource_type: &str, query: &str| {
            let (name, value) = query.split_once('=').unwrap();
            links(resource_type, &reader.clause(resource_type, name, value).unwrap(), &|id| id == "SE1-U")
        };
        for (resource_type, query) in [
            ("Procedure", "code=DV133"),
            ("Procedure", "code:not=DV133"),
            ("Procedure", "date=ge2026-01"),
            ("Procedure", "status=completed"),
            ("Procedure", "_lastUpdated=gt2026-01-01"),
            ("Procedure", "performer=Organization/00000000-0000-4000-8000-000000000001"),
            ("Encounter", "service-provider:identifier=urn:oid:1.2.752.129.2.1.4.1|SE1-U"),
            ("Procedure", "patient.gender=female"),
            ("Patient", "gender=male"),
            ("Patient", "birthdate:missing=true"),
            ("Condition", "code=C50.9"),
            ("CarePlan", "category=SIP"),
            ("Patient", "_has:Procedure:patient:code=DV133"),
        ] {
            assert!(!asks(resource_type, query), "{resource_type}?{query}");
        }
        for (resource_type, query) in [
            ("Patient", "identifier=http://electronichealth.se/identifier/personnummer|195009072553"),
            ("Patient", "name=Testsson"),
            ("Patient", "family:exact=Testsson"),
            ("Patient", "birthdate=1950-09-07"),
            ("Patient", "_id=p1"),
            ("Procedure", "patient=Patient/p1"),
            ("Procedure", "patient=p1"),
            ("Procedure", "performer=Organization/o,Practitioner/p"),
            ("Procedure", "identifier=contact-1"),
            ("Procedure", "identifier:not=contact-1"),
            ("Procedure", "intervention=i1"),
            ("Procedure", "patient.birthdate=1950-09-07"),
            ("Procedure", "patient:identifier=urn:x|1"),
            ("Encounter", "service-provider:identifier=urn:oid:1.2.752.129.2.1.4.1|SE1-P"),
            ("Patient", "_has:Procedure:patient:identifier=contact-1"),
            ("Practitioner", "name=Ek"),
            ("PractitionerRole", "practitioner.identifier=urn:x|1"),
        ] {
            assert!(asks(resource_type, query), "{resource_type}?{query}");
        }
    }

    /// A parameter that is added is judged by its elements, without anybody having to think of it.
    #[test]
    fn no_parameter_over_an_identifier_a_name_or_an_address_can_be_asked() {
        for resource_type in types() {
            for param in params(resource_type) {
                let name = param.paths.join("|").to_ascii_lowercase();
                let tells =
                    ["identifier", "name", "telecom", "address", "birthdate"].iter().any(|part| name.contains(part));
                assert!(!tells || is_hidden(param) || param.kind == Kind::Reference, "{resource_type}.{}", param.name);
            }
        }
    }
}
