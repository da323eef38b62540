//! A form: `application/x-www-form-urlencoded`, within its bound, each parameter once (RFC 6749, 3.2).

use std::collections::BTreeMap;
use std::pin::Pin;

use actix_web::{FromRequest, HttpRequest, dev, web};

use super::super::body::{FORM, media_type, read};
use super::refusal::Refusal;
use crate::Gateway;

/// The fields that have a value, by name.
pub struct Form(BTreeMap<String, String>);

impl Form {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(bytes).into_owned() {
            if fields.insert(name, value).is_some() {
                return Err(Refusal::form("a parameter stands there twice"));
            }
        }
        // What is sent without a value counts as left out.
        fields.retain(|_, value| !value.is_empty());
        Ok(Self(fields))
    }
}

impl FromRequest for Form {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let most = request.app_data::<web::Data<Gateway>>().map_or(0, |g| g.config.oauth.form_bytes);
        let is_form = media_type(request) == FORM;
        let has_query = !request.query_string().is_empty();
        let body = read(request, payload, most, "oauth.form_bytes");
        Box::pin(async move {
            if has_query {
                return Err(Refusal::form(
                    "parameters stand in the body, never in the address, which is logged on its way",
                ));
            }
            let bytes = body.await?;
            if !is_form && !bytes.is_empty() {
                return Err(Refusal::form("Content-Type is application/x-www-form-urlencoded"));
            }
            Self::parse(&bytes)
        })
    }
}
