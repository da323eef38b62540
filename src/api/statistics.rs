//! What was done, counted: `GET /v1/statistics/kva` and `GET /v1/statistics/indicators`, as JSON or CSV.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::caller::Call;
use super::problem::{Answer, Problem, told};
use crate::access::Operation;
use crate::domain::statistic::Dimension;
use crate::domain::{HsaId, kva};
use crate::fhir::issue::{Code, Issue};
use crate::fhir::primitive::days_of;
use crate::registry::indicators::{self, INDICATORS, Indicator};
use crate::registry::statistics::{self, Question};
use crate::registry::tables;
use crate::sync::witness;

const KVA: [&str; 7] = ["from", "to", "by", "code", "area", "unit", "people"];
const SHARES: [&str; 3] = ["from", "to", "unit"];

/// `GET /v1/statistics/kva?from=&to=&by=&code=&area=&unit=&people=`
pub async fn kva(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::CountActs)?;
    let face = Face::asked(&request)?;
    let asked = Asked::read(&request, &KVA)?;
    let (first, last) = asked.period()?;
    let question = Question {
        first,
        last,
        by: asked.by,
        codes: asked.codes,
        areas: asked.areas,
        units: asked.units,
        people: asked.people,
    };
    let names: Vec<&str> = question.by.iter().map(|d| d.name()).collect();
    let payload = json!({
        "from": first.to_string(), "to": last.to_string(), "by": names, "code": question.codes, "area": question.areas,
        "unit": question.units, "people": question.people,
    });
    let gateway = &call.gateway;
    let counted = statistics::count(gateway, &call.caller.of_statistics(), &question).await?;
    let table = statistics::show(counted, gateway.config.statistics.smallest, &gateway.config.directory);
    told_of(&call, "statistics/kva", &payload).await?;
    Ok(face.answer(|| tables::csv(&table), || tables::json(&table)))
}

/// `GET /v1/statistics/indicators?from=&to=&unit=`
pub async fn indicators(call: Call, request: HttpRequest) -> Answer {
    call.may(Operation::CountActs)?;
    let face = Face::asked(&request)?;
    let asked = Asked::read(&request, &SHARES)?;
    let (first, last) = asked.period()?;
    let gateway = &call.gateway;
    let all: Vec<&'static Indicator> = INDICATORS.iter().collect();
    let measured =
        indicators::measure(gateway, &call.caller.of_statistics(), &all, (first, last), &asked.units).await?;
    let smallest = gateway.config.statistics.smallest;
    let shares: Vec<_> = measured.into_iter().map(|measured| indicators::show(measured, smallest)).collect();
    let (from, to) = (first.to_string(), last.to_string());
    let payload = json!({ "from": from, "to": to, "unit": asked.units });
    told_of(&call, "statistics/indicators", &payload).await?;
    let json = || tables::indicators_json((&from, &to), &asked.units, smallest, &shares);
    Ok(face.answer(|| tables::indicators_csv(&shares), json))
}

/// Who asked what is on record before the answer leaves; of no patient.
async fn told_of(call: &Call, object: &str, question: &Value) -> Result<(), Problem> {
    Ok(witness::record(&call.gateway, &call.caller, "statistics", object, question, call.now).await?)
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    Json,
    Csv,
}

impl Face {
    /// The first of the two that the caller names, by weight; JSON where it takes anything.
    fn asked(request: &HttpRequest) -> Result<Self, Problem> {
        let accept: Vec<&str> = request.headers().get_all(ACCEPT).filter_map(|a| a.to_str().ok()).collect();
        Self::of(&accept.join(",")).ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                Issue::error(
                    Code::NotSupported,
                    "Accept",
                    "Svar ges som application/json eller text/csv.",
                    "Answers are given as application/json or text/csv.",
                ),
            )
        })
    }

    fn of(accept: &str) -> Option<Self> {
        if accept.trim().is_empty() {
            return Some(Self::Json);
        }
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let face = match parts.next()?.to_ascii_lowercase().as_str() {
                "application/json" | "application/*" | "*/*" => Self::Json,
                "text/csv" | "text/*" => Self::Csv,
                _ => return None,
            };
            let weight = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
            (weight > 0.0).then_some((face, weight))
        });
        // Of the same weight the first.
        ranges.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(face, _)| face)
    }

    fn answer(self, csv: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response.insert_header((CACHE_CONTROL, "private, no-store")).insert_header((VARY, "Accept"));
        match self {
            Self::Csv => response.content_type("text/csv; charset=utf-8").body(csv()),
            Self::Json => response.json(json()),
        }
    }
}

/// The parameters, each read or refused.
#[derive(Debug, Default)]
struct Asked {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    by: Vec<Dimension>,
    codes: Vec<String>,
    areas: Vec<String>,
    units: Vec<String>,
    people: bool,
}

impl Asked {
    fn read(request: &HttpRequest, served: &[&str]) -> Result<Self, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|_| Problem::bad_request("", "Frågan kan inte läsas.", "The query cannot be read."))?;
        let mut asked = Self::default();
        for (name, value) in pairs.into_inner() {
            if !served.contains(&name.as_str()) {
                let known = served.join(", ");
                return Err(Problem::bad_request(
                    told(&name),
                    format!("Okänd parameter; kända: {known}."),
                    format!("Unknown parameter; known: {known}."),
                ));
            }
            asked.take(&name, &value)?;
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let wrong = |sv: &str, en: &str| {
            Problem::bad_request(name, format!("Värdet ska vara {sv}."), format!("The value should be {en}."))
        };
        let words = || value.split(',').map(str::trim);
        let is_area = |word: &str| word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        match name {
            "from" | "to" => {
                let (first, last) = day(value).ok_or_else(|| wrong(DAYS.0, DAYS.1))?;
                let (place, day) = if name == "from" { (&mut self.from, first) } else { (&mut self.to, last) };
                *place = Some(day);
            }
            "by" => {
                let known = Dimension::ALL.map(Dimension::name).join(", ");
                for word in words().filter(|word| !word.is_empty()) {
                    let dimension =
                        Dimension::parse(word).ok_or_else(|| wrong(&format!("ur {known}"), &format!("of {known}")))?;
                    if !self.by.contains(&dimension) {
                        self.by.push(dimension);
                    }
                }
            }
            "code" if words().all(kva::has_form) => self.codes.extend(words().map(str::to_owned)),
            "area" if words().all(is_area) => self.areas.extend(words().map(str::to_owned)),
            "unit" if words().all(|word| HsaId::parse(word).is_ok()) => {
                self.units.extend(words().map(str::to_ascii_uppercase));
            }
            "people" => {
                self.people = value.parse().map_err(|_| wrong("true eller false", "true or false"))?;
            }
            "code" => return Err(wrong("KVÅ-koder, som DV143,DV133", "KVÅ codes, as DV143,DV133")),
            "area" => return Err(wrong("områden, som nutrition,tobacco", "areas, as nutrition,tobacco")),
            _ => return Err(wrong("enheters HSA-id", "HSA-ids of units")),
        }
        Ok(())
    }

    fn period(&self) -> Result<(NaiveDate, NaiveDate), Problem> {
        let missing = |name: &str| {
            Problem::bad_request(
                name,
                format!("Ange perioden: from och to, {}.", DAYS.0),
                format!("Give the period: from and to, {}.", DAYS.1),
            )
        };
        let first = self.from.ok_or_else(|| missing("from"))?;
        let last = self.to.ok_or_else(|| missing("to"))?;
        in_order(first, last)
    }
}

const DAYS: (&str, &str) =
    ("ÅÅÅÅ-MM-DD, ÅÅÅÅ-MM eller ÅÅÅÅ mellan 1900 och 2199", "YYYY-MM-DD, YYYY-MM or YYYY from 1900 to 2199");

/// The first and last day of what is given; times of day are not asked by.
pub(super) fn day(text: &str) -> Option<(NaiveDate, NaiveDate)> {
    let (first, last) = days_of(text).filter(|_| text.len() <= 10)?;
    let known = NaiveDate::from_ymd_opt(1900, 1, 1)?..=NaiveDate::from_ymd_opt(2199, 12, 31)?;
    (known.contains(&first) && known.contains(&last)).then_some((first, last))
}

pub(super) fn in_order(first: NaiveDate, last: NaiveDate) -> Result<(NaiveDate, NaiveDate), Problem> {
    if first <= last {
        return Ok((first, last));
    }
    Err(Problem::bad_request(
        "",
        "Periodens första dag är efter dess sista.",
        "The first day of the period is after its last.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_says_which_face_it_reads() {
        for (accept, face) in [
            ("", Some(Face::Json)),
            ("text/csv", Some(Face::Csv)),
            ("*/*", Some(Face::Json)),
            ("text/csv;q=0.5, application/json", Some(Face::Json)),
            ("application/json;q=0.1, text/csv", Some(Face::Csv)),
            ("text/html", None),
            ("text/csv;q=0", None),
        ] {
            assert_eq!(Face::of(accept), face, "{accept}");
        }
    }

    #[test]
    fn a_month_is_all_its_days() {
        let days = |text| day(text).map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(days("2024-02"), Some(("2024-02-01".into(), "2024-02-29".into())));
        assert_eq!(days("2026-02-30"), None);
        assert_eq!(days("1812"), None);
        assert_eq!(days("2026-01-01T00:00:00Z"), None);
    }
}
