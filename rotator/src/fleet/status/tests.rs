use super::*;
use crate::effects;
use imprint_core::aws;

fn part(factory: &str, seen: Result<Overview, Error>) -> Part {
    Part { factory: factory.parse().unwrap(), seen, notes: vec![] }
}

/// A fleet of a factory in which all is wrong, one of which nothing is to be told, and one that was not seen.
fn status() -> HostStatus {
    let host =
        |name: &str| Host { id: format!("h/{name}").parse().unwrap(), instance: name.parse().unwrap() };
    let many = (0..22).map(|n| (format!("i-{n}").parse().unwrap(), "web".to_owned()));
    let wrong = Overview {
        hosts: 7,
        others: 2,
        without_host: Some(many.collect()),
        without_instance: vec![(host("i-8"), None), (host("i-9"), Some(Second::from_unix(1_800_000_000)))],
        unpinned: vec![host("i-7").id],
        unpromoted: Some(vec![("i-6".parse().unwrap(), "db".to_owned())]),
        on_their_way: 3,
    };
    let (operation, resource, code) =
        ("ec2:DescribeInstances", "*".to_owned(), "UnauthorizedOperation".to_owned());
    let refused = effects::Error::from(aws::Error::Answered { operation, resource, code, status: 403 });
    HostStatus {
        now: Second::from_unix(1_800_000_000),
        place: Place { account_id: "123456789012".to_owned(), region: "eu-west-1".to_owned() },
        factories: vec![
            part("web", Ok(wrong)),
            part("quiet", Ok(Overview::default())),
            part("lost", Err(refused.into())),
        ],
    }
}

#[test]
fn what_a_person_sees() {
    let text = status().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "FACTORY  HOSTS      NO HOST  NO INSTANCE  UNPINNED  UNPROMOTED  ON THEIR WAY",
            "web      7          22       2            1         1           3",
            "quiet    0          -        0            0         -           0",
            "lost     not known  -        -            -         -           -",
        ]
    );
    for say in [
        "web: no host: i-0 (web)",
        "web: no host: 2 more, which --json names",
        "web: no instance: h/i-8",
        "web: no instance: h/i-9 (EC2 has not known i-9 since 2027-01-15T08:00:00Z)",
        "web: not pinned: h/i-7",
        "web: not promoted: i-6 (db)",
        "3 factories, 7 hosts of 123456789012 in eu-west-1; 1 not known. On its way is what was launched less than 15m ago",
    ] {
        assert!(lines.contains(&say), "{say}\n{text}");
    }
    assert!(text.contains("lost: ec2:DescribeInstances") && text.contains("\nhint: "), "{text}");
}

#[test]
fn what_a_program_sees() {
    let status = status();
    assert_eq!(status.class(), Some(Class::Refused));
    let counts = status.counts();
    assert_eq!(
        counts,
        HostCounts {
            without_host: Some(22),
            without_instance: 2,
            unpinned: 1,
            unpromoted: Some(1),
            failed: 1
        }
    );
    let told = status.to_json();
    let (web, quiet, lost) = (&told["factories"][0], &told["factories"][1], &told["factories"][2]);
    assert_eq!(web["without_host"][0], json!({"instance": "i-0", "rule": "web"}));
    assert_eq!(
        web["without_instance"][1],
        json!({"host": "h/i-9", "instance": "i-9", "missing_since": "2027-01-15T08:00:00Z"})
    );
    assert_eq!(
        (&quiet["without_host"], &quiet["unpromoted"]),
        (&Value::Null, &Value::Null),
        "which is no empty list"
    );
    assert_eq!((&lost["class"], lost.get("hosts")), (&"refused".into(), None));
}
