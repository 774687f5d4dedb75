//! The kinds of value that a setting may have. Each turns a TOML value into what a program uses, or
//! says in words why it cannot.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;
use toml::de::DeValue;

/// A value of the file.
pub type Value<'a> = DeValue<'a>;

/// What was read, or everything that is wrong with it.
pub type Read<T> = Result<T, Vec<String>>;

/// A text that is anything with a `FromStr`: a name, a path, a network.
///
/// # Errors
/// When the value is no text, or the text is not taken.
pub fn text<T: FromStr<Err: Display>>(value: &Value<'_>) -> Read<T> {
    match value {
        DeValue::String(text) => text.parse().map_err(|e: T::Err| vec![e.to_string()]),
        other => wrong("a text in quotes", other),
    }
}

/// `true` or `false`.
///
/// # Errors
/// When the value is neither.
pub fn flag(value: &Value<'_>) -> Read<bool> {
    match value {
        DeValue::Boolean(flag) => Ok(*flag),
        other => wrong("true or false", other),
    }
}

/// A whole number within `range`.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&Value<'_>) -> Read<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value| {
        let kind = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(digits) = value else { return wrong(&kind, value) };
        i64::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| vec![format!("must be {kind}")])
    }
}

/// A list of values of one kind, each judged by itself.
pub fn list<T>(item: impl Fn(&Value<'_>) -> Read<T>) -> impl Fn(&Value<'_>) -> Read<Vec<T>> {
    move |value| {
        let DeValue::Array(items) = value else { return wrong("a list in [ ]", value) };
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (at, value) in (1..).zip(items.iter()) {
            match item(value.get_ref()) {
                Ok(value) => good.push(value),
                Err(wrongs) => bad.extend(wrongs.into_iter().map(|wrong| format!("item {at}: {wrong}"))),
            }
        }
        if bad.is_empty() { Ok(good) } else { Err(bad) }
    }
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A span of time such as `"15m"`, `"36h"` or `"1d12h"`: whole numbers with the units d, h, m and s,
/// larger ones first.
///
/// # Errors
/// When the value is no such text, or longer than ten years.
pub fn duration(value: &Value<'_>) -> Read<Duration> {
    let DeValue::String(text) = value else { return wrong("a span such as \"15m\" or \"1d12h\"", value) };
    let refuse = || vec!["must be a span such as \"15m\" or \"1d12h\", of at most 3650d".to_owned()];
    let (mut rest, mut seconds) = (text.as_ref(), 0_u64);
    for (unit, worth) in UNITS {
        if let Some((digits, after)) = rest.split_once(unit) {
            // A sign or a space is no digit; nor is a smaller unit in front of a larger one.
            if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(refuse());
            }
            seconds += digits.parse::<u64>().map_err(|_| refuse())? * worth;
            rest = after;
        }
    }
    if text.is_empty() || !rest.is_empty() || seconds > 3_650 * 86_400 {
        return Err(refuse());
    }
    Ok(Duration::from_secs(seconds))
}

/// A span as [`duration`] reads it, to the second: `1d12h`, `90s` as `1m30s`, nothing as `0s`.
#[must_use]
pub fn written(span: Duration) -> String {
    let mut rest = span.as_secs();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, worth) in UNITS {
        if rest >= worth {
            text.push_str(&format!("{}{unit}", rest / worth));
            rest %= worth;
        }
    }
    text
}

/// What a value is, with its article.
pub(super) fn of(value: &Value<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

fn wrong<T>(kind: &str, value: &Value<'_>) -> Read<T> {
    Err(vec![format!("must be {kind}, not {}", of(value))])
}
