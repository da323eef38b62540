//! What the settings promise, read as a file would have them.

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text)
}

#[test]
fn the_defaults_alone_are_a_working_configuration() {
    let config = load("").unwrap();
    assert!(config.listen.ip().is_loopback());
    assert!(config.directory.find("SE2321000131-E000000000101").is_some());
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let error = load("[gateway]\nlissten = \"x\"").unwrap_err().to_string();
    assert!(error.contains("lissten"), "{error}");
}

#[test]
fn reads_go_unrecorded_only_where_nobody_has_to_log_in() {
    let off = "[audit]\nreads = false\n";
    assert!(load(off).unwrap().warnings.iter().any(|w| w.contains("audit.reads")));
    let partner = "[[partner]]\nname = \"north\"\nchannel = \"poll\"\njwks_file = \"north.json\"\n";
    let error = load(&format!("{off}{partner}")).unwrap_err().to_string();
    assert!(error.starts_with("audit.reads"), "{error}");
    assert!(load(partner).unwrap().audit_reads);
}

#[test]
fn a_schedule_shorter_than_eight_days_is_refused() {
    assert!(load("[delivery]\ngive_up_after_h = 24").is_err());
}

#[test]
fn a_bad_row_of_units_is_named() {
    let error = parse_units("units.csv", &units::EXAMPLE.replace("specialist", "hospital")).unwrap_err().to_string();
    assert!(error.starts_with("units.csv row 2:"), "{error}");
}

#[test]
fn a_time_that_no_clock_can_count_is_refused() {
    let partner = "[[partner]]\nname = \"north\"\nchannel = \"poll\"\n";
    for (key, text) in [
        ("delivery.retry_s", format!("[delivery]\nretry_s = [5, {}]", i64::MAX)),
        ("delivery.retry_s", "[delivery]\nretry_s = [604801]".to_owned()),
        ("delivery.poll_s", format!("[delivery]\npoll_s = {}", i64::MAX)),
        ("partner[0] (north)", format!("{partner}retry = [{}]", i64::MAX)),
        ("partner[0] (north)", format!("{partner}timeout_s = {}", i64::MAX)),
    ] {
        let error = load(&text).unwrap_err().to_string();
        assert!(error.starts_with(key) && error.contains("seven days"), "{error}");
    }
    assert!(load("[delivery]\nretry_s = [604800]").is_ok());
}

#[test]
fn a_breaker_that_would_never_open_or_never_probe_is_refused() {
    for (more, key) in [
        ("breaker_failures = 0", "breaker_failures"),
        ("breaker_percent = 101", "breaker_percent"),
        ("probe_s = []", "probe_s"),
    ] {
        let error = load(&format!("[delivery]\n{more}")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("delivery.{key}")), "{error}");
    }
}
