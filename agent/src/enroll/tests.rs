mod crashes;
mod keys;
mod machine;
pub(crate) mod scene;
mod servers;
mod sources;
