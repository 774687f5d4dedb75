//! Section C: the metadata service, which is asked four things: a session, the identity document, the role's
//! name and its credentials.

use crate::row::At::Imds;
use crate::row::{Left, MARK, Row, Run, page, row, status};
use crate::wire::{BROKEN, GOOD, STRANGE};
use imprint_stack::fault::FaultKind;

const NAMES: [&str; 4] = ["imds:token", "imds:document", "imds:role", "imds:credentials"];

/// What a status means. 401 and 404 are said in the first minutes of an instance's life; 403 of the session is a
/// service that is switched off.
const STATUSES: [(u16, i32); 18] = [
    (202, 76),
    (204, 76),
    (301, 76),
    (302, 76),
    (307, 76),
    (400, 76),
    (401, 75),
    (403, 76),
    (404, 75),
    (405, 76),
    (408, 75),
    (418, 76),
    (429, 75),
    (451, 76),
    (500, 75),
    (502, 75),
    (503, 75),
    (511, 75),
];

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in NAMES {
        for (code, exit) in STATUSES {
            let (id, exit) = match (name, code) {
                ("imds:token", 403) => ("C29", 78),
                ("imds:token", 404 | 405) => ("C27", exit),
                // No role is attached, which a person must mend.
                ("imds:role", 404) => ("C30", 78),
                (_, 401) => ("C26", exit),
                (_, 429 | 503) => ("C33", exit),
                _ => ("C25", exit),
            };
            let row = row(id, format!("{name} answered {code}")).always(Imds, name, page(code));
            let repeated = exit == 75 || (name == "imds:role" && code == 404);
            let row = if repeated { row.repeats(exit, "") } else { row.ends(exit, "metadata service") };
            // A service of version 1 alone is never asked without a session.
            let row = if name == "imds:token" { row.never("imds:document").never("imds:role") } else { row };
            rows.push(row.never("s3:GetObject").never("redeem").most("imds:token", 40));
        }
        for (code, times) in [(404, 2), (429, 1), (500, 3), (503, 2)] {
            let all = 1 + times as usize;
            rows.push(
                row("C25", format!("{name} answered {code}, then well"))
                    .fault(Imds, name, page(code), times)
                    .most("imds:token", all)
                    .most("imds:document", all)
                    .most("imds:role", all)
                    .most("imds:credentials", all),
            );
        }
    }
    rows.extend(bodies());
    rows.extend(roles());
    rows.extend(around());
    rows
}

/// The frames and the bodies of the two documents.
fn bodies() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in ["imds:document", "imds:credentials"] {
        for (what, rewrite) in GOOD {
            rows.push(row("C31", format!("{name} in {what}")).fault(
                Imds,
                name,
                FaultKind::Rewritten(rewrite),
                1,
            ));
        }
        for (what, rewrite) in BROKEN {
            if what == "longer than it says" {
                continue;
            }
            rows.push(
                row("C31", format!("{name} in {what}, then well"))
                    .fault(Imds, name, FaultKind::Rewritten(rewrite), 1)
                    .most("imds:token", 2)
                    .most("imds:role", 2)
                    .most(name, 2),
            );
        }
        for (what, rewrite) in STRANGE {
            rows.push(
                row("C31", format!("{name} and {what}"))
                    .always(Imds, name, FaultKind::Rewritten(rewrite))
                    .ends(76, "the metadata service's")
                    .never("redeem"),
            );
        }
        rows.push(
            row("C31", format!("{name} of a megabyte"))
                .always(Imds, name, status(200, &[], &"x".repeat(1 << 20)))
                .ends(76, "has more than 64 KiB"),
        );
    }
    let good = r#"{"Code":"Success","AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"S","Token":"T","Expiration":"2100-01-01T00:00:00Z"}"#;
    for (what, from, to, code, say) in [
        ("a failed code", "Success", "Failed", 75, "not ready (Failed)"),
        ("no role yet", "Success", "AssumeRoleUnauthorizedAccess", 75, "AssumeRoleUnauthorizedAccess"),
        ("no token", "\"Token\"", "\"Tokens\"", 76, "lacks a part"),
        ("a key that is a number", "\"ASIAEXAMPLE\"", "7", 76, "not a set of credentials"),
        ("an empty secret", "\"S\"", "\"\"", 76, "characters that AWS never uses"),
        ("a newline in the token", "\"T\"", "\"T\\r\\nX: y\"", 76, "characters that AWS never uses"),
        ("an end that is no time", "2100-01-01T00:00:00Z", "tomorrow", 76, "expiration that is no time"),
        ("an end in another form", "2100-01-01T00:00:00Z", "4102444800", 76, "expiration that is no time"),
    ] {
        assert!(good.contains(from), "{from}");
        let row = row("C31", format!("credentials with {what}"));
        let row = row.always(Imds, "imds:credentials", status(200, &[], &good.replace(from, to)));
        rows.push(if code == 75 { row.repeats(code, say) } else { row.ends(code, say) });
    }
    // They are over by this machine's clock, which may be wrong: only AWS can tell, and it takes them.
    rows.push(
        row("C31", "credentials whose end has passed")
            .always(
                Imds,
                "imds:credentials",
                FaultKind::Rewritten(|reply| {
                    let text = String::from_utf8_lossy(reply.body());
                    let (head, end) = text.split_once("\"Expiration\": \"").expect("an end");
                    let text = format!("{head}\"Expiration\": \"2001{}", &end[4..]);
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into()
                }),
            )
            .most("imds:role", 2)
            .most("imds:credentials", 2),
    );
    rows
}

/// The list of roles, whose first line goes into a path.
fn roles() -> Vec<Row> {
    let listed = |what: &str, list: &str| {
        row("C32", format!("a list of roles: {what}")).always(Imds, "imds:role", status(200, &[], list))
    };
    let refused = |what, list: &str| {
        listed(what, list)
            .ends(76, "role name that IAM does not allow")
            .never("imds:credentials")
            .never("other")
    };
    vec![
        listed("empty", "").repeats(78, "this instance has no role").never("imds:credentials"),
        listed("two", "instance-web\ninstance-db"),
        listed("one and a newline", "instance-web\n"),
        refused("a slash", "../../dynamic/instance-identity/document"),
        refused("a query", "web?x=1"),
        refused("a blank", "instance web"),
        refused("a carriage return", "instance-web\r\nX-Evil: 1"),
        refused("a page", &format!("<html>{MARK}</html>")),
        refused("a long name", &"r".repeat(65)),
        refused("an encoded slash", "a%2Fb"),
        listed("not UTF-8", "\u{fffd}").ends(76, "").never("imds:credentials"),
    ]
}

/// Sessions, other instances, other sources of credentials.
fn around() -> Vec<Row> {
    let session = |what: &str, body: &str| {
        row("C31", format!("a session that is {what}"))
            .always(Imds, "imds:token", status(200, &[], body))
            .ends(76, "the metadata service's /latest/api/token")
            .never("imds:document")
    };
    let document = |what: &str, id: &str| {
        let body = format!(r#"{{"accountId":"123456789012","instanceId":"{id}","region":"eu-west-1"}}"#);
        row("C34", what).always(Imds, "imds:document", status(200, &[], &body)).never("redeem")
    };
    vec![
        session("empty", ""),
        session("two lines", "a\nb"),
        session("a page", &format!("<html> {MARK} </html>")),
        session("of 2,000 bytes", &"a".repeat(2000)),
        row("C26", "the session ends before each answer but the last")
            .fault(Imds, "imds:role", page(401), 1)
            .fault(Imds, "imds:credentials", page(401), 1)
            .most("imds:token", 3)
            .most("imds:role", 2)
            .most("imds:credentials", 2),
        row("C26", "nothing takes the session")
            .always(Imds, "imds:role", page(401))
            .repeats(75, "answers 401")
            .most("imds:token", 40),
        document("another instance answers", "i-0fedcba9876543210").ends(65, "name different instances"),
        document("no instance answers", "x").ends(76, "instance-id that is none"),
        row("C34", "another instance answers an enrolled machine that must enroll again")
            .command(Run::Enrolled("enroll"))
            .arrange(|world| {
                std::fs::remove_file(world.machine.path("etc/conjur.identity")).expect("an identity");
                world.machine.imds.service().change(|i| i.id = "i-0fedcba9876543210".to_owned());
            })
            .ends(65, "name different instances")
            .never("redeem"),
        row("C28", "the service never answers an enrolled machine, which needs none")
            .command(Run::Enrolled("enroll"))
            .always(Imds, "imds:token", FaultKind::Hang)
            .left(Left::Old)
            .never("imds:token"),
        row("C36", "credentials of containers, of a profile and of a user are in the environment").arrange(
            |world| {
                let trap = world.trap();
                world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", trap.clone());
                world.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "x");
                world.set("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE");
                world.set("AWS_SECRET_ACCESS_KEY", "nothing");
                world.set("AWS_PROFILE", "other");
                world.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", trap);
            },
        ),
        row("C30", "the role may do nothing yet, then it may")
            .arrange(|world| {
                let none = imprint_stack::aws::Policy::none();
                world.site.stack.credentials.set_policy("instance-web", none);
            })
            .meanwhile(|world| {
                while world.site.stack.s3.count("s3:GetObject") == 0 {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                world.site.stack.set_roles();
            })
            .most("s3:GetObject", 40),
        row("C30", "the role may never do anything")
            .arrange(|world| {
                let none = imprint_stack::aws::Policy::none();
                world.site.stack.credentials.set_policy("instance-web", none);
            })
            .repeats(69, "this role may not read this key"),
    ]
}
