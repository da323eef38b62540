//! What can be done with somebody's data: the word in the log, what it is in FHIR, and what the patient reads of it.

/// What was done. The word is what stands in the log; it never changes its meaning, because rows of many years have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    Read,
    Vread,
    History,
    Search,
    /// `$everything`
    Everything,
    /// `$document`
    Document,
    /// A list of who has got what about one patient.
    AccessLog,
    Submit,
    Create,
    /// A Task was moved by its owner, here or at a partner.
    Answer,
    /// What a partner changed in its copy of ours was taken in.
    Sync,
    /// A person decided what holds where two sides differ.
    Settle,
    /// An answer that could not be applied was kept.
    Hold,
    /// A document that waited for another was taken up.
    Resume,
    Cancel,
    /// Who has charge of what was moved, by what was done in the same commit.
    Responsibility,
    Retry,
    Skip,
    Resend,
    /// A unit that reads from us has got what was for it.
    Fetch,
    /// An attempt to deliver.
    Deliver,
    /// A partner's copies of our Tasks were asked for.
    Poll,
    /// A partner was asked what its server can do.
    Capability,
    /// Public keys were fetched from their owner's address.
    FetchKeys,
    /// Something was handed to a quality registry or other recipient in bulk.
    Export,
    /// Figures were counted.
    Statistics,
    /// It was asked who is responsible, by the rules.
    Apply,
    /// The patient's block, opt-out or consent was recorded or lifted.
    Block,
    /// The patient objected to a quality registry, took that back, or was informed of it.
    Object,
    Reconsider,
    Inform,
    /// A registry says that it has erased what it was told to.
    Erased,
    /// A definition that all stand under, such as the KVÅ list, was changed.
    Define,
    /// Who may get what was read again from the settings: clients, issuers, registries.
    Agree,
    /// A programme of a patient was started or moved on.
    Programme,
    /// Something must not be removed, or may be again.
    LegalHold,
    LiftHold,
    Erase,
    /// It was told that somebody has not done what is waited for, or that they have.
    Escalate,
    /// A new assessment was asked for because an intervention has ended, or is not asked for any more.
    Reassess,
    /// A person has paused the clocks of an exchange, or lets them run on.
    Pause,
    /// Two numbers were said to be one person's, or not to be.
    Link,
    /// A patient was told to have died, or to live.
    Deceased,
    /// A unit took back that an identity is protected.
    Protection,
    Login,
    Token,
    Refuse,
    Restore,
    /// A copy of the database was made.
    Backup,
    /// Old rows of this log were removed behind a signed checkpoint.
    Prune,
    /// Somebody asked to be told of what happens, changed that or ended it.
    Subscribe,
    /// A subscriber was told, or should have been.
    Notify,
    /// A word that this program does not know: of a newer one, or of another part of it.
    Other,
}

/// What FHIR calls it: the code in `AuditEvent.subtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// A code of <http://hl7.org/fhir/restful-interaction>.
    Rest(&'static str),
    /// Data left for somebody else: DICOM's Export, ISO 21089's disclose.
    Disclosure,
    /// DICOM's User Authentication, with its subtype.
    Login,
    /// DICOM's Application Activity, with the word itself as subtype.
    Upkeep,
}

/// One row: the word, FHIR's letter of what was done, what FHIR calls it, and what the patient reads (nothing where nobody
/// saw or got anything).
type Row = (Deed, &'static str, &'static str, Interaction, Option<&'static str>);

use Interaction::{Disclosure, Login, Rest, Upkeep};

const TABLE: &[Row] = &[
    (Deed::Read, "read", "R", Rest("read"), Some("läste")),
    (Deed::Vread, "vread", "R", Rest("vread"), Some("läste en tidigare version av")),
    (Deed::History, "history", "R", Rest("history"), Some("läste ändringshistoriken för")),
    (Deed::Search, "search", "E", Rest("search"), Some("sökte fram")),
    (Deed::Everything, "everything", "R", Rest("operation"), Some("läste samlat")),
    (Deed::Document, "document", "R", Rest("operation"), Some("läste som dokument")),
    (Deed::AccessLog, "access-log", "R", Rest("operation"), Some("granskade loggen över åtkomst till")),
    (Deed::Submit, "submit", "C", Rest("create"), Some("skickade in")),
    (Deed::Create, "create", "C", Rest("create"), Some("skrev")),
    (Deed::Answer, "answer", "U", Rest("update"), Some("svarade på")),
    (Deed::Sync, "sync", "U", Rest("update"), Some("ändrade")),
    (Deed::Settle, "settle", "U", Rest("update"), Some("avgjorde en skillnad i")),
    (Deed::Hold, "hold", "C", Upkeep, None),
    (Deed::Resume, "resume", "U", Upkeep, None),
    (Deed::Cancel, "cancel", "U", Rest("update"), Some("återtog")),
    (Deed::Responsibility, "responsibility", "U", Rest("update"), Some("flyttade")),
    (Deed::Retry, "retry", "U", Upkeep, None),
    (Deed::Skip, "skip", "U", Upkeep, None),
    (Deed::Resend, "resend", "U", Upkeep, None),
    (Deed::Fetch, "fetch", "R", Disclosure, Some("hämtade")),
    (Deed::Deliver, "deliver", "R", Disclosure, Some("fick")),
    (Deed::Poll, "poll", "E", Rest("search"), None),
    (Deed::Capability, "capability", "E", Rest("capabilities"), None),
    (Deed::FetchKeys, "fetch-keys", "E", Upkeep, None),
    (Deed::Export, "export", "R", Disclosure, Some("fick i ett uttag")),
    (Deed::Statistics, "statistics", "E", Rest("operation"), None),
    (Deed::Apply, "apply", "E", Rest("operation"), Some("frågade vem som ansvarar, utifrån")),
    (Deed::Block, "block", "U", Rest("update"), Some("ändrade spärr eller samtycke för")),
    (Deed::Object, "opt-out", "C", Rest("create"), Some("tog emot en invändning mot kvalitetsregister från")),
    (
        Deed::Reconsider,
        "opt-out-lift",
        "U",
        Rest("update"),
        Some("tog tillbaka en invändning mot kvalitetsregister för"),
    ),
    (Deed::Inform, "inform", "C", Rest("create"), Some("informerade om kvalitetsregister")),
    (Deed::Erased, "erased", "U", Upkeep, None),
    (Deed::Define, "define", "U", Rest("update"), None),
    (Deed::Agree, "agree", "U", Upkeep, None),
    (Deed::Programme, "programme", "U", Rest("update"), Some("skötte det digitala programmet för")),
    (Deed::LegalHold, "legal-hold", "C", Upkeep, None),
    (Deed::LiftHold, "legal-hold-lift", "U", Upkeep, None),
    (Deed::Erase, "erase", "D", Rest("delete"), Some("gallrade")),
    (Deed::Escalate, "escalate", "C", Upkeep, None),
    (Deed::Reassess, "reassess", "C", Upkeep, None),
    (Deed::Pause, "pause", "U", Upkeep, None),
    (Deed::Link, "link", "U", Rest("update"), Some("ändrade vilka nummer som hör ihop för")),
    (Deed::Deceased, "deceased", "U", Rest("update"), Some("meddelade om dödsfall rörande")),
    (Deed::Protection, "protection", "U", Rest("update"), Some("hävde märkningen om skyddade personuppgifter för")),
    (Deed::Login, "login", "E", Login, None),
    (Deed::Token, "token", "E", Login, None),
    (Deed::Refuse, "refuse", "E", Rest("operation"), None),
    (Deed::Restore, "restore", "U", Upkeep, None),
    (Deed::Backup, "backup", "E", Upkeep, None),
    (Deed::Prune, "prune", "D", Upkeep, None),
    (Deed::Subscribe, "subscribe", "U", Rest("update"), None),
    (Deed::Notify, "notify", "R", Disclosure, Some("fick besked om")),
];

impl Deed {
    /// All that have a word.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> Row {
        let other = (Self::Other, "other", "E", Upkeep, None);
        TABLE.iter().find(|row| row.0 == self).copied().unwrap_or(other)
    }

    /// The word in the log.
    pub fn code(self) -> &'static str {
        self.row().1
    }

    /// What the word means here; [`Deed::Other`] where it is not known.
    pub fn of(code: &str) -> Self {
        TABLE.iter().find(|row| row.1 == code).map_or(Self::Other, |row| row.0)
    }

    /// FHIR's `AuditEvent.action`: C, R, U, D or E.
    pub fn action(self) -> &'static str {
        self.row().2
    }

    pub fn interaction(self) -> Interaction {
        self.row().3
    }

    /// What stands between who and what in the patient's own list; nothing where nobody saw or got anything.
    pub fn told(self) -> Option<&'static str> {
        self.row().4
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_word_is_one_deed_and_comes_back_as_itself() {
        let words: BTreeSet<&str> = Deed::all().map(Deed::code).collect();
        assert_eq!(words.len(), TABLE.len());
        assert!(Deed::all().all(|deed| Deed::of(deed.code()) == deed));
        assert_eq!(Deed::of("what a newer program does"), Deed::Other);
    }

    #[test]
    fn the_code_system_has_the_words_and_no_others() {
        let text = include_str!("../../../profiles/CodeSystem-audit-deed.json");
        let said: serde_json::Value = serde_json::from_str(text).unwrap();
        let said: BTreeSet<&str> =
            said["concept"].as_array().unwrap().iter().filter_map(|concept| concept["code"].as_str()).collect();
        let words: BTreeSet<&str> = Deed::all().chain([Deed::Other]).map(Deed::code).collect();
        assert_eq!(said, words);
    }

    #[test]
    fn whatever_shows_or_hands_out_data_is_told_to_the_patient() {
        for deed in Deed::all().filter(|d| d.action() == "R" || d.interaction() == Disclosure) {
            assert!(deed.told().is_some(), "{deed:?}");
        }
    }
}
