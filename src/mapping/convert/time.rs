//! RIV-TA times and dates: no zone and no separators, to be read as Swedish local time.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike};
use chrono_tz::Europe::Stockholm;
use serde_json::json;

use super::{Made, Text};

const TIME: &str = "%Y-%m-%dT%H:%M:%S%:z";

/// `YYYYMMDDhhmm[ss]` to a dateTime with its zone.
pub(super) fn time_out(text: &str) -> Result<Made, Text> {
    let wrong = || Text::new("Tiden ska skrivas ÅÅÅÅMMDDttmm[ss].", "The time should be written YYYYMMDDhhmm[ss].");
    if !matches!(text.len(), 12 | 14) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let local = if text.len() == 12 { format!("{text}00") } else { text.to_owned() };
    local.get(..8).and_then(day_of).ok_or_else(no_day)?;
    let local = NaiveDateTime::parse_from_str(&local, "%Y%m%d%H%M%S").map_err(|_| no_time())?;
    if local.second() > 59 || local.nanosecond() >= 1_000_000_000 {
        return Err(no_time());
    }
    let (at, note) = match Stockholm.from_local_datetime(&local) {
        LocalResult::Single(at) => (at, None),
        LocalResult::Ambiguous(earlier, _) => (
            earlier,
            Some(Text::new(
                "Klockslaget finns två gånger den natt då vintertid börjar; den tidigare har valts.",
                "The time occurs twice in the night when winter time begins; the earlier one was taken.",
            )),
        ),
        LocalResult::None => {
            let before = Stockholm.from_local_datetime(&(local - TimeDelta::hours(1))).earliest().ok_or_else(wrong)?;
            (
                before + TimeDelta::hours(1),
                Some(Text::new(
                    "Klockslaget finns inte den natt då sommartid börjar; det har flyttats fram en timme.",
                    "The time does not exist in the night when summer time begins; it was moved an hour ahead.",
                )),
            )
        }
    };
    Ok(Made { value: json!(at.format(TIME).to_string()), note })
}

/// The day of `YYYYMMDD`, if the calendar has it.
fn day_of(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y%m%d").ok()
}

fn no_day() -> Text {
    Text::new("Dagen finns inte i kalendern.", "The day does not exist in the calendar.")
}

fn no_time() -> Text {
    Text::new("Klockslaget finns inte på dygnet.", "The time does not exist in a day.")
}

/// A dateTime to `YYYYMMDDhhmmss`, local.
pub(super) fn time_back(text: &str) -> Result<Made, Text> {
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| {
        Text::new("Tidpunkten ska ha klockslag och zon.", "The point in time should have a time of day and a zone.")
    })?;
    let note = (at.nanosecond() > 0)
        .then(|| Text::new("Delar av en sekund faller bort.", "Fractions of a second are dropped."));
    Ok(Made { value: json!(at.with_timezone(&Stockholm).format("%Y%m%d%H%M%S").to_string()), note })
}

/// `YYYYMMDD` to a date.
pub(super) fn date_out(text: &str) -> Result<Made, Text> {
    let wrong = || Text::new("Datumet ska skrivas ÅÅÅÅMMDD.", "The date should be written YYYYMMDD.");
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let date = day_of(text).ok_or_else(no_day)?;
    Ok(json!(date.format("%Y-%m-%d").to_string()).into())
}

/// A date, or the Swedish date of a dateTime, to `YYYYMMDD`.
pub(super) fn date_back(text: &str) -> Result<Made, Text> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(json!(date.format("%Y%m%d").to_string()).into());
    }
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| Text::new("Datumet ska ha år, månad och dag.", "The date should have year, month and day."))?;
    let note = Text::new(
        "Klockslaget faller bort; formatet har bara datum.",
        "The time of day is dropped; the format has only a date.",
    );
    Ok(Made { value: json!(at.with_timezone(&Stockholm).format("%Y%m%d").to_string()), note: Some(note) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_autumn_hour_is_the_earlier_one_and_is_told() {
        let made = time_out("20261025023000").unwrap();
        assert_eq!(made.value, json!("2026-10-25T02:30:00+02:00"));
        assert!(made.note.is_some());
    }

    #[test]
    fn a_time_in_the_spring_gap_is_moved_ahead_and_told() {
        let made = time_out("202603290230").unwrap();
        assert_eq!(made.value, json!("2026-03-29T03:30:00+02:00"));
        assert!(made.note.is_some());
    }

    #[test]
    fn a_time_in_another_zone_comes_back_as_swedish_time() {
        assert_eq!(time_back("2026-03-01T11:00:00Z").unwrap().value, json!("20260301120000"));
        assert!(time_back("2026-03-01").is_err());
    }

    #[test]
    fn what_is_not_a_date_is_refused() {
        for wrong in ["20260230", "2026-03-01", "2026030", "åååå0301"] {
            assert!(date_out(wrong).is_err(), "{wrong}");
        }
        assert!(date_back("2026-03").is_err());
        assert_eq!(date_back("2026-02-28T23:30:00Z").unwrap().value, json!("20260301"));
    }

    #[test]
    fn a_day_that_does_not_exist_is_called_that_and_not_badly_written() {
        for text in ["202602301200", "20261301120000"] {
            assert!(time_out(text).unwrap_err().en.contains("day does not exist"), "{text}");
        }
        assert!(date_out("20260230").unwrap_err().en.contains("day does not exist"));
        for text in ["202602282500", "20260228236000", "20260228235960"] {
            assert!(time_out(text).unwrap_err().en.contains("time does not exist"), "{text}");
        }
        assert!(time_out("2026-02-28").unwrap_err().en.contains("YYYYMMDDhhmm"));
    }

    proptest! {
        #[test]
        fn times_come_back(days in 0i64..20_000, second in 0u32..86_400) {
            let at = NaiveDate::from_ymd_opt(1990, 1, 1).unwrap() + TimeDelta::days(days);
            let text = at.and_hms_opt(second / 3600, second / 60 % 60, second % 60).unwrap().format("%Y%m%d%H%M%S").to_string();
            let made = time_out(&text).unwrap();
            let back = time_back(made.value.as_str().unwrap()).unwrap();
            prop_assert!(back.value == json!(text) || made.note.is_some());
            let date = at.format("%Y%m%d").to_string();
            let there = date_out(&date).unwrap();
            prop_assert_eq!(date_back(there.value.as_str().unwrap()).unwrap().value, json!(date));
        }
    }
}
