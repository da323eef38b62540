//! Who issues the numbers that patients are known by, and the identifier systems, by url and OID, that they stand under.

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PersonIdKind {
    Personnummer,
    Samordningsnummer,
    Reservnummer,
}

impl PersonIdKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Personnummer => "personnummer",
            Self::Samordningsnummer => "samordningsnummer",
            Self::Reservnummer => "reservnummer",
        }
    }
}

/// Who issued the number: each issuer has its own identifier system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Issuer {
    /// Skatteverket: personnummer.
    Population,
    /// Skatteverket: samordningsnummer.
    Coordination,
    /// The national reserve number.
    National,
    /// Västra Götaland's local reserve number (LRID).
    VgrLocal,
    /// Västra Götaland's GRID. Its form is published nowhere, so it is known by its system only.
    VgrGlobal,
    /// Region Stockholm's reserve number.
    Stockholm,
}

/// Every identifier system a number is written under; the first of each issuer is the one we write.
const SYSTEMS: &[(Issuer, &str)] = &[
    (Issuer::Population, "http://electronichealth.se/identifier/personnummer"),
    (Issuer::Population, "urn:oid:1.2.752.129.2.1.3.1"),
    (Issuer::Population, "http://terminology.hl7.se/sid/se-personnummer"),
    (Issuer::Population, "https://terminology.hl7.se/sid/se-personnummer"),
    (Issuer::Coordination, "http://electronichealth.se/identifier/samordningsnummer"),
    (Issuer::Coordination, "urn:oid:1.2.752.129.2.1.3.3"),
    (Issuer::National, "http://electronichealth.se/identifier/nationelltReservnummer"),
    (Issuer::National, "urn:oid:1.2.752.74.9.1"),
    (Issuer::VgrLocal, "urn:oid:1.2.752.113.11.0.2.1.1.1"),
    (Issuer::VgrGlobal, "urn:oid:1.2.752.113.11.0.2.1.1.4"),
    (Issuer::Stockholm, "https://uid.regionstockholm.se/reservnummer"),
    (Issuer::Stockholm, "urn:oid:1.2.752.97.3.1.3"),
];

impl Issuer {
    /// The issuer whose numbers stand under an identifier system, aliases included.
    pub fn of_system(system: &str) -> Option<Self> {
        SYSTEMS.iter().find(|(_, s)| *s == system).map(|(issuer, _)| *issuer)
    }

    /// The identifier system that we write.
    pub fn system(self) -> &'static str {
        SYSTEMS.iter().find(|(issuer, _)| *issuer == self).map_or("", |(_, s)| *s)
    }

    /// The OID of that system, by which RIV-TA names it; Stockholm's has one beside its URL.
    pub fn oid(self) -> &'static str {
        SYSTEMS
            .iter()
            .filter(|(issuer, _)| *issuer == self)
            .find_map(|(_, system)| system.strip_prefix("urn:oid:"))
            .unwrap_or_default()
    }

    /// What the number is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Population => "personnummer",
            Self::Coordination => "samordningsnummer",
            Self::National => "nationellt reservnummer",
            Self::VgrLocal => "LRID, Västra Götalandsregionen",
            Self::VgrGlobal => "GRID, Västra Götalandsregionen",
            Self::Stockholm => "reservnummer, Region Stockholm",
        }
    }

    pub fn kind(self) -> PersonIdKind {
        match self {
            Self::Population => PersonIdKind::Personnummer,
            Self::Coordination => PersonIdKind::Samordningsnummer,
            _ => PersonIdKind::Reservnummer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_issuer_has_an_oid_that_leads_back_to_it() {
        for (issuer, _) in SYSTEMS {
            assert_eq!(Issuer::of_system(&format!("urn:oid:{}", issuer.oid())), Some(*issuer));
        }
    }
}
