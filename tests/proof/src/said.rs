//! What the log of a stage tells of its tests: the words of cargo, of Python's unittest, of `make fuzz` and of
//! `make boot-test`.

use imprint_proof::Row;

/// A row for each program of tests, and for each target of `make fuzz`.
pub fn rows(log: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut program = String::new();
    for line in log.lines() {
        let line = line.trim();
        if let Some(name) = running(line) {
            program = name;
        } else if let Some(row) = cargo(line, &program).or_else(|| fuzz(line)).or_else(|| boots(line)) {
            rows.push(row);
        } else if let Some(ran) = unittest(line) {
            rows.push(Row { name: "tests in Python".to_owned(), tried: ran, held: ran, note: String::new() });
        } else if let Some(failed) = unittest_failed(line)
            && let Some(row) = rows.last_mut()
        {
            row.held = row.held.saturating_sub(failed);
        }
    }
    rows.retain(|row| row.tried > 0);
    rows
}

/// `Running unittests src/lib.rs (target/debug/deps/imprint_core-0123456789abcdef)`
fn running(line: &str) -> Option<String> {
    let path = line.strip_prefix("Running ")?.split_once('(')?.1.strip_suffix(')')?;
    let file = path.rsplit('/').next()?;
    Some(file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned())
}

/// `test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
fn cargo(line: &str, program: &str) -> Option<Row> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |word: &str| {
        let part = counts.split(';').find(|part| part.trim().ends_with(word))?;
        part.trim().split(' ').next()?.parse::<u64>().ok()
    };
    let (passed, failed, ignored) = (count("passed")?, count("failed")?, count("ignored")?);
    // In `make test` these are the tests that `make test-root` runs.
    let note = if ignored > 0 { format!("{ignored} left to `make test-root`") } else { String::new() };
    Some(Row { name: program.to_owned(), tried: passed + failed, held: passed, note })
}

/// `Ran 22 tests in 14.123s`
fn unittest(line: &str) -> Option<u64> {
    line.strip_prefix("Ran ")?.split_once(" test")?.0.parse().ok()
}

/// `FAILED (failures=1, errors=2)`
fn unittest_failed(line: &str) -> Option<u64> {
    let counts = line.strip_prefix("FAILED (")?.strip_suffix(')')?;
    let of = |part: &str| {
        let (what, count) = part.trim().split_once('=')?;
        matches!(what, "failures" | "errors").then(|| count.parse::<u64>().ok())?
    };
    Some(counts.split(',').filter_map(of).sum())
}

/// `fuzz netrc: 123456 inputs in 20 s, 512 places of the code reached`
fn fuzz(line: &str) -> Option<Row> {
    let (target, rest) = line.strip_prefix("fuzz ")?.split_once(": ")?;
    let (inputs, rest) = rest.split_once(" inputs in ")?;
    let inputs = inputs.parse().ok()?;
    let note = rest.split_once(", ")?.1.to_owned();
    Some(Row { name: format!("inputs to {target}"), tried: inputs, held: inputs, note })
}

/// `24 passed, 0 failed, in 184 s`
fn boots(line: &str) -> Option<Row> {
    let (passed, rest) = line.split_once(" passed, ")?;
    let (failed, _) = rest.split_once(" failed, in ")?;
    let (passed, failed) = (passed.parse::<u64>().ok()?, failed.parse::<u64>().ok()?);
    Some(Row { name: "boots".to_owned(), tried: passed + failed, held: passed, note: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line() {
        let check = |log: &str, want: &[(&str, u64, u64, &str)]| {
            let rows = rows(log);
            let is: Vec<_> =
                rows.iter().map(|r| (r.name.as_str(), r.tried, r.held, r.note.as_str())).collect();
            assert_eq!(is, want, "{log}");
        };
        check("", &[]);
        check("test a::b ... ok\nsomething else\n", &[]);
        check(
            "     Running unittests src/lib.rs (target/debug/deps/imprint_core-0f1e2d3c4b5a6978)\n\
             test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             Running tests/main.rs (target/debug/deps/e2e-0f1e2d3c4b5a6978)\n\
             test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s\n",
            &[("imprint_core", 7, 7, ""), ("e2e", 7, 5, "1 left to `make test-root`")],
        );
        // A program without tests says nothing.
        check("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", &[]);
        check("Ran 22 tests in 14.1s\n\nOK\n", &[("tests in Python", 22, 22, "")]);
        check("Ran 1 test in 1s\n\nFAILED (failures=1)\n", &[("tests in Python", 1, 0, "")]);
        check(
            "Ran 9 tests in 1s\nFAILED (failures=1, errors=2, skipped=4)",
            &[("tests in Python", 9, 6, "")],
        );
        check(
            "fuzz netrc: 123 inputs in 20 s, 51 places of the code reached",
            &[("inputs to netrc", 123, 123, "51 places of the code reached")],
        );
        check("23 passed, 1 failed, in 184 s", &[("boots", 24, 23, "")]);
        check("fuzz netrc failed; the input is in fuzz/artifacts/netrc", &[]);
    }
}
