//! Help texts of the real programs: a person at a console has nothing else.

use imprint_e2e::{Programs, Ran};
use std::path::Path;
use std::process::Command;

#[test]
fn every_help_has_examples_and_tells_the_exit_codes() {
    let Programs { agent, rotator } = crate::programs();
    let check = |program: &Path, commands: Vec<String>| {
        assert!(commands.len() >= 2);
        for command in commands.iter().map(String::as_str).chain([""]) {
            let arguments = command.split_whitespace().chain(["--help"]);
            let ran = Ran::of(Command::new(program).args(arguments)).expect(0);
            for say in ["\nExamples:\n", "\nExit codes:\n   0  ", "\n  64  usage: ", "\n  78  config: "] {
                assert!(ran.out.contains(say), "{command} lacks {say:?}:\n{}", ran.out);
            }
            assert!(ran.err.is_empty(), "{}", ran.err);
        }
    };
    let (agents, rotators) = (imprint_agent::cli::command(), imprint_rotator::cli::command());
    check(&agent, agents.get_subcommands().map(|each| each.get_name().to_owned()).collect());
    let rotators = rotators.get_subcommands().flat_map(|each| {
        let name = each.get_name().to_owned();
        let below: Vec<String> =
            each.get_subcommands().map(|below| format!("{name} {}", below.get_name())).collect();
        below.into_iter().chain([name])
    });
    check(&rotator, rotators.collect());
}
