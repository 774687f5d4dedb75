//! What Imprint's agent and rotator must agree on, and nothing else.
//!
//! No command line (only the form of its help texts, [`help`]), no Lambda, no systemd, no files: those are
//! the programs'. The sealed token ([`sealed`], or [`client_data`] where no cloud seals it) is their only
//! contract; the calls to Conjur ([`conjur`]) and AWS ([`aws`]) are here so
//! that both speak them alike, and so is what both do to keep secrets ([`token`], [`process`]), and how a run is found again ([`caller`]),
//! and what the doctors of both say ([`checks`]).

pub mod aws;
pub mod caller;
pub mod checks;
pub mod client_data;
pub mod conjur;
pub mod door;
pub mod error;
pub mod help;
pub mod name;
pub mod process;
pub mod retry;
pub mod sealed;
pub mod second;
pub mod settings;
pub mod token;

pub use error::{Class, Classified};
