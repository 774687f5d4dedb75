//! How hard the facts of a machine are to guess, for whoever holds the sealed object.
//!
//! The guesser is assumed to know all that the machine's users, its network, its cloud's inventory and
//! the object show; so only what root alone may read counts, and the secret. The figures are estimates
//! on the low side, each with its reason. A guess costs one run of Argon2id.

use imprint_core::client_data::{Fact, Secret, Values};
use std::fmt;

/// The least that is sealed with, in bits. At a thousand guesses a second on each of a million machines
/// of 64 MiB a guess, 64 bits take six centuries; the token is over after hours.
pub const FLOOR: u32 = 64;

/// One fact, or the secret, and what it is worth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Bits that must be guessed.
    pub bits: u32,
    /// Why so many.
    pub why: &'static str,
}

/// What all facts of one machine are worth together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Strength {
    /// Fact by fact.
    pub parts: Vec<Part>,
}

impl Strength {
    /// Of one machine.
    #[must_use]
    pub fn of(values: &Values, facts: &[Fact], secret: Option<&Secret>) -> Self {
        let uuid = if facts.contains(&Fact::ProductUuid) { values.expose(&Fact::ProductUuid) } else { None };
        let product =
            if facts.contains(&Fact::ProductSerial) { values.expose(&Fact::ProductSerial) } else { None };
        let mut parts: Vec<Part> = facts
            .iter()
            .map(|fact| {
                let value = values.expose(fact).unwrap_or_default();
                let (bits, why) = match fact {
                    Fact::ProductUuid => of_uuid(value),
                    Fact::ProductSerial => of_serial(value, &[uuid]),
                    Fact::BoardSerial => of_serial(value, &[uuid, product]),
                    Fact::ImageId => (0, "the cloud's inventory shows it, and many machines share it"),
                    Fact::InstanceId => (0, "the cloud's inventory shows it"),
                    Fact::MachineId => {
                        (0, "every user of the machine may read it, and clones of an image share it")
                    }
                    Fact::Macs => (0, "every user of the machine, and its network, see them"),
                    Fact::Path(..) => (0, "nobody but you knows who may read it"),
                };
                Part { name: fact.to_string(), bits, why }
            })
            .collect();
        if let Some(secret) = secret {
            let (bits, why) = of_secret(secret.expose());
            parts.push(Part { name: "secret".to_owned(), bits, why });
        }
        Self { parts }
    }

    /// All together.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.parts.iter().map(|part| part.bits).sum()
    }

    /// Whether that is enough.
    #[must_use]
    pub fn suffices(&self) -> bool {
        self.bits() >= FLOOR
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits, where {FLOOR} are the least", self.bits())?;
        for Part { name, bits, why } in &self.parts {
            write!(f, "; {name} {bits} ({why})")?;
        }
        Ok(())
    }
}

fn of_uuid(uuid: &str) -> (u32, &'static str) {
    let at = |place: usize| uuid.as_bytes().get(place).copied().unwrap_or_default();
    // EC2's mark, in either byte order of the first field.
    if uuid.starts_with("ec2") || (uuid.get(6..8) == Some("ec") && at(4) == b'2') {
        return (40, "EC2's begin with ec2, and EC2 does not say what the rest is made of");
    }
    if uuid.starts_with("4c4c4544-") {
        return (20, "Dell's spell the service tag, which stands on the case");
    }
    match (at(14), at(19)) {
        (b'4', b'8'..=b'9' | b'a'..=b'b') => {
            (122, "random, by its version; whoever may read a hypervisor's inventory knows it")
        }
        (b'1', b'8'..=b'9' | b'a'..=b'b') => (30, "made of a time and a MAC address, by its version"),
        _ => (32, "no random one, by its version: makers put serial numbers or MAC addresses into it"),
    }
}

fn of_serial(serial: &str, known: &[Option<&str>]) -> (u32, &'static str) {
    let bare = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<String>()
    };
    let own = bare(serial);
    if own.starts_with("vmware") || known.iter().flatten().any(|other| own.contains(&bare(other))) {
        return (0, "holds what another of the facts says");
    }
    // Of its characters, most are the model's and the factory's.
    (
        u32::try_from(own.len()).unwrap_or(u32::MAX).saturating_mul(2).min(24),
        "serial numbers run in rows, and stand on the case",
    )
}

fn of_secret(secret: &str) -> (u32, &'static str) {
    let length = u32::try_from(secret.len()).unwrap_or(u32::MAX);
    let different = secret.bytes().collect::<std::collections::BTreeSet<u8>>().len();
    if different < 8 {
        (length.min(32), "few different characters")
    } else if secret.bytes().all(|b| b.is_ascii_hexdigit()) {
        (length.saturating_mul(4).min(256), "hex digits, taken for random ones")
    } else {
        (length.saturating_mul(3).min(256), "characters, taken for a person's choice")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(machine: &[(&str, &str)], secret: Option<&str>, bits: &[u32]) {
        let mut values = Values::default();
        let facts: Vec<Fact> = machine.iter().map(|(name, _)| name.parse().unwrap()).collect();
        for (fact, (_, value)) in facts.iter().zip(machine) {
            values.put(fact.clone(), value).unwrap();
        }
        let secret = secret.map(|text| Secret::new(text).unwrap());
        let strength = Strength::of(&values, &facts, secret.as_ref());
        let found: Vec<u32> = strength.parts.iter().map(|part| part.bits).collect();
        assert_eq!(found, bits, "{strength}");
        assert_eq!(strength.suffices(), strength.bits() >= 64);
        // What is told holds no value.
        for (_, value) in machine {
            assert!(!strength.to_string().contains(value), "{strength}");
        }
    }

    #[test]
    fn what_each_fact_is_worth() {
        check(&[("product_uuid", "0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60")], None, &[122]);
        // EC2 on Xen, on Nitro, and with the first field turned around.
        check(&[("product_uuid", "EC273CD9-A8A6-3703-7AC5-5EB6107756BC")], None, &[40]);
        check(&[("product_uuid", "ec2d7f1a-0b3c-4d5e-8f60-718293a4b5c6")], None, &[40]);
        check(&[("product_uuid", "45E12AEC-DCD1-B213-94ED-012345ABCDEF")], None, &[40]);
        check(&[("product_uuid", "4c4c4544-0056-4a10-8032-b5c04f4b3933")], None, &[20]);
        check(&[("product_uuid", "0f5a3c1e-7b2d-11e6-8a90-1b2c3d4e5f60")], None, &[30]);
        check(&[("product_uuid", "30313436-3631-435a-4331-323334353637")], None, &[32]);
        check(&[("product_serial", "7QX4K93")], None, &[14]);
        check(&[("product_serial", "7QX4K93"), ("board_serial", ".7QX4K93.CNWS3006B2011M.")], None, &[14, 0]);
        check(&[("board_serial", "CNWS3006B2011M")], None, &[24]);
        let uuid = "ec273cd9-a8a6-3703-7ac5-5eb6107756bc";
        check(&[("product_serial", uuid), ("product_uuid", uuid)], None, &[0, 40]);
        check(
            &[
                ("machine_id", "5c9d2e7f1a3b4c6d8e0f1a2b3c4d5e6f"),
                ("macs", "02:00:5e:00:53:01"),
                ("instance_id", "i-0123456789abcdef0"),
                ("image_id", "ami-0fedcba9876543210"),
                ("ohai:cpu.total", "97"),
            ],
            None,
            &[0, 0, 0, 0, 0],
        );
    }

    #[test]
    fn what_a_secret_is_worth() {
        check(&[], Some("0123456789abcdef"), &[64]);
        check(&[], Some(&"0123456789abcdef".repeat(60)), &[256]);
        check(&[], Some("correct horse battery staple"), &[84]);
        check(&[], Some("summer 2026 here"), &[48]);
        check(&[], Some("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &[32]);
    }
}
