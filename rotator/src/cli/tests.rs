//! Which command lines are taken, and what each help says.

use super::*;
use imprint_core::Class;

#[test]
fn the_command_line_is_well_formed() {
    command().debug_assert();
}

#[test]
fn what_is_asked_for() {
    let check = |line: &str, wanted: Result<&str, ()>| {
        let parsed = Cli::try_parse_from(line.split_whitespace());
        match wanted {
            Ok(debug) => assert_eq!(format!("{:?}", parsed.unwrap().command), debug, "{line}"),
            Err(()) => assert!(parsed.is_err_and(|e| e.use_stderr()), "{line}"),
        }
    };
    check("r rotate", Ok("Rotate { now: false, revoke_superseded: false, factories: [], json: false }"));
    check(
        "r rotate --now --factory a/b --factory c --config x",
        Ok(
            "Rotate { now: true, revoke_superseded: false, factories: [FactoryId(\"a/b\"), FactoryId(\"c\")], json: false }",
        ),
    );
    check(
        "r rotate --now --revoke-superseded",
        Ok("Rotate { now: true, revoke_superseded: true, factories: [], json: false }"),
    );
    check(
        "r policy --factory a/b --branch a --unprivileged",
        Ok(
            "Policy(Ask { factories: [FactoryId(\"a/b\")], branch: Some(Branch(\"a\")), unprivileged: true })",
        ),
    );
    check("r policy --branch a:b", Err(()));
    check("r rotate --revoke-superseded", Err(()));
    check("r status --json", Ok("Status { hosts: false, factories: [], json: true }"));
    check(
        "r status --hosts --factory a",
        Ok("Status { hosts: true, factories: [FactoryId(\"a\")], json: false }"),
    );
    check(
        "r rules --explain i-1 i-2 --json",
        Ok("Rules(Rules { explain: [InstanceId(\"i-1\"), InstanceId(\"i-2\")], json: true })"),
    );
    check("r rules --explain", Err(()));
    check("r rules --explain web", Err(()));
    check("r plan --now", Ok("Plan { now: true, factories: [], json: false }"));
    check("r plan --factory a*", Err(()));
    check("r seal --client-data a b --facts macs,product_uuid --token x", Err(()));
    check("r seal --client-data a --token-from stdin", Err(()));
    check("r seal --client-data a --memory 8", Err(()));
    check("r seal", Err(()));
    check("r token", Err(()));
    for good in [
        "create --factory a --duration-hours 1 --out x",
        "create --factory a --duration-hours 0 --duration-minutes 5 --count 100 --cidr 10.0.0.0/8 --out -",
        "list --factory a --json",
        "revoke --fingerprint ba7816bf8f01 --fingerprint 000000000000",
        "revoke --foreign --factory a",
        "revoke --orphans --expired --published",
        // Judged later, where the word is not repeated.
        "revoke --fingerprint 0123456789abcdefghjk",
    ] {
        let line = format!("r token {good}");
        Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
    for bad in [
        "create --factory a --out x",
        "create --factory a --duration-hours 1",
        "create --factory a --duration-hours -1 --out x",
        "create --factory a --duration-hours 1.5 --out x",
        "create --factory a --duration-days 99999999999999999999 --out x",
        "create --factory a --duration-hours 1 --count 0 --out x",
        "create --factory a --duration-hours 1 --count 101 --out x",
        "create --factory a --duration-hours 1 --cidr 10.0.0.1/8 --out x",
        "create --factory a --duration-hours 1 --cidr 2001:db8::1/128 --out x",
        "create --duration-hours 1 --out x",
        "revoke",
        "revoke --factory a",
        "revoke --foreign",
        "revoke --token 0123456789abcdef",
    ] {
        check(&format!("r token {bad}"), Err(()));
    }
    check("r", Err(()));
    check("r rotate --factory a*", Err(()));
    check("r rotate --api-key x", Err(()));
    check("r enroll", Err(()));
}

#[test]
fn every_help_has_examples_that_parse_and_exit_codes() {
    let check = |command: &mut clap::Command, name: &str| {
        let help = command.render_long_help().to_string();
        for class in Class::ALL {
            assert!(help.contains(&format!("\n  {}  {class}: ", class.exit_code())), "{name}: {help}");
        }
        let (_, examples) = help.split_once("\nExamples:\n").unwrap();
        let examples: Vec<&str> = examples.lines().take_while(|line| !line.is_empty()).collect();
        assert!(!examples.is_empty(), "{name}");
        for line in examples {
            let (line, _what_for) = line.split_once(" # ").unwrap();
            Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        assert!(command.render_help().to_string().contains("--help shows examples"), "{name}");
    };
    let mut all = command();
    // Before help is a command too.
    let names: Vec<String> = all.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    check(&mut all, "imprint-rotator");
    for name in names {
        let command = all.find_subcommand_mut(&name).unwrap();
        check(command, &name);
        let below = command.get_subcommands_mut().filter(|below| below.get_name() != "help");
        below.for_each(|below| check(below, &format!("{name} and below")));
    }
}
