//! Sizes and ages in words, as docker writes them.

use jiff::tz::TimeZone;
use layerfs::types::Timestamp;

/// A size in three figures and a unit of powers of 1000: `7.81MB`.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    // Three figures are shown; a double has fifteen.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let text = match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    };
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", UNITS[unit])
}

/// How long ago a time was: `2 weeks ago`; `N/A` for none.
pub(crate) fn human_age(time: Option<Timestamp>, now: Timestamp) -> String {
    match time {
        None => "N/A".to_owned(),
        Some(time) => format!("{} ago", human_duration(now.secs.saturating_sub(time.secs))),
    }
}

/// A duration in its largest unit, rounded as docker rounds it.
fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// A time as `docker images --format '{{.CreatedAt}}'` shows it: `2024-05-06 07:08:09 +0000 UTC`.
pub(crate) fn local_time(time: Option<Timestamp>) -> String {
    let shown = |time: jiff::Timestamp| {
        time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
    };
    on_calendar(time).map_or_else(|| "N/A".to_owned(), shown)
}

/// A time in RFC 3339 and UTC; empty for none.
pub(crate) fn utc_time(time: Option<Timestamp>) -> String {
    on_calendar(time).map_or_else(String::new, |time| time.to_string())
}

/// Nothing also for years that the calendar does not have.
fn on_calendar(time: Option<Timestamp>) -> Option<jiff::Timestamp> {
    let time = time?;
    jiff::Timestamp::new(time.secs, i32::try_from(time.nanos).ok()?).ok()
}

/// Now.
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// The first twelve digits of an id, by which docker shows it.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_figures_and_no_idle_zeros() {
        let shown = [0, 999, 1000, 1234, 9_996, 123_456, 999_499, 999_500, 7_810_000, 1_240_000_000];
        let texts = shown.map(human_size);
        let expected = ["0B", "999B", "1kB", "1.23kB", "10kB", "123kB", "999kB", "1MB", "7.81MB", "1.24GB"];
        assert_eq!(texts, expected);
        assert_eq!(human_size(u64::MAX), "18.4EB");
    }

    #[test]
    fn ages_are_rounded_as_docker_rounds_them() {
        let ages = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (59 * 60, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (730 * 86_400, "2 years"),
        ];
        for (seconds, text) in ages {
            assert_eq!(human_duration(seconds), text, "{seconds} s");
        }
    }

    #[test]
    fn a_missing_time_is_not_applicable() {
        let at = |secs| Timestamp { secs, nanos: 0 };
        assert_eq!(human_age(None, at(1_700_000_000)), "N/A");
        assert_eq!(human_age(Some(at(1_699_999_940)), at(1_700_000_000)), "About a minute ago");
        assert_eq!(utc_time(Some(at(1_700_000_000))), "2023-11-14T22:13:20Z");
        assert_eq!(utc_time(Some(at(i64::MAX))), "");
    }
}
