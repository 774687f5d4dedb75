use super::*;
use crate::name::Account;
use std::time::Duration;

/// Takes a little configuration of every kind.
fn take(root: &mut Table<'_>) -> Option<(Account, Vec<u8>, Option<Duration>, usize)> {
    let account = root.required("account", text::<Account>);
    let lag = root.optional("lag", duration);
    let on = root.or("on", flag, true);
    let mut aws = root.section("aws");
    let bucket = aws.required("bucket", text::<String>);
    let numbers = aws.or("numbers", list(number(0..=200)), Vec::new());
    if numbers.as_ref().is_some_and(|n| n.len() > 2) {
        aws.problem("numbers", "has too many");
    }
    let ids: Vec<_> = root.sections("factory").iter_mut().map(|f| f.required("id", text::<String>)).collect();
    let tags = root.section("tags").pairs();
    let ids = ids.into_iter().collect::<Option<Vec<_>>>();
    bucket?;
    on?;
    Some((account?, numbers?, lag, ids?.len() + tags.len()))
}

fn check(text: &str, problems: &[&str]) {
    let found = match read(text, take) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, problems, "{text}");
}

#[test]
fn a_good_file() {
    let text = "account = \"prod\"\nlag = \"1m30s\"\n[aws]\nbucket = \"b\"\nnumbers = [1, 0xff]\n";
    check(text, &["line 5: aws.numbers: item 2: must be a whole number from 0 to 200"]);
    let text = format!(
        "{}[[factory]]\nid = \"a\"\n[[factory]]\nid = \"b\"\n[tags]\n\"x/y\" = \"z\"\n",
        text.replace("0xff", "0x0f")
    );
    let (account, numbers, lag, names) = read(&text, take).unwrap();
    assert_eq!(
        (account.as_str(), numbers, lag, names),
        ("prod", vec![1, 15], Some(Duration::from_secs(90)), 3)
    );
}

#[test]
fn every_problem_is_told_with_its_line() {
    check("", &["account is missing", "aws.bucket is missing"]);
    check(
        "account = \"a b\"\nlagg = \"5m\"\non = 1\n[aws]\nbukcet = \"x\"\nnumbers = [\"1\", 2, -3, 4]\n[[factory]]\n\n[[factory]]\nid = []\ntags = 1\n[tags]\na = 1\n[unheard]\n",
        &[
            "line 1: account: account \"a b\" may have only letters, digits and . _ -",
            "line 2: lagg is not a known setting (is it lag?)",
            "line 3: on: must be true or false, not a whole number",
            "line 4: aws.bucket is missing",
            "line 5: aws.bukcet is not a known setting (is it bucket?)",
            "line 6: aws.numbers: item 1: must be a whole number from 0 to 200, not a text",
            "line 6: aws.numbers: item 3: must be a whole number from 0 to 200",
            "line 7: factory.id is missing",
            "line 10: factory.id: must be a text in quotes, not a list",
            "line 11: factory.tags is not a known setting",
            "line 13: tags.a: must be a text in quotes, not a whole number",
            "line 14: unheard is not a known setting",
        ],
    );
    check(
        "account = \"prod\"\naws = 3\nfactory = \"web\"\ntags = []\n",
        &[
            "line 2: aws: must be a section [aws], not a whole number",
            "line 3: factory: must be sections [[factory]], not a text",
            "line 4: tags: must be a section [tags], not a list",
        ],
    );
    check(
        "account = \"prod\"\n[aws]\nbucket = \"b\"\nnumbers = [1, 2, 3]\n[[factory]]\nid = \"a\"\n",
        &["line 4: aws.numbers: has too many"],
    );
    check(
        "factory = [1]\naccount = \"a\"\naws.bucket = \"b\"\n",
        &["line 1: factory: must be sections [[factory]], not a whole number"],
    );
}

#[test]
fn what_is_not_toml() {
    // Each broken line once; a setting that may stand in one of them is not called missing; what the
    // others say is still judged.
    let Err(Problems(found)) = read("account = \non = 3 4\nlag = \"soon\"\n[d\n", take) else { panic!() };
    let lines: Vec<_> = found.iter().map(|p| p.line).collect();
    assert_eq!(lines, [Some(1), Some(2), Some(3), Some(4)], "{found:?}");
    assert!(found.iter().all(|p| !p.text.contains("missing")), "{found:?}");
    assert!(read("account = \"a\"\naccount = \"b\"\n[aws]\nbucket = \"b\"\n", take).is_err());

    let Err(all) = read(&"#".repeat(LARGEST + 1), take) else { panic!() };
    assert_eq!(all.to_string(), "it has 1048577 bytes; at most 1048576 are read");
    assert_eq!(all.class(), Class::Config);
    assert!(read(&format!("a = {}", "[".repeat(100_000)), take).is_err());
    check(
        "\"\\u001b[2Jx\" = 1\naccount = \"a\"\naws.bucket = \"b\"",
        &["line 1: \\u{1b}[2Jx is not a known setting"],
    );
}

#[test]
fn durations() {
    let check = |text: &str, seconds: Option<u64>| {
        let read = duration(&DeValue::String(text.into())).ok().map(|d| d.as_secs());
        assert_eq!(read, seconds, "{text:?}");
        if let Some(seconds) = seconds {
            let again = written(Duration::from_secs(seconds));
            assert_eq!(duration(&DeValue::String(again.into())).unwrap().as_secs(), seconds);
        }
    };
    check("0s", Some(0));
    check("15m", Some(900));
    check("1d12h", Some(129_600));
    check("90s", Some(90));
    check("3650d", Some(315_360_000));
    for bad in [
        "",
        "15",
        "m",
        "-1m",
        "+1m",
        "1.5h",
        "1m1h",
        "1 m",
        "15min",
        "1h1h",
        "3651d",
        "999999999d",
        "1w",
        "9999999999s",
    ] {
        check(bad, None);
    }
    assert_eq!(written(Duration::from_secs(90)), "1m30s");
}
