//! A table for a person: columns as wide as what is in them, up to a bound, so that one long name does not
//! push a thousand rows off the screen.

use imprint_core::settings::written;
use std::time::Duration;

/// No column is padded to more than this many characters; what is longer pushes its own row alone.
const WIDEST: usize = 44;

/// The rows below their head, without a newline at the end.
#[must_use]
pub fn of<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let width = |at: usize| {
        let cells = all.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A span that fits a cell: to the minute from an hour on.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    written(Duration::from_secs(if seconds < 3600 { seconds } else { seconds - seconds % 60 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_but_for_what_is_too_long() {
        let long = "x".repeat(WIDEST + 1);
        let rows = [["a", "1"], ["bcd", "22"], [&long, "3"]].map(|row| row.map(str::to_owned));
        let wanted = format!("ID   N\na    1\nbcd  22\n{long}  3");
        assert_eq!(of(["ID", "N"], rows.into_iter()), wanted);
        assert_eq!(of(["ID"], std::iter::empty()), "ID");
    }

    #[test]
    fn spans() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (3599, "59m59s"), (3601, "1h"), (90_061, "1d1h1m")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
