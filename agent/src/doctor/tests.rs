use crate::config::tests::CA;
use imprint_core::door::CaBundle;
use imprint_core::sealed::{Binding, Scope};
use imprint_core::token::Fingerprint;

/// A binding that the usual configuration takes.
pub(crate) fn binding() -> Binding {
    Binding {
        account: "prod".parse().unwrap(),
        host_factory: "app/web".parse().unwrap(),
        appliance_url: "https://conjur.example.org".parse().unwrap(),
        leader_url: "https://conjur.example.org".parse().unwrap(),
        ca_sha256: CaBundle::from_pem(&CA).unwrap().digests(),
        issued_at: "2026-11-22T07:00:00Z".parse().unwrap(),
        expires_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        cidr: vec![],
        fingerprint: Fingerprint::of(b"0123456789abcdefghjk"),
        rotation_id: "r-1".to_owned(),
        spread_s: 0,
        scope: Scope::Layer,
        hosts_branch: "app/hosts".parse().unwrap(),
    }
}
