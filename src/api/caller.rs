//! Who is calling, as an argument of every handler that is not open to all.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, dev, web};
use chrono::{DateTime, Utc};

use super::limits::{Pass, Turnstile};
use super::problem::Problem;
use super::refusals;
use super::tls::shown_certificate;
use crate::Gateway;
use crate::access::{Caller, Credentials, Operation, admit};
use crate::fhir::about::{DEFINITIONS, is_definition};
use crate::sync::witness::check_interactive;

/// A call that was let in: the gateway, the caller, and the time that it is decided by.
pub struct Call {
    pub gateway: web::Data<Gateway>,
    pub caller: Caller,
    pub now: DateTime<Utc>,
    /// Its place among the caller's requests, given back at the end.
    _pass: Pass,
}

impl FromRequest for Call {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let gateway = request.app_data::<web::Data<Gateway>>().cloned();
        let turnstile = request.app_data::<web::Data<Turnstile>>().cloned();
        let authorization = once(request, "Authorization");
        let unit = once(request, "Vardkedja-Unit");
        let request = request.clone();
        let shows_resources = request.match_pattern().is_some_and(|route| shows_resources(&route));
        let shows_definitions = request.match_info().get("type").is_some_and(is_definition);
        Box::pin(async move {
            let (authorization, unit) = (authorization?, unit?);
            let gateway = gateway.ok_or_else(|| Problem::bad_request("", "Ingen tjänst.", "No service."))?;
            let now = Utc::now();
            let (authorization, unit) = (authorization.as_deref(), unit.as_deref());
            let certificate = shown_certificate(&request);
            let shown = Credentials { authorization, unit, certificate };
            let caller = admit(&gateway, shown, now.timestamp()).await?;
            let is_open = if shows_resources { check_interactive(&gateway, &caller) } else { Ok(()) };
            let mut caller = narrowed(&gateway, caller, now);
            if let Err(refusal) = is_open {
                if !shows_definitions {
                    return Err(refusal.into());
                }
                // Nothing else can be followed, counted or brought along from them.
                caller = caller.only(&DEFINITIONS);
            }
            let turnstile = turnstile.ok_or_else(|| Problem::bad_request("", "Ingen tjänst.", "No service."))?;
            refusals::remember(&request, &caller);
            let pass = turnstile.into_inner().enter(&caller.name, Instant::now())?;
            Ok(Self { gateway, caller, now, _pass: pass })
        })
    }
}

/// Routes that show resources one by one: closed to registries that get codes, before anything is looked for, but for what is
/// about nobody.
fn shows_resources(route: &str) -> bool {
    route == "/fhir/_history"
        || route.starts_with("/fhir/Subscription")
        || route.starts_with("/fhir/{type}") && !route.ends_with("$validate")
        // What is made of a patient's resources shows them.
        || route.ends_with("$apply")
}

impl Call {
    /// Refuses what the caller's purpose or scopes do not cover.
    pub fn may(&self, operation: Operation<'_>) -> Result<(), Problem> {
        self.caller.may(operation).map_err(|issue| Problem::new(StatusCode::FORBIDDEN, issue))
    }
}

/// With its scopes read. Where access is configured nobody is the operator of this machine, whatever the token left unsaid.
fn narrowed(gateway: &Gateway, mut caller: Caller, now: DateTime<Utc>) -> Caller {
    if gateway.config.is_authenticated() && caller.is_operator() {
        caller.scopes = Some(Arc::default());
    }
    caller.narrowed(&gateway.compiled, &gateway.reader(now))
}

/// A header that says who is calling. What cannot be read, or stands there twice, must not be taken for nothing: without a
/// unit the caller would be the operator.
fn once(request: &HttpRequest, name: &str) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() => Ok(Some(text.to_owned())),
        _ => Err(Problem::bad_request(
            name,
            "Rubriken ska stå där en gång, i ASCII-tecken.",
            "The header should stand there once, in ASCII characters.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ROUTES;
    use super::shows_resources;

    #[test]
    fn every_route_that_shows_single_resources_is_closed_to_registries_with_codes() {
        // The log is an operation of its own, which no registry's purpose covers; measures count and show no resource, groups are
        // criteria, and whatever an export hands out has passed the terms of the agreement.
        let is_log = |route: &str| route.contains("/AuditEvent") || route.ends_with("/$access-log");
        let open = |route: &&str| route.starts_with("/fhir/") && !shows_resources(route) && !is_log(route);
        let open: Vec<&str> = ROUTES.iter().map(|(_, route)| *route).filter(open).collect();
        assert_eq!(
            open,
            [
                "/fhir/.well-known/smart-configuration",
                "/fhir/metadata",
                "/fhir/Measure/{id}/$evaluate-measure",
                "/fhir/Measure/{id}/$evaluate-measure",
                "/fhir/$export",
                "/fhir/$export",
                "/fhir/Patient/$export",
                "/fhir/Patient/$export",
                "/fhir/Group/{id}/$export",
                "/fhir/Group/{id}/$export",
                "/fhir/$verify",
                "/fhir/Group",
                "/fhir/Group/{id}",
                "/fhir/{type}/$validate"
            ]
        );
    }
}
