use super::*;
use crate::fleet::rules::tests::{NOW, instance, place, rules};

const RULES: &str = "[[rule]]\nname = \"web\"\nfactory = \"app/web\"\ninstance_profile = [\"web\"]\npin = true\npromote_from = \"first\"\n\
                     [[rule]]\nname = \"by tag\"\nfactory = \"web\"\ntags = { Role = \"web\", Empty = \"\" }\n\
                     [[rule]]\nname = \"all\"\nfactory = \"first\"\nevery_instance = true\n";

fn explained<'a>(rules: &'a Rules, asked: &'a [InstanceId], known: Vec<Instance>) -> Explained<'a> {
    let known = known.into_iter().map(|one| (one.id.clone(), one)).collect();
    Explained { rules, asked, known, place: place(), now: Second::from_unix(NOW) }
}

#[test]
fn what_a_person_sees() {
    let rules = rules(RULES);
    let asked: [InstanceId; 3] = ["i-1", "i-2", "i-3"].map(|id| id.parse().unwrap());
    let gone = Instance { id: asked[1].clone(), life: Life::Terminated, ..instance() };
    let told = explained(&rules, &asked, vec![instance(), gone]);
    let text = told.to_string();
    let wanted = "\
INSTANCE  FACTORY  RULE    WANTED                FOUND                                             HOLDS
";
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], wanted.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(
        lines[1..5],
        [
            "i-1 app/web web instance_profile web arn:aws:iam::123456789012:instance-profile/apps/web yes",
            "i-1 web by tag tags.Empty \"\" \"\" yes",
            "i-1 web by tag tags.Role \"web\" - NO",
            "i-1 first all every instance - yes",
        ]
    );
    assert_eq!(
        lines[9..],
        [
            "i-1 (running): may have app/web, promoted from first, pinned, by the rule \"web\"",
            "i-1 (running): may not have web: no rule matches",
            "i-1 (running): may have first, by the rule \"all\"",
            "i-2 (terminated): may not have app/web: it is terminated",
            "i-2 (terminated): may not have web: it is terminated",
            "i-2 (terminated): may not have first: it is terminated",
            "i-3: EC2 does not know it in eu-west-1",
        ]
    );
    assert_eq!(told.class(), Some(Class::Absent));
    assert_eq!(explained(&rules, &asked[..1], vec![instance()]).class(), None);
}

#[test]
fn a_tag_leads_no_terminal_astray() {
    let rules = rules(RULES);
    let asked = ["i-1".parse().unwrap()];
    let mut hostile = instance();
    hostile.tags.insert("Role".to_owned(), "\u{1b}[2Jweb\n".to_owned());
    let text = explained(&rules, &asked, vec![hostile]).to_string();
    assert!(text.contains("\\u{1b}[2Jweb\\n"), "{text}");
}

#[test]
fn what_a_program_sees() {
    let rules = rules(RULES);
    let asked = ["i-1", "i-3"].map(|id| id.parse().unwrap());
    let told = explained(&rules, &asked, vec![instance()]).to_json();
    assert_eq!(
        told["instances"][1],
        json!({"instance": "i-3", "state": null, "never": null, "factories": []})
    );
    let first = &told["instances"][0];
    assert_eq!(first["factories"][0]["may"], "web");
    assert_eq!(
        first["factories"][1],
        json!({"factory": "web", "may": null, "rules": [{"rule": "by tag", "matches": false, "conditions": [
            {"condition": "tags.Empty", "wanted": [""], "found": "", "holds": true},
            {"condition": "tags.Role", "wanted": ["web"], "found": null, "holds": false},
        ]}]})
    );
    let list = rules.to_json();
    let alone: Vec<bool> =
        list["rules"].as_array().unwrap().iter().map(|rule| rule["tags_alone"] == true).collect();
    assert_eq!(alone, [false, true, false]);
    let text = rules.to_string();
    for say in ["by tag: it rests on tags alone", "all: whoever may launch an instance gets first"] {
        assert!(text.contains(say), "{text}");
    }
}
