//! How an export stands, and its end.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, EXPIRES, HttpDate, RETRY_AFTER};
use actix_web::{HttpResponse, web};

use super::super::caller::Call;
use super::super::problem::{Answer, Problem};
use super::export_id;
use crate::fhir::issue::{Code, Issue, outcome};
use crate::registry::standing::{self, Standing};

/// `GET /bulk/jobs/{id}`
pub async fn standing(call: Call, id: web::Path<String>) -> Answer {
    let id = export_id(&id)?;
    let every_s = call.gateway.config.export.poll.as_secs();
    match standing::standing(&call.gateway, &call.caller, id, call.now).await? {
        Standing::Open(progress) => {
            if !call.gateway.exports.may_poll(id, every_s, call.now) {
                return Err(Problem::too_many("export.poll_s", u32::try_from(every_s).unwrap_or(u32::MAX)));
            }
            Ok(HttpResponse::build(StatusCode::ACCEPTED)
                .insert_header(("X-Progress", progress))
                .insert_header((RETRY_AFTER, every_s.to_string()))
                .insert_header((CACHE_CONTROL, "no-store"))
                .finish())
        }
        Standing::Done { manifest, expires_at } => {
            let mut response = HttpResponse::Ok();
            if let Some(at) = expires_at {
                response.insert_header((EXPIRES, HttpDate::from(std::time::SystemTime::from(at)).to_string()));
            }
            Ok(response
                .insert_header((CACHE_CONTROL, "private, no-cache"))
                .content_type("application/json")
                .body(manifest.to_string()))
        }
        Standing::Failed => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Issue::error(
                Code::Exception,
                "",
                format!("Exporten misslyckades; begär den igen. Ange {id} vid felanmälan."),
                format!("The export failed; ask for it again. Quote {id} when reporting."),
            ),
        )),
    }
}

/// `DELETE /bulk/jobs/{id}`
pub async fn remove(call: Call, id: web::Path<String>) -> Answer {
    let id = export_id(&id)?;
    standing::remove(&call.gateway, &call.caller, id, call.now).await?;
    let said = Issue::information(
        "",
        "Exporten är borttagen, och dess filer med den.",
        "The export is deleted, and its files with it.",
    );
    Ok(HttpResponse::build(StatusCode::ACCEPTED)
        .content_type("application/fhir+json")
        .body(outcome(&[said]).to_string()))
}
