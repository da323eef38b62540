//! What the gateway says of its doors, to programs: SMART's configuration, our public keys, and `security` of the
//! CapabilityStatement.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::Gateway;
use crate::config::Config;
use crate::fhir::search::types;

/// `GET /.well-known/smart-configuration`, also under `/fhir`.
pub async fn smart_configuration(gateway: web::Data<Gateway>) -> HttpResponse {
    let scopes = std::iter::once("*").chain(types().iter().copied()).map(|name| format!("system/{name}.rs"));
    HttpResponse::Ok().json(json!({
        "token_endpoint": gateway.config.token_url(),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "introspection_endpoint": introspection_url(&gateway.config),
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": scopes.collect::<Vec<_>>(),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }))
}

fn introspection_url(config: &Config) -> String {
    format!("{}/oauth/introspect", config.base_url)
}

/// `GET /.well-known/jwks.json`: what our tokens, and our assertions at a partner's, are verified with.
pub async fn jwks(gateway: web::Data<Gateway>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "public, max-age=60")).json(gateway.signer.jwks())
}

/// `CapabilityStatement.rest.security`; none where callers show no token.
pub fn security(config: &Config) -> Option<Value> {
    config.is_authenticated().then(|| {
        json!({
            "extension": [{
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [
                    { "url": "token", "valueUri": config.token_url() },
                    { "url": "introspect", "valueUri": introspection_url(config) },
                ],
            }],
            "service": [{
                "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "SMART-on-FHIR",
                }],
            }],
            "description": "SMART Backend Services: client_credentials with private_key_jwt. A partner with keys may also \
                show a JWT that it signed itself.",
        })
    })
}
