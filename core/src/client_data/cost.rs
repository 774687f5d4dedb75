//! What a guess costs: the parameters of Argon2id (RFC 9106), and their bounds.

use super::{Error, KEY_LEN};
use argon2::{Algorithm, Argon2, Params, Version};
use std::fmt;
use zeroize::Zeroizing;

/// Parameters of Argon2id. They stand in the object, which may be hostile: so a reader bounds them, or it
/// could be made to spend all its memory. Too little is the sealer's loss alone, who has a floor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// What is spent for nobody.
    pub(super) const MOST: Self = Self { memory_kib: 256 * 1024, passes: 10, lanes: 4 };

    /// What a sealer spends when nothing else is said: the memory and passes of RFC 9106, section 4, for
    /// environments short of memory, in one lane, since the agent has one thread.
    pub const USUAL: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// The least memory that a sealer may choose, in KiB: what OWASP's cheat sheet on password storage
    /// allows with two passes.
    pub const LEAST_MEMORY_KIB: u32 = 19 * 1024;

    /// These parameters.
    ///
    /// # Errors
    /// When they are beyond what a reader spends, or less than Argon2 can work with.
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Error> {
        let (most, none) = (Self::MOST, passes == 0 || lanes == 0);
        let beyond = memory_kib > most.memory_kib || passes > most.passes || lanes > most.lanes;
        if beyond || none || memory_kib < 8 * lanes {
            return Err(Error::Cost { memory_kib, passes, lanes });
        }
        Ok(Self { memory_kib, passes, lanes })
    }

    /// Memory, in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over it.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    pub(super) fn derive(&self, input: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, Error> {
        let Self { memory_kib, passes, lanes } = *self;
        let params = Params::new(memory_kib, passes, lanes, Some(KEY_LEN)).map_err(|_| Error::Cost {
            memory_kib,
            passes,
            lanes,
        })?;
        let mut key = Zeroizing::new([0; KEY_LEN]);
        // Lengths are in bounds, so memory is what can be missing.
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(input, salt, &mut key[..])
            .map_err(|_| Error::Memory(memory_kib))?;
        Ok(key)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB, {} passes, {} lanes", self.memory_kib, self.passes, self.lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with another implementation (argon2-cffi 25.1.0 around the reference code in C).
    #[test]
    fn argon2id_as_others_compute_it() {
        let key = Cost::new(64, 2, 1).unwrap().derive(b"imprint", b"0123456789abcdef").unwrap();
        assert_eq!(
            crate::token::hex(&key[..]),
            "35d8e85d6294852b891d3bdd9d2bae10fc3df3a1561cce2ee46949b2dce1dbb7"
        );
    }

    #[test]
    fn bounds() {
        let check = |memory, passes, lanes, good: bool| {
            assert_eq!(Cost::new(memory, passes, lanes).is_ok(), good, "{memory} {passes} {lanes}");
        };
        check(64 * 1024, 3, 1, true);
        check(256 * 1024, 10, 4, true);
        check(256 * 1024 + 1, 3, 1, false);
        check(64, 11, 1, false);
        check(64, 1, 5, false);
        check(u32::MAX, u32::MAX, u32::MAX, false);
        check(8, 1, 1, true);
        check(7, 1, 1, false);
        check(8, 1, 2, false);
        check(8, 0, 1, false);
        check(8, 1, 0, false);
    }
}
