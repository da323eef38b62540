//! What each operation needs: the purpose of the caller, and the scope that covers it. One table for every route.

use super::{Caller, Purpose};
use crate::domain::Kind;
use crate::fhir::issue::{Code, Issue};
use crate::store::{Extent, Right};

/// Something that a caller asks to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Send a document or a new version of it.
    Submit(Kind),
    /// List exchanges, read one, read its document. Which ones, the store decides by what they are mainly about.
    SeeExchanges,
    /// See who is responsible for what about a patient.
    SeeResponsibility,
    /// Take a request back.
    Cancel,
    /// Answer what a unit is asked.
    Answer,
    /// Decide what holds where two sides differ.
    Settle,
    /// Try parked deliveries again, or send again what was sent.
    SendAgain,
    /// Decide that something is never delivered.
    Skip,
    /// See deliveries, partners and how they stand.
    SeeDeliveries,
    /// See what partners answered that could not be applied.
    SeeAnswers,
    /// See how the gateway is doing, from elsewhere than its own machine.
    SeeFigures,
    /// See who saw, sent and got what: the audit log, and a patient's list of it.
    SeeLog,
    /// Get what was done, counted.
    CountActs,
    /// Ask who is responsible, by the rules.
    AskRules,
    /// Start a programme for a patient, and take its steps.
    RunProgramme,
    /// See programmes. Which ones, the store decides by their plans.
    SeeProgrammes,
    /// Read, search, write a type of the FHIR face.
    Fhir(Right, &'a str),
    /// The history of everything, as far as it may be seen.
    SeeHistory,
    /// Have a resource looked at, of which nothing is kept.
    Validate,
    /// See which registries there are, and what each knows a patient by.
    SeeRegistries,
    /// Register what a patient says of registries, and see it again.
    HearPatient,
    /// See what registries have got of a patient.
    SeeDisclosures,
    /// See what a registry must erase, say that it has, and how its codes have changed.
    Erase,
    /// Say that something must not be removed, and lift that.
    Hold,
    /// See what was removed.
    SeeRemovals,
    /// See what is open and whose move it is.
    SeeLoops,
    /// Pause the clocks of what was sent, and let them run on.
    PauseClocks,
    /// Say which numbers are one person's, that a patient has died, that an identity is protected no more.
    SayOfPatient,
}

use Purpose::{Care, Operations, Registry};

impl Operation<'_> {
    /// Purposes that it is open to.
    fn purposes(self) -> &'static [Purpose] {
        match self {
            Self::Submit(_) | Self::SeeExchanges | Self::Cancel | Self::Answer | Self::Settle | Self::Skip => &[Care],
            Self::SeeDisclosures | Self::PauseClocks | Self::SeeResponsibility => &[Care],
            Self::RunProgramme | Self::SeeProgrammes | Self::SayOfPatient => &[Care],
            Self::AskRules => &[Care, Operations],
            Self::SeeLoops
            | Self::SendAgain
            | Self::SeeDeliveries
            | Self::SeeAnswers
            | Self::HearPatient
            | Self::Hold => &[Care, Operations],
            Self::SeeFigures | Self::SeeLog | Self::SeeRemovals => &[Operations],
            Self::Erase => &[Registry, Operations],
            // What each purpose may do with a type is bounded when its scopes are read.
            Self::Fhir(..) | Self::SeeHistory | Self::Validate | Self::SeeRegistries | Self::CountActs => {
                &[Care, Registry, Operations]
            }
        }
    }

    /// The scope that has to cover it, beside what the store asks of each resource. Whether a part of the type is enough: a
    /// document is taken whole, so a scope with criteria does not open it.
    fn scope(self) -> Option<(Right, &'static str, bool)> {
        Some(match self {
            Self::Submit(Kind::RehabPlan) => (Right::Create, "CarePlan", false),
            Self::Submit(Kind::Referral) => (Right::Create, "ServiceRequest", false),
            // Every handover asks somebody for something.
            Self::Submit(Kind::Handover) => (Right::Create, "Task", false),
            Self::Submit(Kind::Activity) => (Right::Create, "Procedure", false),
            Self::Cancel | Self::SendAgain | Self::Skip | Self::PauseClocks => (Right::Update, "Task", false),
            // Of those that are covered.
            Self::Answer | Self::Settle => (Right::Update, "Task", true),
            Self::SeeResponsibility => (Right::Read, "EpisodeOfCare", true),
            Self::RunProgramme => (Right::Create, "CarePlan", false),
            Self::SayOfPatient => (Right::Update, "Patient", false),
            Self::SeeAnswers => (Right::Search, "Task", false),
            // Of what is covered; of nothing where that is nothing.
            Self::CountActs => (Right::Search, "Procedure", true),
            Self::AskRules => (Right::Read, "PlanDefinition", true),
            Self::Fhir(..)
            | Self::SeeExchanges
            | Self::SeeProgrammes
            | Self::SeeDeliveries
            | Self::SeeFigures
            | Self::SeeLog
            | Self::SeeHistory
            | Self::Validate
            | Self::SeeRegistries
            | Self::HearPatient
            | Self::SeeDisclosures
            | Self::Erase
            | Self::Hold
            | Self::SeeRemovals
            | Self::SeeLoops => {
                return None;
            }
        })
    }
}

impl Caller {
    /// Whether it may do that, as far as can be said before a resource is looked at. What is missing is told: it follows from
    /// the token alone.
    pub fn may(&self, operation: Operation<'_>) -> Result<(), Issue> {
        if self.is_operator() {
            return Ok(());
        }
        if !operation.purposes().contains(&self.purpose) {
            return Err(other_purpose());
        }
        let Some(grants) = &self.grants else {
            // A partner's own token says nothing of scopes; whose scopes were not read gets nothing.
            return if self.purpose == Care && self.scopes.is_none() { Ok(()) } else { Err(other_purpose()) };
        };
        if operation == Operation::SeeLog {
            // The log is shown whole: a scope with criteria does not open it.
            let lacks = |right: &&Right| grants.extent("AuditEvent", **right) != Extent::All;
            let lacked = [Right::Read, Right::Search].iter().find(lacks).copied();
            return lacked.map_or(Ok(()), |right| Err(missing_scope(right, "AuditEvent")));
        }
        let (right, resource_type, is_part_enough) = match (operation, operation.scope()) {
            (Operation::Fhir(right, resource_type), _) => (right, resource_type, true),
            // Who runs the gateway has to do with deliveries, whatever they carry, and with figures of nobody.
            (_, Some(_)) if self.purpose == Operations => return Ok(()),
            (_, Some(needed)) => needed,
            (_, None) => return Ok(()),
        };
        match grants.extent(resource_type, right) {
            Extent::All => Ok(()),
            Extent::AnyOf(_) if is_part_enough => Ok(()),
            Extent::AnyOf(_) | Extent::Nothing => Err(missing_scope(right, resource_type)),
        }
    }
}

fn missing_scope(right: Right, resource_type: &str) -> Issue {
    let scope = format!("system/{resource_type}.{}", right.letter());
    Issue::error(
        Code::Forbidden,
        "",
        format!("Biljetten täcker inte {scope}; begär den behörigheten, eller be om att den avtalas."),
        format!("The token does not cover {scope}; ask for that scope, or to have it agreed."),
    )
}

fn other_purpose() -> Issue {
    Issue::error(
        Code::Forbidden,
        "",
        "Anroparens ändamål omfattar inte detta; se docs/integrator/who-may-see-what.md.",
        "This is not open to the caller's purpose; see docs/integrator/who-may-see-what.md.",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Compiled, Reach};
    use super::*;
    use crate::store::{Filter, Grants};

    const ALL: &[Operation<'_>] = &[
        Operation::Submit(Kind::RehabPlan),
        Operation::Submit(Kind::Referral),
        Operation::Submit(Kind::Handover),
        Operation::Submit(Kind::Activity),
        Operation::SeeExchanges,
        Operation::SeeResponsibility,
        Operation::SayOfPatient,
        Operation::Cancel,
        Operation::Answer,
        Operation::Settle,
        Operation::SendAgain,
        Operation::Skip,
        Operation::SeeDeliveries,
        Operation::SeeAnswers,
        Operation::SeeFigures,
        Operation::SeeLog,
        Operation::CountActs,
        Operation::AskRules,
        Operation::RunProgramme,
        Operation::SeeProgrammes,
        Operation::Fhir(Right::Search, "Procedure"),
        Operation::Fhir(Right::Update, "Procedure"),
        Operation::SeeHistory,
        Operation::Validate,
        Operation::SeeRegistries,
        Operation::HearPatient,
        Operation::SeeDisclosures,
        Operation::Erase,
        Operation::Hold,
        Operation::SeeRemovals,
        Operation::SeeLoops,
        Operation::PauseClocks,
    ];

    /// Somebody with a token whose scopes allow these rights of everything.
    fn caller(purpose: Purpose, reach: Reach, rights: &[Right]) -> Caller {
        let mut grants = Grants::default();
        rights.iter().for_each(|right| grants.allow_everywhere(*right));
        let (scopes, grants) = (Some(Arc::default()), Some(Arc::new(grants)));
        Caller { name: "x".into(), client: None, partner: None, reach, purpose, scopes, grants }
    }

    fn open_to(caller: &Caller) -> Vec<Operation<'static>> {
        ALL.iter().copied().filter(|operation| caller.may(*operation).is_ok()).collect()
    }

    #[test]
    fn a_registry_reads_resources_and_nothing_else() {
        let registry = caller(Purpose::Registry, Reach::Registry("r".into()), &[Right::Read, Right::Search]);
        let expected = [
            Operation::CountActs,
            Operation::Fhir(Right::Search, "Procedure"),
            Operation::SeeHistory,
            Operation::Validate,
            Operation::SeeRegistries,
            Operation::Erase,
        ];
        assert_eq!(open_to(&registry), expected);
    }

    #[test]
    fn operations_see_to_deliveries_and_get_nothing_of_a_patient() {
        let operations = caller(Purpose::Operations, Reach::Everything, &[]);
        let open = open_to(&operations);
        assert_eq!(
            open,
            [
                Operation::SendAgain,
                Operation::SeeDeliveries,
                Operation::SeeAnswers,
                Operation::SeeFigures,
                Operation::CountActs,
                Operation::AskRules,
                Operation::SeeHistory,
                Operation::Validate,
                Operation::SeeRegistries,
                Operation::HearPatient,
                Operation::Erase,
                Operation::Hold,
                Operation::SeeRemovals,
                Operation::SeeLoops
            ]
        );
        let filter = operations.filter();
        assert_ne!(filter, Filter::ALL);
        assert_eq!(filter.who, crate::store::Who::Units(Vec::new()), "no unit's affairs are its own");
        assert_eq!(operations.of_deliveries(), Filter::ALL);
    }

    #[test]
    fn the_log_is_open_to_operations_with_a_scope_for_all_of_it() {
        let with = |text: &str| {
            let (conformance, _) = crate::Conformance::load(&crate::profile_files(None).unwrap());
            let terminology = conformance.profiles.terminology();
            let now = chrono::DateTime::UNIX_EPOCH;
            let reader = crate::fhir::search::Reader { terminology, base_url: "http://x", now, hops: 2, in_url: false };
            let scopes = Some(super::super::scope::read(text).into());
            let caller = Caller { grants: None, scopes, ..caller(Purpose::Operations, Reach::Everything, &[]) };
            caller.narrowed(&Compiled::default(), &reader).may(Operation::SeeLog).is_ok()
        };
        assert!(
            with("system/AuditEvent.rs") && with("system/*.read") && with("system/AuditEvent.r system/AuditEvent.s")
        );
        for text in [
            "",
            "system/AuditEvent.r",
            "system/AuditEvent.s",
            "system/AuditEvent.rs?patient=Patient/x",
            "system/Task.rs",
        ] {
            assert!(!with(text), "{text}");
        }
        let registry = caller(Purpose::Registry, Reach::Registry("r".into()), &Right::ALL);
        assert!(registry.may(Operation::SeeLog).is_err());
    }

    #[test]
    fn only_who_sits_at_the_machine_is_the_operator() {
        assert_eq!(open_to(&Caller::operator()).len(), ALL.len());
        assert_eq!(Caller::operator().filter(), Filter::ALL);
        assert!(!caller(Purpose::Operations, Reach::Everything, &[]).is_operator());
    }

    #[test]
    fn who_came_with_scopes_that_were_not_read_gets_nothing() {
        let unread = Caller { grants: None, ..caller(Purpose::Care, Reach::Units(vec!["A".into()]), &[]) };
        assert!(open_to(&unread).is_empty());
        assert_eq!(unread.filter(), Filter::nothing());
        let without = Caller { scopes: None, ..unread };
        assert_eq!(
            open_to(&without).len(),
            ALL.len() - 4,
            "in care a token without scopes is good for all its units may do: not for figures and the log"
        );
        let registry = Caller { purpose: Purpose::Registry, ..without };
        assert!(open_to(&registry).is_empty(), "and for nothing else");
    }
}
