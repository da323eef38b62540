//! The only incoming HTTP. One flat list of routes; a handler reads the request, makes one call, and writes the answer.

mod access_log;
mod answers;
mod blocks;
mod body;
mod bulk;
mod caller;
mod conflicts;
mod consultations;
mod deliveries;
mod door;
mod exchanges;
mod fhir;
mod limits;
mod loops;
mod oauth;
mod observe;
mod ops;
mod patients;
mod problem;
mod programmes;
mod refusals;
mod registries;
mod resend;
mod responsibility;
mod responsible;
mod statistics;
mod tls;
mod v1;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, Route, guard, middleware, web};

use crate::Gateway;
use crate::domain::Kind;
use limits::{Turnstile, Watch};
pub use tls::{Certificates, TlsError};

/// Every route of the gateway: the index of the program. `openapi.yaml` has exactly these; HEAD is taken wherever GET is.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/v1/status"),
    ("GET", "/.well-known/smart-configuration"),
    ("GET", "/fhir/.well-known/smart-configuration"),
    ("GET", "/.well-known/jwks.json"),
    ("POST", "/oauth/token"),
    ("POST", "/oauth/introspect"),
    ("POST", "/v1/rehab-plans"),
    ("POST", "/v1/referrals"),
    ("POST", "/v1/handovers"),
    ("POST", "/v1/activities"),
    ("GET", "/v1/exchanges"),
    ("POST", "/v1/exchanges/search"),
    ("GET", "/v1/exchanges/{id}"),
    ("GET", "/v1/exchanges/{id}/document"),
    ("POST", "/v1/exchanges/{id}/answers"),
    ("POST", "/v1/exchanges/{id}/cancel"),
    ("POST", "/v1/exchanges/{id}/retry"),
    ("POST", "/v1/exchanges/{id}/consultations"),
    ("POST", "/v1/responsibility/search"),
    ("GET", "/v1/patients/{id}/responsibility"),
    ("POST", "/v1/patients/links"),
    ("GET", "/v1/patients/links/{id}"),
    ("POST", "/v1/patients/links/{id}/undo"),
    ("POST", "/v1/patients/{id}/deceased"),
    ("POST", "/v1/patients/{id}/deceased/withdraw"),
    ("POST", "/v1/patients/{id}/protection/lift"),
    ("GET", "/v1/exchanges/{id}/timeline"),
    ("GET", "/v1/exchanges/{id}/diff"),
    ("POST", "/v1/exchanges/{id}/clocks/pause"),
    ("POST", "/v1/exchanges/{id}/clocks/resume"),
    ("GET", "/v1/open-loops"),
    ("GET", "/v1/deliveries"),
    ("POST", "/v1/deliveries/resend"),
    ("POST", "/v1/deliveries/{id}/retry"),
    ("POST", "/v1/deliveries/{id}/skip"),
    ("POST", "/v1/blocks"),
    ("POST", "/v1/blocks/search"),
    ("GET", "/v1/blocks/{id}"),
    ("POST", "/v1/blocks/{id}/lift"),
    ("POST", "/v1/conflicts/{id}/settle"),
    ("GET", "/v1/programmes"),
    ("POST", "/v1/programmes"),
    ("GET", "/v1/programmes/{id}"),
    ("POST", "/v1/programmes/{id}/events"),
    ("POST", "/v1/programmes/{id}/messages/{code}/sent"),
    ("POST", "/v1/programmes/{id}/eligibility"),
    ("GET", "/v1/partners"),
    ("GET", "/v1/answers/held"),
    ("GET", "/v1/patients/{id}/access-log"),
    ("GET", "/v1/registries"),
    ("POST", "/v1/registries/{name}/opt-outs"),
    ("POST", "/v1/registries/{name}/opt-outs/search"),
    ("GET", "/v1/registries/{name}/opt-outs/{id}"),
    ("POST", "/v1/registries/{name}/opt-outs/{id}/lift"),
    ("POST", "/v1/registries/{name}/information"),
    ("GET", "/v1/registries/{name}/erasures"),
    ("POST", "/v1/registries/{name}/erasures/confirm"),
    ("GET", "/v1/registries/{name}/codes"),
    ("POST", "/v1/disclosures/search"),
    ("GET", "/v1/holds"),
    ("POST", "/v1/holds"),
    ("POST", "/v1/holds/{id}/lift"),
    ("GET", "/v1/removals"),
    ("POST", "/v1/responsibility"),
    ("GET", "/v1/statistics/kva"),
    ("GET", "/v1/statistics/indicators"),
    ("GET", "/fhir/metadata"),
    ("GET", "/fhir/AuditEvent"),
    ("POST", "/fhir/AuditEvent/_search"),
    ("GET", "/fhir/AuditEvent/{id}"),
    ("GET", "/fhir/Patient/{id}/$access-log"),
    ("GET", "/fhir/_history"),
    ("GET", "/fhir/Measure/{id}/$evaluate-measure"),
    ("POST", "/fhir/Measure/{id}/$evaluate-measure"),
    ("GET", "/fhir/$export"),
    ("POST", "/fhir/$export"),
    ("GET", "/fhir/Patient/$export"),
    ("POST", "/fhir/Patient/$export"),
    ("GET", "/fhir/Group/{id}/$export"),
    ("POST", "/fhir/Group/{id}/$export"),
    ("POST", "/fhir/$verify"),
    ("GET", "/fhir/Group"),
    ("GET", "/fhir/Group/{id}"),
    ("GET", "/fhir/Subscription"),
    ("POST", "/fhir/Subscription"),
    ("GET", "/fhir/Subscription/$status"),
    ("GET", "/fhir/Subscription/{id}"),
    ("PUT", "/fhir/Subscription/{id}"),
    ("DELETE", "/fhir/Subscription/{id}"),
    ("GET", "/fhir/Subscription/{id}/$status"),
    ("GET", "/fhir/Subscription/{id}/$events"),
    ("GET", "/fhir/PlanDefinition/{id}/$apply"),
    ("POST", "/fhir/PlanDefinition/{id}/$apply"),
    ("POST", "/fhir/{type}/$validate"),
    ("POST", "/fhir/{type}/_search"),
    ("GET", "/fhir/{type}/_history"),
    ("GET", "/fhir/{type}"),
    ("POST", "/fhir/{type}"),
    ("PUT", "/fhir/{type}"),
    ("PATCH", "/fhir/{type}"),
    ("GET", "/fhir/{type}/{id}"),
    ("PUT", "/fhir/{type}/{id}"),
    ("PATCH", "/fhir/{type}/{id}"),
    ("GET", "/fhir/{type}/{id}/$everything"),
    ("POST", "/fhir/{type}/{id}/$everything"),
    ("GET", "/fhir/{type}/{id}/$document"),
    ("GET", "/fhir/{type}/{id}/$timeline"),
    ("GET", "/fhir/{type}/{id}/$diff"),
    ("GET", "/fhir/{type}/{id}/_history"),
    ("GET", "/fhir/{type}/{id}/_history/{version}"),
    ("GET", "/bulk/jobs/{id}"),
    ("DELETE", "/bulk/jobs/{id}"),
    ("GET", "/bulk/files/{job}/{file}"),
];

/// GET, and HEAD for the same without its body (RFC 9110, 9.3.2).
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn routes(app: &mut web::ServiceConfig) {
    app.route("/health/live", get().to(ops::live))
        .route("/health/ready", get().to(ops::ready))
        .route("/metrics", get().to(ops::metrics))
        .route("/v1/status", get().to(ops::show))
        .route("/.well-known/smart-configuration", get().to(oauth::smart_configuration))
        .route("/fhir/.well-known/smart-configuration", get().to(oauth::smart_configuration))
        .route("/.well-known/jwks.json", get().to(oauth::jwks))
        .route("/oauth/token", web::post().to(oauth::token))
        .route("/oauth/introspect", web::post().to(oauth::introspect))
        .route("/v1/rehab-plans", web::post().to(|call| v1::submit(Kind::RehabPlan, call)))
        .route("/v1/referrals", web::post().to(|call| v1::submit(Kind::Referral, call)))
        .route("/v1/handovers", web::post().to(|call| v1::submit(Kind::Handover, call)))
        .route("/v1/activities", web::post().to(|call| v1::submit(Kind::Activity, call)))
        .route("/v1/exchanges", get().to(exchanges::list))
        .route("/v1/exchanges/search", web::post().to(exchanges::search))
        .route("/v1/exchanges/{id}", get().to(exchanges::read))
        .route("/v1/exchanges/{id}/document", get().to(exchanges::document))
        .route("/v1/exchanges/{id}/answers", web::post().to(answers::post))
        .route("/v1/exchanges/{id}/cancel", web::post().to(exchanges::cancel))
        .route("/v1/exchanges/{id}/retry", web::post().to(exchanges::retry))
        .route("/v1/exchanges/{id}/consultations", web::post().to(consultations::record))
        .route("/v1/responsibility/search", web::post().to(responsible::search))
        .route("/v1/patients/{id}/responsibility", get().to(responsible::of_patient))
        .route("/v1/patients/links", web::post().to(patients::make))
        .route("/v1/patients/links/{id}", get().to(patients::read))
        .route("/v1/patients/links/{id}/undo", web::post().to(patients::undo))
        .route("/v1/patients/{id}/deceased", web::post().to(patients::died))
        .route("/v1/patients/{id}/deceased/withdraw", web::post().to(patients::lives))
        .route("/v1/patients/{id}/protection/lift", web::post().to(patients::unprotected))
        .route("/v1/exchanges/{id}/timeline", get().to(loops::timeline))
        .route("/v1/exchanges/{id}/diff", get().to(fhir::diff_of_exchange))
        .route("/v1/exchanges/{id}/clocks/pause", web::post().to(loops::pause))
        .route("/v1/exchanges/{id}/clocks/resume", web::post().to(loops::resume))
        .route("/v1/open-loops", get().to(loops::list))
        .route("/v1/deliveries", get().to(deliveries::list))
        .route("/v1/deliveries/resend", web::post().to(resend::post))
        .route("/v1/deliveries/{id}/retry", web::post().to(deliveries::retry))
        .route("/v1/deliveries/{id}/skip", web::post().to(deliveries::skip))
        .route("/v1/blocks", web::post().to(blocks::register))
        .route("/v1/blocks/search", web::post().to(blocks::search))
        .route("/v1/blocks/{id}", get().to(blocks::read))
        .route("/v1/blocks/{id}/lift", web::post().to(blocks::lifted))
        .route("/v1/conflicts/{id}/settle", web::post().to(conflicts::settle))
        .route("/v1/programmes", get().to(programmes::list))
        .route("/v1/programmes", web::post().to(programmes::start))
        .route("/v1/programmes/{id}", get().to(programmes::read))
        .route("/v1/programmes/{id}/events", web::post().to(programmes::event))
        .route("/v1/programmes/{id}/messages/{code}/sent", web::post().to(programmes::sent))
        .route("/v1/programmes/{id}/eligibility", web::post().to(programmes::eligibility))
        .route("/v1/partners", get().to(deliveries::partners))
        .route("/v1/answers/held", get().to(deliveries::held))
        .route("/v1/patients/{id}/access-log", get().to(access_log::list))
        .route("/v1/registries", get().to(registries::list))
        .route("/v1/registries/{name}/opt-outs", web::post().to(registries::opt_out))
        .route("/v1/registries/{name}/opt-outs/search", web::post().to(registries::search))
        .route("/v1/registries/{name}/opt-outs/{id}", get().to(registries::read))
        .route("/v1/registries/{name}/opt-outs/{id}/lift", web::post().to(registries::lift))
        .route("/v1/registries/{name}/information", web::post().to(registries::inform))
        .route("/v1/registries/{name}/erasures", get().to(registries::erasures))
        .route("/v1/registries/{name}/erasures/confirm", web::post().to(registries::confirm))
        .route("/v1/registries/{name}/codes", get().to(registries::codes))
        .route("/v1/disclosures/search", web::post().to(registries::disclosures))
        .route("/v1/holds", get().to(registries::keeping::list))
        .route("/v1/holds", web::post().to(registries::keeping::place))
        .route("/v1/holds/{id}/lift", web::post().to(registries::keeping::lift))
        .route("/v1/removals", get().to(registries::keeping::removals))
        .route("/v1/responsibility", web::post().to(responsibility::ask))
        .route("/v1/statistics/kva", get().to(statistics::kva))
        .route("/v1/statistics/indicators", get().to(statistics::indicators))
        .route("/fhir/metadata", get().to(fhir::metadata))
        .route("/fhir/AuditEvent", get().to(fhir::search_audit))
        .route("/fhir/AuditEvent/_search", web::post().to(fhir::search_audit_post))
        .route("/fhir/AuditEvent/{id}", get().to(fhir::read_audit))
        .route("/fhir/Patient/{id}/$access-log", get().to(access_log::operation))
        .route("/fhir/_history", get().to(fhir::history_of_all))
        .route("/fhir/$export", get().to(bulk::of_system))
        .route("/fhir/$export", web::post().to(bulk::of_system_post))
        .route("/fhir/Patient/$export", get().to(bulk::of_patients))
        .route("/fhir/Patient/$export", web::post().to(bulk::of_patients_post))
        .route("/fhir/Group/{id}/$export", get().to(bulk::of_group))
        .route("/fhir/Group/{id}/$export", web::post().to(bulk::of_group_post))
        .route("/fhir/$verify", web::post().to(bulk::verify))
        .route("/fhir/Group", get().to(bulk::groups))
        .route("/fhir/Group/{id}", get().to(bulk::group))
        .route("/fhir/Subscription", get().to(fhir::subscription::search))
        .route("/fhir/Subscription", web::post().to(fhir::subscription::create))
        .route("/fhir/Subscription/$status", get().to(fhir::subscription::status_of_all))
        .route("/fhir/Subscription/{id}", get().to(fhir::subscription::read))
        .route("/fhir/Subscription/{id}", web::put().to(fhir::subscription::update))
        .route("/fhir/Subscription/{id}", web::delete().to(fhir::subscription::remove))
        .route("/fhir/Subscription/{id}/$status", get().to(fhir::subscription::status))
        .route("/fhir/Subscription/{id}/$events", get().to(fhir::subscription::events))
        // What is no type is not taken for one by the methods that these lack.
        .route("/fhir/.well-known/smart-configuration", web::to(problem::no_route))
        .route("/fhir/metadata", web::to(problem::no_route))
        .route("/fhir/_history", web::to(problem::no_route))
        .route("/fhir/Measure/{id}/$evaluate-measure", get().to(fhir::evaluate))
        .route("/fhir/Measure/{id}/$evaluate-measure", web::post().to(fhir::evaluate_post))
        .route("/fhir/PlanDefinition/{id}/$apply", get().to(fhir::apply))
        .route("/fhir/PlanDefinition/{id}/$apply", web::post().to(fhir::apply_post))
        .route("/fhir/{type}/$validate", web::post().to(fhir::validate))
        .route("/fhir/{type}/_search", web::post().to(fhir::search_post))
        .route("/fhir/{type}/_history", get().to(fhir::history_of_type))
        .route("/fhir/{type}", get().to(fhir::search_get))
        .route("/fhir/{type}", web::post().to(fhir::create))
        .route("/fhir/{type}", web::put().to(fhir::update_meant))
        .route("/fhir/{type}", web::patch().to(fhir::patch_meant))
        .route("/fhir/{type}/{id}", get().to(fhir::read))
        .route("/fhir/{type}/{id}", web::put().to(fhir::update))
        .route("/fhir/{type}/{id}", web::patch().to(fhir::patch))
        .route("/fhir/{type}/{id}/$everything", get().to(fhir::everything))
        .route("/fhir/{type}/{id}/$everything", web::post().to(fhir::everything_post))
        .route("/fhir/{type}/{id}/$document", get().to(fhir::document))
        .route("/fhir/{type}/{id}/$timeline", get().to(fhir::timeline))
        .route("/fhir/{type}/{id}/$diff", get().to(fhir::diff))
        .route("/fhir/{type}/{id}/_history", get().to(fhir::history))
        .route("/fhir/{type}/{id}/_history/{version}", get().to(fhir::vread))
        .route("/bulk/jobs/{id}", get().to(bulk::standing))
        .route("/bulk/jobs/{id}", web::delete().to(bulk::remove))
        .route("/bulk/files/{job}/{file}", get().to(bulk::file))
        .default_service(web::to(problem::no_route));
}

/// Makes the server. It runs when it is awaited, and stops gracefully through its handle.
pub fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
) -> std::io::Result<Server> {
    let drain_s = gateway.config.drain.as_secs();
    let bounds = gateway.config.limits;
    let data = web::Data::from(gateway);
    let turnstile = web::Data::new(Turnstile::new(&bounds));
    let watch = Watch::begin(&bounds);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(turnstile.clone())
            .wrap(middleware::from_fn(door::check))
            .wrap(middleware::from_fn(fhir::negotiate))
            .wrap(middleware::Compress::default())
            .wrap(middleware::from_fn(limits::check))
            .wrap(middleware::from_fn(refusals::watch))
            .wrap(middleware::from_fn(observe::watch))
            .configure(routes)
    })
    .workers(bounds.workers)
    .max_connections(bounds.connections.div_ceil(bounds.workers))
    .on_connect(move |socket, data| watch.add(socket, data))
    .client_request_timeout(Duration::from_secs(bounds.header_s))
    .keep_alive(Duration::from_secs(bounds.keep_alive_s))
    .shutdown_timeout(drain_s)
    .tls_handshake_timeout(Duration::from_secs(bounds.header_s))
    .disable_signals();
    let server = match certificates {
        Some(certificates) => {
            let tls = certificates.server().map_err(std::io::Error::other)?;
            server.listen_rustls_0_23(listener, tls)?
        }
        None => server.listen(listener)?,
    };
    Ok(server.run())
}
