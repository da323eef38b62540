//! Gives tokens: what an authenticated client may do for a few minutes, signed by the gateway. The grant, the assertion that it
//! was given for and its audit row are one commit.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::certificate::Certificate;
use super::grants::{meanings, served, suits};
use super::scope::{self, Scope};
use super::token::{ACCESS_TOKEN, Access, Denied, ours};
use super::{Purpose, assertion, jwt};
use crate::Gateway;
use crate::config::{Client, MOST_AGREED};
use crate::domain::Directory;
use crate::domain::audit::{By, Deed, Event, Outcome};
use crate::fhir::search::{Reader, links};
use crate::signing::SigningError;
use crate::store::{Assertion, Audit, Commit, Committed, Expect, StoreError};
use crate::telemetry::asked;

/// Letters of what is granted, together: the token has to fit into a header.
const MOST_GRANTED: usize = MOST_AGREED;

/// What stands in a request for a token, each at most once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Form<'a> {
    pub grant_type: Option<&'a str>,
    pub scope: Option<&'a str>,
    pub client_id: Option<&'a str>,
    pub assertion_type: Option<&'a str>,
    pub assertion: Option<&'a str>,
}

/// A token, and what it is good for.
#[derive(Debug, Serialize)]
pub struct Granted {
    pub access_token: String,
    pub token_type: &'static str,
    pub expires_in: u64,
    pub scope: String,
}

/// RFC 6749, 5.2; the last is for a while only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    InvalidRequest,
    InvalidClient,
    InvalidScope,
    UnsupportedGrantType,
    TooMany,
}

impl Fault {
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::TooMany => "temporarily_unavailable",
        }
    }
}

/// Why there is no token.
#[derive(Debug)]
pub enum Refused {
    Fault(Fault, String),
    Store(StoreError),
    Signing(SigningError),
}

impl Refused {
    fn new(fault: Fault, why: impl fmt::Display) -> Self {
        Self::Fault(fault, why.to_string())
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self::new(Fault::InvalidClient, denied)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client that an assertion names, whoever made it.
pub fn named(gateway: &Gateway, assertion: &str) -> Option<String> {
    assertion::named(gateway, assertion).ok().map(|(_, client)| client.id.clone())
}

/// Gives a token to a client that proves who it is. Refusals are counted, and those of known clients are in the audit log, as
/// far as its bound goes.
pub async fn grant(
    gateway: &Gateway,
    form: Form<'_>,
    certificate: Option<&Certificate>,
    now: DateTime<Utc>,
) -> Result<Granted, Refused> {
    let mut client = None;
    let ended = decide(gateway, form, certificate, now, &mut client).await;
    let known = client.as_ref().map_or("unknown", |client| client.id.as_str());
    let result = match &ended {
        Ok(_) => "granted",
        Err(Refused::Fault(fault, _)) => fault.code(),
        Err(Refused::Store(_) | Refused::Signing(_)) => "failed",
    };
    gateway.figures.token(known, result);
    if let (Some(client), Err(Refused::Fault(fault, why))) = (&client, &ended) {
        record(gateway, client, *fault, why, now).await?;
    }
    ended
}

/// `known` is set as soon as the client has been named, so that a refusal can be put down to it.
async fn decide(
    gateway: &Gateway,
    form: Form<'_>,
    certificate: Option<&Certificate>,
    now: DateTime<Utc>,
    known: &mut Option<Arc<Client>>,
) -> Result<Granted, Refused> {
    if form.grant_type.is_some_and(|grant_type| grant_type != "client_credentials") {
        return Err(Refused::new(Fault::UnsupportedGrantType, "grant_type is client_credentials"));
    }
    let Some(shown) = form.assertion else {
        let why = "no client authentication: client_assertion is a JWT signed by the client (private_key_jwt)";
        return Err(Refused::new(Fault::InvalidClient, why));
    };
    if form.grant_type.is_none() {
        return Err(Refused::new(Fault::InvalidRequest, "grant_type is missing: it is client_credentials"));
    }
    if form.assertion_type != Some(JWT_BEARER) {
        return Err(Refused::new(Fault::InvalidRequest, format!("client_assertion_type is {JWT_BEARER}")));
    }
    let (opened, client) = assertion::named(gateway, shown)?;
    let client = &*Arc::clone(known.insert(client));
    if form.client_id.is_some_and(|id| id != client.id) {
        return Err(Refused::new(Fault::InvalidClient, "client_id is another than iss of the assertion"));
    }
    let proof = assertion::prove(gateway, client, &opened, shown, certificate, now).await?;
    let scopes = granted(client, form.scope, &gateway.reader(now), units_of_codes(gateway, client));
    let access = (!scopes.is_empty()).then(|| access(gateway, client, &scopes, now));
    let audit = access.as_ref().map(|access| {
        let seconds = access.exp - access.iat;
        event(client, now)
            .with("scope", told(&scopes))
            .with("token", access.jti.as_str())
            .with("seconds", seconds)
            .into()
    });
    use_up(gateway, proof, audit, now).await?;
    let Some(access) = access else {
        let why = "nothing of what was asked for was agreed with the client, or is served here";
        return Err(Refused::new(Fault::InvalidScope, why));
    };
    let signed = gateway.signer.sign(ACCESS_TOKEN, &access).map_err(Refused::Signing)?;
    let expires_in = gateway.config.oauth.token.as_secs();
    Ok(Granted { access_token: signed, token_type: "bearer", expires_in, scope: access.scope })
}

/// What a client gets of what it asks for: what was agreed, is served and goes with its purpose, up to so many letters. Nothing
/// asked for means all that was agreed.
/// `units` is there where the client gets codes: then no criterion of its own may ask whose they are.
pub fn granted(client: &Client, asked: Option<&str>, reader: &Reader<'_>, units: Option<&Directory>) -> Vec<Scope> {
    let mut letters = 0;
    let fits = |scope: &Scope| {
        letters += scope.to_string().len() + 1;
        letters <= MOST_GRANTED + 1
    };
    let links = |scope: &Scope| units.is_some_and(|units| links_codes(client, scope, reader, units));
    let served = served(&scope::grant(&client.scopes, asked), reader).into_iter();
    served.filter(|scope| suits(client.purpose, scope) && !links(scope)).take_while(fits).collect()
}

/// The units that are no secret to a client which gets codes; none for others.
pub fn units_of_codes<'g>(gateway: &'g Gateway, client: &Client) -> Option<&'g Directory> {
    let gets_codes = client.registry.as_ref().is_some_and(|name| gateway.config.gets_codes(name));
    gets_codes.then_some(&gateway.config.directory)
}

/// Whether a criterion that was not agreed would tell the client whose codes it gets.
fn links_codes(client: &Client, scope: &Scope, reader: &Reader<'_>, units: &Directory) -> bool {
    let is_agreed = |criterion: &(String, String)| client.scopes.iter().any(|s| s.criteria.contains(criterion));
    let own = scope.criteria.iter().filter(|criterion| !is_agreed(criterion)).cloned().collect();
    meanings(&Scope { criteria: own, ..scope.clone() }, reader)
        .iter()
        .any(|(resource_type, clauses)| clauses.iter().any(|c| links(resource_type, c, &|id| units.find(id).is_some())))
}

fn access(gateway: &Gateway, client: &Client, scopes: &[Scope], now: DateTime<Utc>) -> Access {
    let issued = now.timestamp();
    let lifetime_s = i64::try_from(gateway.config.oauth.token.as_secs()).unwrap_or(0);
    Access {
        iss: gateway.config.base_url.clone(),
        aud: gateway.config.base_url.clone(),
        sub: client.id.clone(),
        client_id: client.id.clone(),
        scope: scope::write(scopes),
        exp: issued + lifetime_s,
        iat: issued,
        jti: Uuid::new_v4().to_string(),
    }
}

/// Uses the assertion up, with what it is used for.
async fn use_up(gateway: &Gateway, proof: Assertion, audit: Option<Audit>, now: DateTime<Utc>) -> Result<(), Refused> {
    let (client, jti) = (proof.client.clone(), proof.jti);
    let expect = vec![
        Expect::Unused { client: client.clone(), jti },
        Expect::FewAssertions { client, most: gateway.config.oauth.assertions, at: now },
    ];
    let commit = Commit { expect, assertion: Some(proof), audit: audit.into_iter().collect(), ..Commit::default() };
    match gateway.store.commit(commit).await? {
        Committed::Done { .. } => Ok(()),
        Committed::Conflict(Expect::FewAssertions { .. }) => {
            let why = "the client has used too many assertions in five minutes (oauth.assertions): use a token until it expires";
            Err(Refused::new(Fault::TooMany, why))
        }
        Committed::Conflict(_) => Err(Denied::Used.into()),
    }
}

/// The scopes without the values of their criteria, which somebody may have put a person into.
fn told(scopes: &[Scope]) -> String {
    let bare = |scope: &Scope| {
        let names: Vec<&str> = scope.criteria.iter().map(|(name, _)| name.as_str()).collect();
        let head = Scope { criteria: Vec::new(), ..scope.clone() };
        if names.is_empty() { head.to_string() } else { format!("{head}?{}", names.join("&")) }
    };
    scopes.iter().map(bare).collect::<Vec<_>>().join(" ")
}

async fn record(
    gateway: &Gateway,
    client: &Client,
    fault: Fault,
    why: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(unwritten) = gateway.keyring.refusals.take(&client.id, now) else { return Ok(()) };
    let event = event(client, now).ended(Outcome::Serious).with("reason", fault.code()).with("text", why);
    let event = if unwritten > 0 { event.with("alsoBefore", unwritten) } else { event };
    gateway.store.commit(Commit { audit: vec![event.into()], ..Commit::default() }).await?;
    Ok(())
}

/// A client asked for a token; it is about no patient.
fn event(client: &Client, now: DateTime<Utc>) -> Event {
    let asked = asked();
    let by = By {
        name: client.id.clone(),
        organisation: client.hsa_id.clone(),
        client: None,
        partner: client.partner.clone().filter(|partner| *partner != client.id),
        purpose: Some(match client.purpose {
            Purpose::Care => "care",
            Purpose::Registry => "registry",
            Purpose::Operations => "operations",
        }),
        from: asked.map(|asked| asked.origin),
        request: asked.map(|asked| asked.number),
    };
    Event::new(now, by, Deed::Token, format!("client/{}", client.id)).about([])
}

/// RFC 7662: what a token of ours says, while it is good. Of any other there is nothing to say.
pub fn introspect(gateway: &Gateway, token: &str, now: i64) -> Value {
    let access = jwt::open(token).and_then(|opened| ours(gateway, token, &opened, now));
    let Ok(access) = access else { return json!({ "active": false }) };
    let mut shown = json!({ "active": true, "token_type": "bearer" });
    if let (Some(shown), Ok(Value::Object(claims))) = (shown.as_object_mut(), serde_json::to_value(&access)) {
        shown.extend(claims);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conformance;
    use crate::config::Config;

    fn client(purpose: &str, scopes: &str) -> Client {
        let text = format!(
            "[[partner]]\nname = \"north\"\nchannel = \"poll\"\n[[client]]\nid = \"c\"\nname = \"C\"\n\
             hsa_id = \"SE2321000131-E000000000001\"\njwks_file = \"c.json\"\n{purpose}\nscopes = [{}]",
            scopes.split(' ').map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ")
        );
        Config::parse(&text).unwrap().agreements.now().clients[0].as_ref().clone()
    }

    const CARE: &str = "purpose = \"care\"\npartner = \"north\"";

    fn with<T>(work: impl FnOnce(&Reader<'_>) -> T) -> T {
        let (conformance, _) = Conformance::load(&crate::profile_files(None).unwrap());
        let terminology = conformance.profiles.terminology();
        work(&Reader { terminology, base_url: "http://x", now: DateTime::UNIX_EPOCH, hops: 2, in_url: true })
    }

    #[test]
    fn what_is_not_served_or_not_agreed_is_left_out_of_the_grant() {
        let client = client(CARE, "system/Procedure.rs system/Task.cruds system/Patient.rs");
        let granted = |asked: &str| with(|reader| scope::write(&granted(&client, Some(asked), reader, None)));
        assert_eq!(granted("system/Procedure.read openid system/Foo.rs"), "system/Procedure.rs");
        assert_eq!(granted("system/Procedure.rs?code=DV133"), "system/Procedure.rs?code=DV133");
        assert_eq!(granted("system/Procedure.rs?colour=red system/Task.cud"), "system/Task.cud");
        assert_eq!(granted("system/Patient.rs?identifier=195009072553 system/Patient.rs?name=Anna"), "", "no person");
        assert_eq!(granted("system/*.rs?_id=1&code=2"), "system/Procedure.rs?_id=1&code=2 system/Task.rs?_id=1&code=2");
        assert_eq!(granted("system/Observation.rs patient/*.rs"), "");
    }

    #[test]
    fn a_grant_fits_into_a_header_and_the_log_has_no_values() {
        let client = client(CARE, "system/Procedure.rs");
        let asked: String = (0..200).map(|n| format!("system/Procedure.rs?code=X{n:049} ")).collect();
        let scopes = with(|reader| granted(&client, Some(&asked), reader, None));
        assert!(scope::write(&scopes).len() <= MOST_GRANTED && scopes.len() > 40);
        assert_eq!(told(&scopes[..1]), "system/Procedure.rs?code");
    }

    #[test]
    fn a_registry_is_granted_nothing_that_is_words() {
        let client = client(
            "purpose = \"registry\"\nregistry = \"r\"",
            "system/Communication.rs system/Procedure.rs system/CommunicationRequest.rs?status=active",
        );
        let granted = with(|reader| scope::write(&granted(&client, None, reader, None)));
        assert_eq!(granted, "system/Procedure.rs");
    }

    #[test]
    fn who_runs_the_gateway_is_granted_nothing_that_is_about_a_patient() {
        let client = client("purpose = \"operations\"", "system/Patient.rs system/AuditEvent.rs system/*.rs");
        let granted = with(|reader| scope::write(&granted(&client, None, reader, None)));
        assert_eq!(granted, "system/AuditEvent.rs system/*.rs");
    }
}
