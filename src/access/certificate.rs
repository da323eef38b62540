//! The certificate that a caller has shown, and what a client can be bound to: that very certificate, or a name in any that the
//! trusted authority signs for it (RFC 8705, 2.1.2), so that a renewed one needs no new settings.

use std::fmt;
use std::net::IpAddr;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};

/// A certificate whose chain was verified when the connection was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    sha256: [u8; 32],
    subject: Option<DistinguishedName>,
    names: Vec<AlternativeName>,
}

/// What a certificate has to be, or to have in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    Sha256([u8; 32]),
    Subject(DistinguishedName),
    Name(AlternativeName),
}

/// A name in `subjectAltName`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlternativeName {
    Dns(String),
    Uri(String),
    Ip(IpAddr),
    Email(String),
}

/// A distinguished name, as it is compared: from its root, each part with all that it says, without regard to case and to how
/// many spaces there are (RFC 4517, 4.2.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<(String, String)>>);

impl Certificate {
    /// Reads a certificate in DER. Of one that cannot be understood nothing is known but its hash.
    pub fn read(der: &[u8]) -> Self {
        let sha256 = Sha256::digest(der).into();
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self { sha256, subject: None, names: Vec::new() };
        };
        let names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().filter_map(alternative).collect(),
            _ => Vec::new(),
        };
        Self { sha256, subject: DistinguishedName::of(certificate.subject()), names }
    }

    /// Whether a client that is bound so has shown it.
    pub fn is(&self, binding: &Binding) -> bool {
        match binding {
            Binding::Sha256(hash) => self.sha256 == *hash,
            Binding::Subject(name) => self.subject.as_ref() == Some(name),
            Binding::Name(name) => self.names.contains(name),
        }
    }
}

fn alternative(name: &GeneralName<'_>) -> Option<AlternativeName> {
    Some(match name {
        GeneralName::DNSName(name) => AlternativeName::dns(name),
        GeneralName::URI(uri) => AlternativeName::Uri((*uri).to_owned()),
        GeneralName::RFC822Name(address) => AlternativeName::email(address),
        GeneralName::IPAddress(bytes) => AlternativeName::Ip(match **bytes {
            [a, b, c, d] => [a, b, c, d].into(),
            _ => <[u8; 16]>::try_from(*bytes).ok()?.into(),
        }),
        _ => return None,
    })
}

impl AlternativeName {
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase())
    }

    /// What stands before the @ is its owner's to read as they like.
    pub fn email(address: &str) -> Self {
        match address.rsplit_once('@') {
            Some((local, domain)) => Self::Email(format!("{local}@{}", domain.to_ascii_lowercase())),
            None => Self::Email(address.to_owned()),
        }
    }
}

/// Why a text is no distinguished name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoName(&'static str);

impl fmt::Display for NoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Attributes by the names that they are written with; any other by its numbers.
const ATTRIBUTES: [(&str, &str); 16] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("T", "2.5.4.12"),
    ("GN", "2.5.4.42"),
    ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("E", "1.2.840.113549.1.9.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

impl DistinguishedName {
    /// Reads a name as RFC 4514 writes it: `CN=journal,O=Region Exempel,C=SE`, the root last.
    pub fn parse(text: &str) -> Result<Self, NoName> {
        let mut parts: Vec<Vec<(String, String)>> = vec![Vec::new()];
        let mut rest = text;
        loop {
            let (attribute, after) = rest.split_once('=').ok_or(NoName("has a part without ="))?;
            let (value, end, after) = value(after)?;
            let part = parts.last_mut().ok_or(NoName("is empty"))?;
            part.push((attribute_type(attribute.trim())?, fold(&value)));
            match end {
                Some('+') => {}
                Some(_) => parts.push(Vec::new()),
                None => break,
            }
            rest = after;
        }
        parts.reverse();
        parts.iter_mut().for_each(|part| part.sort());
        Ok(Self(parts))
    }

    /// A name in a certificate; none where something in it cannot be read as text, or where it is empty.
    fn of(name: &X509Name<'_>) -> Option<Self> {
        let mut parts = Vec::new();
        for part in name.iter_rdn() {
            let mut said = Vec::new();
            for attribute in part.iter() {
                said.push((attribute.attr_type().to_id_string(), fold(attribute.as_str().ok()?)));
            }
            said.sort();
            parts.push(said);
        }
        (!parts.is_empty()).then_some(Self(parts))
    }
}

fn attribute_type(name: &str) -> Result<String, NoName> {
    let is_number = name.contains('.') && name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_number {
        return Ok(name.to_owned());
    }
    let known = ATTRIBUTES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, number)| (*number).to_owned()).ok_or(NoName("has an attribute that is not known: write its numbers"))
}

/// A value up to the `,` or `+` that ends it, and what follows that.
fn value(text: &str) -> Result<(String, Option<char>, &str), NoName> {
    if text.trim_start().starts_with(['#', '"']) {
        return Err(NoName("has a value in hexadecimal digits or quotation marks: escape characters with \\"));
    }
    let mut bytes = Vec::new();
    let mut characters = text.char_indices();
    // How long the value is without spaces that nobody escaped.
    let mut meant = 0;
    let finish = |mut bytes: Vec<u8>, meant: usize| {
        bytes.truncate(meant);
        let value = String::from_utf8(bytes).map_err(|_| NoName("has a value that is no UTF-8"))?;
        if value.is_empty() { Err(NoName("has an empty value")) } else { Ok(value) }
    };
    while let Some((at, c)) = characters.next() {
        match c {
            ',' | '+' => {
                return Ok((finish(bytes, meant)?, Some(c), text.get(at + 1..).unwrap_or_default()));
            }
            '\\' => {
                let (_, next) = characters.next().ok_or(NoName("ends with \\"))?;
                if let Some(high) = next.to_digit(16) {
                    let (_, low) = characters.next().ok_or(NoName("has half a byte behind \\"))?;
                    let low = low.to_digit(16).ok_or(NoName("has half a byte behind \\"))?;
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                } else {
                    bytes.extend(next.encode_utf8(&mut [0; 4]).bytes());
                }
                meant = bytes.len();
            }
            '"' | ';' | '<' | '>' => return Err(NoName("has a character that is to be escaped with \\")),
            ' ' if bytes.is_empty() => {}
            _ => {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                if c != ' ' {
                    meant = bytes.len();
                }
            }
        }
    }
    Ok((finish(bytes, meant)?, None, ""))
}

fn fold(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        Certificate::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    fn subject(text: &str) -> Binding {
        Binding::Subject(DistinguishedName::parse(text).unwrap())
    }

    #[test]
    fn a_subject_is_the_same_however_it_is_written_and_no_other() {
        let shown = certificate(|params| {
            let name = &mut params.distinguished_name;
            *name = rcgen::DistinguishedName::new();
            name.push(DnType::CountryName, "SE");
            name.push(DnType::OrganizationName, "Region Exempel, Vård+");
            name.push(DnType::CommonName, DnValue::PrintableString("journal".try_into().unwrap()));
        });
        for same in [
            "CN=journal,O=Region Exempel\\, Vård\\+,C=SE",
            "cn=Journal, o=region  exempel\\2C v\\c3\\a5rd\\2B , 2.5.4.6=se",
        ] {
            assert!(shown.is(&subject(same)), "{same}");
        }
        for other in [
            "CN=journal",
            "CN=journal,C=SE,O=Region Exempel\\, Vård\\+",
            "C=SE,O=Region Exempel\\, Vård\\+,CN=journal",
            "CN=journal,O=Region Exempel\\, Vård\\+,C=SE,DC=x",
            "CN=journal+O=Region Exempel\\, Vård\\+,C=SE",
            "CN=journal2,O=Region Exempel\\, Vård\\+,C=SE",
        ] {
            assert!(!shown.is(&subject(other)), "{other}");
        }
        assert!(
            !certificate(|params| params.distinguished_name = rcgen::DistinguishedName::new())
                .is(&subject("CN=journal"))
        );
    }

    #[test]
    fn a_text_that_is_no_name_is_not_taken_for_one() {
        for wrong in [
            "",
            "journal",
            "CN=",
            "CN=a,",
            "CN=a,,C=SE",
            "XX=a",
            "CN=#0c01",
            "CN=\"a\"",
            "CN=a\\",
            "CN=a\\4",
            "CN=a;C=SE",
            "CN=\\ff",
        ] {
            assert!(DistinguishedName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_alternative_name_is_one_of_its_own_kind() {
        let shown = certificate(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("Journal.Example.se".try_into().unwrap()),
                SanType::URI("urn:example:journal".try_into().unwrap()),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8::7".parse().unwrap()),
                SanType::Rfc822Name("Drift@Example.se".try_into().unwrap()),
            ];
        });
        let is = |name| shown.is(&Binding::Name(name));
        assert!(is(AlternativeName::dns("journal.example.SE")));
        assert!(is(AlternativeName::Uri("urn:example:journal".into())));
        assert!(is(AlternativeName::Ip("192.0.2.7".parse().unwrap())));
        assert!(is(AlternativeName::Ip("2001:db8::7".parse().unwrap())));
        assert!(is(AlternativeName::email("Drift@example.se")));
        for other in [
            AlternativeName::dns("example.se"),
            AlternativeName::dns("urn:example:journal"),
            AlternativeName::Uri("urn:example:Journal".into()),
            AlternativeName::Ip("192.0.2.8".parse().unwrap()),
            AlternativeName::email("drift@example.se"),
        ] {
            assert!(!is(other.clone()), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_name() {
        let nothing = Certificate::read(b"no certificate");
        assert!(
            !nothing.is(&subject("CN=journal"))
                && nothing.is(&Binding::Sha256(Sha256::digest(b"no certificate").into()))
        );
    }
}
