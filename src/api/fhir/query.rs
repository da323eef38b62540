//! A query as it stands in a URL or form.

use actix_web::web;

use super::super::problem::Problem;

/// Splits `a=1&b=2`.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, Problem> {
    web::Query::<Vec<(String, String)>>::from_query(text)
        .map(web::Query::into_inner)
        .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))
}
