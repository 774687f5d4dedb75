//! What a sealing tells the person: for how many machines, until when, and how hard it is to guess.

use super::strength::{FLOOR, Strength};
use imprint_core::client_data::{Cost, Fact, Sealed};
use imprint_core::second::Second;
use imprint_core::settings::written;
use ipnet::IpNet;
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// A sealed token, in words.
#[derive(Clone, Debug)]
pub struct Report {
    binding: imprint_core::sealed::Binding,
    facts: Vec<String>,
    machines: usize,
    cost: Cost,
    weakest: Strength,
    now: Second,
    out: PathBuf,
}

impl Report {
    pub(super) fn new(sealed: &Sealed, cost: Cost, weakest: Strength, now: Second, out: &Path) -> Self {
        Self {
            binding: sealed.binding().clone(),
            facts: sealed.facts().iter().map(Fact::to_string).collect(),
            machines: sealed.machines(),
            cost,
            weakest,
            now,
            out: out.to_owned(),
        }
    }

    /// For a program.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let parts: Vec<_> = self
            .weakest
            .parts
            .iter()
            .map(|part| json!({"name": part.name, "bits": part.bits, "why": part.why}))
            .collect();
        json!({
            "schema": SCHEMA,
            "file": self.out.display().to_string(),
            "host_factory": self.binding.host_factory.to_string(),
            "fingerprint": self.binding.fingerprint.to_string(),
            "expires_at": self.binding.expires_at.to_string(),
            "cidr": self.binding.cidr.iter().map(IpNet::to_string).collect::<Vec<_>>(),
            "machines": self.machines,
            "facts": self.facts,
            "argon2id": {"memory_kib": self.cost.memory_kib(), "passes": self.cost.passes(), "lanes": self.cost.lanes()},
            "strength": {"bits": self.weakest.bits(), "least": FLOOR, "parts": parts},
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binding = &self.binding;
        let machines =
            if self.machines == 1 { "1 machine".to_owned() } else { format!("{} machines", self.machines) };
        let from: Vec<String> = binding.cidr.iter().map(IpNet::to_string).collect();
        let from = if from.is_empty() { "any address".to_owned() } else { from.join(", ") };
        writeln!(
            f,
            "token {} of {} is sealed for {machines} in {}",
            binding.fingerprint,
            binding.host_factory,
            self.out.display()
        )?;
        writeln!(
            f,
            "it expires at {}, in {}; Conjur takes it from {from}",
            binding.expires_at,
            written(binding.expires_at.since(self.now))
        )?;
        write!(
            f,
            "whoever has the file must guess {} bits ({FLOOR} are the least), each guess with {} MiB and {} passes of Argon2id:",
            self.weakest.bits(),
            self.cost.memory_kib() / 1024,
            self.cost.passes()
        )?;
        for part in &self.weakest.parts {
            write!(f, "\n  {:<16} {:>3}  {}", part.name, part.bits, part.why)?;
        }
        Ok(())
    }
}
