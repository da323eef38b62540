//! Reads `units.csv`: which units there are, and which system serves each of them.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::ConfigError;
use crate::domain::{Level, Unit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitRow {
    hsa_id: String,
    name: String,
    care_provider_hsa_id: String,
    orgnr: String,
    level: String,
    region: String,
    partner: String,
    valid_from: Option<chrono::NaiveDate>,
    valid_to: Option<chrono::NaiveDate>,
}

pub(super) const EXAMPLE: &str = include_str!("../units.example.csv");

/// Those of the file, or, where none is named, the invented ones that come with the program.
pub(super) fn read(file: &Path, base: &Path, warnings: &mut Vec<String>) -> Result<Vec<Unit>, ConfigError> {
    if file.as_os_str().is_empty() {
        warnings
            .push("no units file is configured (gateway.units): using the invented units inside the program".into());
        return parse_units("units.example.csv", EXAMPLE);
    }
    let path = base.join(file);
    let text = fs::read_to_string(&path).map_err(|source| ConfigError::File { path: path.clone(), source })?;
    parse_units(&path.display().to_string(), &text)
}

/// Reads `units.csv`. The first finding with its row is the error: a directory that is half read routes wrongly.
pub fn parse_units(path: &str, text: &str) -> Result<Vec<Unit>, ConfigError> {
    let mut units: Vec<Unit> = Vec::new();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    for (index, row) in reader.deserialize::<UnitRow>().enumerate() {
        let row_error = |what: String| ConfigError::Units { path: path.to_owned(), row: index + 2, what };
        let row = row.map_err(|e| row_error(e.to_string()))?;
        let level = Level::parse(&row.level).ok_or_else(|| {
            row_error(format!("level {:?} is not specialist, primary, municipality or external", row.level))
        })?;
        if row.hsa_id.is_empty() || row.partner.is_empty() || row.care_provider_hsa_id.is_empty() {
            return Err(row_error("hsa_id, care_provider_hsa_id and partner must have a value".into()));
        }
        if units.iter().any(|u| u.hsa_id.eq_ignore_ascii_case(&row.hsa_id)) {
            return Err(row_error(format!("{} stands twice", row.hsa_id)));
        }
        units.push(Unit {
            hsa_id: row.hsa_id,
            name: row.name,
            care_provider: row.care_provider_hsa_id,
            orgnr: row.orgnr,
            level,
            region: row.region,
            partner: row.partner,
            valid_from: row.valid_from,
            valid_to: row.valid_to,
        });
    }
    Ok(units)
}
