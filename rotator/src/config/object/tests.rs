use super::*;
use crate::config::tests::GOOD;
use imprint_core::error::chain;

fn content(text: &str, beside: &[(&str, &str)]) -> Content {
    let beside = beside.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect();
    Content { url: "s3://tokens/config/rotator.toml".to_owned(), text: text.to_owned(), beside }
}

fn pem() -> String {
    rcgen::generate_simple_self_signed(vec!["conjur.example.org".into()]).unwrap().cert.pem()
}

#[test]
fn what_lies_beside_it_is_learned_from_it() {
    let names = |more: &str| {
        let text = GOOD.replace("login =", &format!("{more}\nlogin ="));
        let names = content(&text, &[]).names();
        names.iter().map(|name| name.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(""), "");
    assert_eq!(names("ca_file = \"ca.pem\""), "ca.pem");
    assert_eq!(names("ca_file = \"/etc/ca.pem\""), "");
    assert_eq!(names("ca_file = \"ca.pem\"\nnonsense = 1"), "ca.pem");
    let both = GOOD
        .replace("login =", "ca_file = \"a.pem\"\nlogin =")
        .replace("bucket =", "ca_file = \"b/c.pem\"\nbucket =");
    assert_eq!(content(&both, &[]).names().len(), 2);
}

#[test]
fn its_problems_are_told_at_once_with_its_address() {
    let text =
        GOOD.replace("login =", "api_key_file = \"key\"\nca_file = \"../ca.pem\"\nconcurrency = 0\nlogin =");
    let error = content(&text, &[]).config().unwrap_err();
    let words = chain(&error);
    for say in [
        "s3://tokens/config/rotator.toml",
        "line 4: api_key_file: is relative, and an object is no place for an API key",
        "line 5: ca_file: ../ca.pem cannot be read: it is no name of an object beside the configuration",
        "line 6: concurrency: must be a whole number",
    ] {
        assert!(words.contains(say), "{say}: {words}");
    }
    let whole = GOOD.replace("login =", "api_key_file = \"/etc/imprint/key\"\nca_file = \"ca.pem\"\nlogin =");
    let config = content(&whole, &[("ca.pem", &pem())]).config().unwrap();
    assert_eq!(config.login_by, LoginBy::KeyFile("/etc/imprint/key".into()));
    assert!(config.ca.is_some());
}

#[test]
fn a_thousand_factories_are_not_too_many() {
    let more = (1..1000).map(|at| {
        let branch = "a-branch-with-a-name-of-a-usual-length/hosts";
        format!("[[factory]]\nid = \"applications/team-{at:04}/web\"\nhosts_branch = \"{branch}/{at:04}\"\ncidr = [\"10.0.0.0/16\"]\n")
    });
    let text = GOOD.to_owned() + &more.collect::<String>();
    assert!(text.len() > 120_000, "{}", text.len());
    assert_eq!(content(&text, &[]).config().unwrap().factories.len(), 1000);
    let error = content(&(text + &"# ".repeat(LARGEST)), &[]).config().unwrap_err();
    assert!(chain(&error).contains("at most 1048576 are read"), "{}", chain(&error));
}

#[test]
fn which_names_lie_beside_an_object() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let caller = Caller::new(
        "imprint-rotator/0",
        "test",
        &imprint_core::caller::RunId::new(imprint_core::second::Second::from_unix(0), 0),
    );
    let aws = runtime
        .block_on(Aws::on_instance("eu-west-1", &Trust::Public, &caller, &Default::default()))
        .unwrap();
    let check = |key: &str, name: &str, want: Option<&str>| {
        let url = format!("s3://tokens/{key}");
        let object = Object { bucket: aws.bucket("tokens", None), key: key.to_owned(), url };
        assert_eq!(object.beside(Path::new(name)).as_deref(), want, "{name} beside {key}");
    };
    check("config/rotator.toml", "ca.pem", Some("config/ca.pem"));
    check("rotator.toml", "ca.pem", Some("ca.pem"));
    check("a/b/rotator.toml", "c/ca.pem", Some("a/b/c/ca.pem"));
    check("config/rotator.toml", "../ca.pem", None);
    check("config/rotator.toml", "./ca.pem", None);
    check("config/rotator.toml", "/etc/ca.pem", None);
}
