//! A certificate authority made for one run, and the TLS side of the servers.

pub use rustls::ServerConfig;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A certificate authority whose key never leaves this process.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

impl Ca {
    /// An authority with a name of no importance.
    #[must_use]
    pub fn new() -> Self {
        Self::named("Imprint test CA")
    }

    /// An authority with this common name.
    #[must_use]
    pub fn named(cn: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, cn);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a P-256 key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a CA certificate");
        Self { issuer }
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The certificate as DER.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// TLS settings of a server with a new leaf for these DNS names and IP addresses.
    #[must_use]
    pub fn leaf(&self, names: &[&str]) -> ServerConfig {
        self.leaf_of(names, 1975..=4096)
    }

    /// The same with a leaf that is good in these years only, from January to January.
    #[must_use]
    pub fn leaf_of(&self, names: &[&str], years: RangeInclusive<i32>) -> ServerConfig {
        self.server(builder().with_no_client_auth(), names, years)
    }

    /// The same, and clients must show a certificate of this authority.
    ///
    /// # Panics
    /// If the authority's own certificate is no root.
    #[must_use]
    pub fn leaf_for_known(&self, names: &[&str]) -> ServerConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let known = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let known = known.build().expect("a verifier");
        self.server(builder().with_client_cert_verifier(known), names, 1975..=4096)
    }

    fn server(
        &self,
        builder: rustls::ConfigBuilder<ServerConfig, WantsServerCert>,
        names: &[&str],
        years: RangeInclusive<i32>,
    ) -> ServerConfig {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names that fit a certificate");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = date_time_ymd(*years.start(), 1, 1);
        params.not_after = date_time_ymd(*years.end(), 1, 1);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a P-256 key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config =
            builder.with_single_cert(vec![leaf.der().clone()], key).expect("a key that fits its certificate");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
}
