//! Tokens by hand with the real binary: minted into a file or a pipe, redeemed, listed, revoked.

use crate::{no_secret, published, refused, site};
use imprint_core::token::Fingerprint;
use imprint_e2e::{Ran, Site};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

fn create(site: &Site, more: &[&str]) -> Command {
    let words = ["token", "create", "--factory", "web/factory", "--duration-minutes", "30"];
    site.rotator(&[&words, more].concat())
}

fn list(site: &Site) -> String {
    let ran = Ran::of(&mut site.rotator(&["token", "list"])).expect(0);
    no_secret(site, &[&ran.out, &ran.err]);
    ran.out
}

#[test]
fn a_token_by_hand_is_redeemed_listed_left_alone_and_revoked() {
    let site = published();
    site.may_tell("token");
    let out = site.folder().join("token");
    let file = out.display().to_string();
    let ran = Ran::of(&mut create(&site, &["--any-address", "--out", &file])).expect(0);
    let token = fs::read_to_string(&out).unwrap();
    let name = Fingerprint::of(token.trim().as_bytes()).to_string();
    assert!(ran.out.contains(&name) && ran.out.contains("any address"), "{}", ran.out);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o600);
    no_secret(&site, &[&ran.out, &ran.err]);

    // It is a token like any other, and no run takes it for an orphan.
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(&["enroll", "--token-from", &format!("file:{file}")])).expect(0);
    site.stack.advance(std::time::Duration::from_secs(1200));
    let _said = Ran::of(&mut site.rotator(&["rotate", "--now", "--revoke-superseded"])).expect(0);
    let listed = list(&site);
    let row = listed.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{listed}"));
    assert!(row.starts_with("web/factory ") && row.contains("  by hand  "), "{row}");
    assert!(listed.lines().filter(|line| line.contains("  published  ")).count() == 2, "{listed}");

    let ran = Ran::of(&mut site.rotator(&["token", "revoke", "--fingerprint", &name])).expect(0);
    assert!(ran.out.contains(&format!("web/factory: revoked token {name} (by hand)")), "{}", ran.out);
    no_secret(&site, &[&ran.out, &ran.err]);
    assert!(!list(&site).contains(&name));
    let late = site.machine("web");
    let words = ["enroll", "--token-from", &format!("file:{file}"), "--deadline", "1s"];
    let _said = Ran::of(&mut late.imprint(&words)).expect(77);
    let ran = Ran::of(&mut site.rotator(&["token", "revoke", "--fingerprint", &name])).expect(64);
    assert!(ran.err.contains(&format!("Conjur lists no token {name}")), "{}", ran.err);
}

#[test]
fn what_agents_find_is_not_revoked_by_accident() {
    let site = published();
    let listed = list(&site);
    let row = listed.lines().find(|line| line.starts_with("web/factory")).unwrap();
    let name = row.split_whitespace().nth(1).unwrap();
    let ran = Ran::of(&mut site.rotator(&["token", "revoke", "--fingerprint", name])).expect(64);
    assert!(ran.err.contains("is what agents find") && ran.err.contains("rotate --now"), "{}", ran.err);
    let _said = Ran::of(&mut site.machine("web").imprint(&["enroll"])).expect(0);
    let words = ["token", "revoke", "--fingerprint", name, "--published"];
    let _said = Ran::of(&mut site.rotator(&words)).expect(0);
    refused(&site, &site.machine("web"), 77, "401");
    // The next run mends it.
    let status = Ran::of(&mut site.rotator(&["status", "--factory", "web/factory"])).expect(69);
    assert!(status.out.contains("replaces it (unlisted)"), "{}", status.out);
    let _said = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    let _said = Ran::of(&mut site.machine("web").imprint(&["enroll"])).expect(0);
}

#[test]
fn a_pipe_gets_the_token_and_nothing_else_and_a_terminal_nothing_at_all() {
    let site = site();
    let more = ["--any-address", "--out", "-"];
    let ran = Ran::of_one_that_tells(&mut create(&site, &more)).expect(0);
    let token = site.stack.conjur.service().tokens("web/factory").remove(0).token;
    assert_eq!(ran.out, format!("{token}\n"));
    no_secret(&site, &[&ran.err]);
    assert!(ran.err.contains(Fingerprint::of(token.as_bytes()).as_str()), "{}", ran.err);

    let before = site.stack.conjur.service().tokens("web/factory").len();
    let seen = on_a_terminal(&mut create(&site, &more));
    assert!(seen.contains("standard output is a terminal"), "{seen}");
    assert_eq!(site.stack.conjur.service().tokens("web/factory").len(), before, "{seen}");
    let seen = on_a_terminal(&mut create(&site, &[&more[..], &["--reveal"]].concat()));
    let token = site.stack.conjur.service().tokens("web/factory").pop().unwrap().token;
    assert!(seen.contains(&token), "{seen}");
}

#[test]
fn a_token_that_was_minted_elsewhere_is_published_kept_and_redeemed() {
    let site = site();
    let id = "id = \"web/factory\"\n";
    let config = site.rotator_config();
    assert!(config.contains(id));
    let config = config.replace(id, &format!("{id}mint = false\n"));
    imprint_e2e::write(&site.folder().join("rotator.toml"), 0o600, &config);
    // Runs mint nothing for it, and say so; the other factory is served.
    let ran = Ran::of(&mut site.rotator(&["rotate"])).expect(69);
    assert!(
        ran.err.contains("a token that is minted elsewhere is needed, since nothing is published"),
        "{}",
        ran.err
    );
    assert!(site.stack.published("db").is_some() && site.stack.published("web").is_none());

    let conjur = site.stack.conjur.service();
    let token = conjur.add_token("web/factory", conjur.now() + 90 * 86_400, &[]).unwrap();
    site.may_tell("given");
    let path = site.folder().join("given");
    imprint_e2e::write(&path, 0o600, &format!("{token}\n"));
    let words = ["publish", "--factory", "web/factory", "--token-from", "stdin", "--json"];
    let mut command = site.rotator(&words);
    let ran = Ran::of(command.stdin(fs::File::open(&path).unwrap())).expect(0);
    crate::json::check("imprint-rotator publish --json", &ran.out);
    no_secret(&site, &[&ran.out, &ran.err]);
    let _said = Ran::of(&mut site.machine("web").imprint(&["enroll"])).expect(0);
    let ran = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    let name = Fingerprint::of(token.as_bytes());
    assert!(ran.out.contains(&format!("web/factory: kept token {name}")), "{}", ran.out);
    assert_eq!(conjur.tokens("web/factory").len(), 1, "nothing was minted");
}

/// What a person sees of the command, whose input and outputs are all a terminal.
pub(crate) fn on_a_terminal(command: &mut Command) -> String {
    let mut line = command.get_program().to_str().unwrap().to_owned();
    for word in command.get_args() {
        line.push_str(&format!(" '{}'", word.to_str().unwrap()));
    }
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env_clear();
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = script.env("PATH", "/usr/bin:/bin").output().unwrap();
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn mistakes_are_caught_before_conjur_is_asked() {
    let site = site();
    let out = site.folder().join("token").display().to_string();
    let check = |words: &[&str], say: &str| {
        let words = [&["token", "create", "--out", &out], words].concat();
        let ran = Ran::of(&mut site.rotator(&words)).expect(64);
        assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
    };
    let web = ["--factory", "web/factory"];
    let with = |more: &[&'static str]| [&web[..], more].concat();
    check(&with(&["--any-address"]), "--duration-days");
    check(&with(&["--duration-hours", "0", "--any-address"]), "its duration is zero");
    check(&with(&["--duration-hours", "-2", "--any-address"]), "invalid value '-2'");
    check(&with(&["--duration-days", "3651", "--any-address"]), "longer than 3650d");
    check(&with(&["--duration-hours", "1"]), "--any-address");
    check(&with(&["--duration-hours", "1", "--cidr", "10.0.0.1/8"]), "host bits set; it may be 10.0.0.0/8");
    check(&with(&["--duration-hours", "1", "--cidr", "0.0.0.0/0"]), "from any address");
    check(&with(&["--duration-hours", "1", "--cidr", "::/0"]), "from any address");
    check(&with(&["--duration-hours", "1", "--cidr", "2001:db8::1/128"]), "documentation prefix");
    check(&["--factory", "nobody", "--duration-hours", "1", "--any-address"], "not in the configuration");
    // A token that was put there by mistake is not repeated.
    let words = ["token", "revoke", "--fingerprint", "0123456789abcdefghjkmnpqrstvwxyz"];
    let ran = Ran::of(&mut site.rotator(&words)).expect(64);
    assert!(!ran.err.contains("0123456789"), "{}", ran.err);
    assert_eq!(site.stack.requests(), 0);
    assert!(!site.folder().join("token").exists());
}
