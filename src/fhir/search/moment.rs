//! What span of time a FHIR date, dateTime or instant stands for.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Europe::Stockholm;

/// The span in milliseconds since 1970, both ends included: a year is a whole year, a minute a whole minute.
///
/// Without a zone it is read in Europe/Stockholm, in resources and in searches alike: a Swedish day begins at Swedish
/// midnight.
pub fn moment(text: &str) -> Option<(i64, i64)> {
    if text.len() > 10 {
        return point(text);
    }
    let day = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let (first, next) = match text.len() {
        4 => {
            let first = day(&format!("{text}-01-01"))?;
            (first, NaiveDate::from_ymd_opt(first.year() + 1, 1, 1)?)
        }
        7 => {
            let first = day(&format!("{text}-01"))?;
            (first, first.checked_add_months(Months::new(1))?)
        }
        10 => {
            let first = day(text)?;
            (first, first.checked_add_days(Days::new(1))?)
        }
        _ => return None,
    };
    Some((local(first.and_time(NaiveTime::MIN))?, local(next.and_time(NaiveTime::MIN))? - 1))
}

fn point(text: &str) -> Option<(i64, i64)> {
    if !text.is_ascii() {
        return None;
    }
    let (time, zone) = match text.get(11..)?.find(['Z', 'z', '+', '-']) {
        Some(at) => text.split_at_checked(11 + at)?,
        None => (text, ""),
    };
    let width = match (time.len(), time.contains('.')) {
        (16, false) => 60_000,
        (19, false) => 1000,
        (20.., true) => 1,
        _ => return None,
    };
    let whole = if width == 60_000 { format!("{time}:00") } else { time.to_owned() };
    let at = if zone.is_empty() {
        local(NaiveDateTime::parse_from_str(&whole, "%Y-%m-%dT%H:%M:%S%.f").ok()?)?
    } else {
        DateTime::parse_from_rfc3339(&format!("{whole}{zone}")).ok()?.timestamp_millis()
    };
    Some((at, at + width - 1))
}

/// In the autumn hour that comes twice, the earlier; a time that spring skips is where it skips to.
fn local(time: NaiveDateTime) -> Option<i64> {
    let found = Stockholm.from_local_datetime(&time);
    let at = found.earliest().or_else(|| {
        let later = time.checked_add_signed(chrono::TimeDelta::hours(1))?;
        Stockholm.from_local_datetime(&later).earliest()
    })?;
    Some(at.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_date_without_a_day_is_a_whole_month() {
        let (low, high) = moment("2026-02").unwrap();
        assert_eq!(moment("2026-02-01").unwrap().0, low);
        assert_eq!(moment("2026-02-28").unwrap().1, high);
        assert!(moment("2026-02-30").is_none());
    }

    #[test]
    fn a_day_is_a_swedish_day_and_a_time_without_a_zone_a_swedish_time() {
        assert_eq!(moment("2026-07-01").unwrap().0, moment("2026-06-30T22:00:00Z").unwrap().0);
        assert_eq!(moment("2026-01-01").unwrap().0, moment("2025-12-31T23:00:00Z").unwrap().0);
        assert_eq!(moment("2026-07-01T12:00").unwrap(), moment("2026-07-01T10:00Z").unwrap());
    }

    #[test]
    fn what_is_not_said_of_a_time_is_all_of_it() {
        let width = |text| moment(text).map(|(low, high)| high - low + 1);
        assert_eq!(width("2026-03-29"), Some(23 * 3_600_000), "the day that is an hour short");
        assert_eq!(width("2026-01-01T10:00+01:00"), Some(60_000));
        assert_eq!(width("2026-01-01T10:00:00+01:00"), Some(1000));
        assert_eq!(width("2026-01-01T10:00:00.000+01:00"), Some(1));
        for wrong in ["2026-01-01T10", "2026-01-01T25:00Z", "2026-1-1", "2026-01-01T10:00:00+1", "nyss", "åååååååååååå"]
        {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }
}
