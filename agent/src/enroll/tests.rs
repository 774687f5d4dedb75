mod crashes;
mod keys;
mod machine;
mod promotion;
pub(crate) mod scene;
mod servers;
mod sources;
