//! Shell completions, where Debian and Fedora look for what packages bring.

use crate::Made;
use clap::Command;
use clap_complete::{Shell, generate};

/// For bash, zsh and fish.
pub(crate) fn of(command: &Command) -> Made {
    let name = command.get_name().to_owned();
    let files = [
        (Shell::Bash, format!("bash-completion/completions/{name}")),
        (Shell::Fish, format!("fish/vendor_completions.d/{name}.fish")),
        (Shell::Zsh, format!("zsh/vendor-completions/_{name}")),
    ];
    let made = files.into_iter().map(|(shell, path)| {
        let mut bytes = Vec::new();
        generate(shell, &mut command.clone(), &name, &mut bytes);
        (path.into(), String::from_utf8_lossy(&bytes).into_owned())
    });
    made.collect()
}
