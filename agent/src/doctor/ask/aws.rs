//! The way to the sealed token: the metadata service, S3 and KMS.

use super::super::found::{Asked, Date, Machine, Trouble};
use super::super::proxy::{self, Way};
use super::Time;
use super::reach::{aws_host, in_words, resolve};
use crate::binding;
use crate::config::{Config, Outside, S3};
use crate::effects::{Effects as _, Real};
use crate::facts::{Facts, InstanceId};
use crate::imds::Imds;
use crate::state;
use imprint_core::sealed::{Binding, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::{Fingerprint, Token};
use std::time::Duration;
use zeroize::Zeroizing;

/// Why S3 is not asked.
const NO_CREDENTIALS: &str = "there are no credentials";

/// Why S3 and KMS are not asked.
const NO_BUCKET: &str = "no source is a bucket";

/// What came of it.
pub(super) struct Found {
    pub(super) facts: Asked<Facts>,
    pub(super) credentials: Asked<Option<Second>>,
    pub(super) names: Vec<(String, Asked<String>)>,
    pub(super) object: Asked<(usize, Result<Binding, Trouble>)>,
    pub(super) any_owner: Asked<()>,
    pub(super) unsealed: Asked<Option<Fingerprint>>,
    pub(super) other_buckets: Vec<(S3, Asked<Binding>)>,
    pub(super) promotion: Asked<Binding>,
    pub(super) dates: Vec<Date>,
}

/// Asks metadata service, S3 and KMS.
pub(super) async fn ask(
    config: &Config,
    machine: &Machine,
    on: &Real<'_>,
    time: Time,
    outside: &impl Outside,
) -> Found {
    let needs = config.annotations.values().fold(config.host_id.needs(), |all, each| all.and(each.needs()));
    // Silence is waited for twice before the hop limit is blamed. Then nothing else is asked here.
    let patient = time.with(Duration::from_millis(6500));
    let mut found = Found {
        facts: patient.limit(on.facts(&needs), Trouble::of_effect).await,
        credentials: Asked::Skipped("the metadata service does not answer"),
        names: Vec::new(),
        object: Asked::Skipped(NO_CREDENTIALS),
        any_owner: Asked::Skipped("it was not needed"),
        unsealed: Asked::Skipped("there is no sealed token"),
        other_buckets: config
            .other_buckets()
            .map(|it| (it.clone(), Asked::Skipped(NO_CREDENTIALS)))
            .collect(),
        promotion: Asked::Skipped("no promotion is awaited"),
        dates: Vec::new(),
    };
    // The first bucket is the one that every boot reads; the others, for worse days, are asked last.
    let Some(s3) = config.s3() else {
        (found.credentials, found.object) = (Asked::Skipped(NO_BUCKET), Asked::Skipped(NO_BUCKET));
        found.unsealed = Asked::Skipped(NO_BUCKET);
        return found;
    };
    let region = s3.kms.region.clone();
    let region = region.or_else(|| found.facts.told().and_then(|facts| facts.region.clone()));
    let hosts: Vec<String> = ["s3", "kms"]
        .into_iter()
        .filter_map(|service| aws_host(service, region.as_deref(), |name: &str| outside.env(name)))
        .filter(|(host, is_https)| !*is_https || !is_proxied(host, outside))
        .map(|(host, _)| host)
        .collect();
    for host in hosts {
        let addresses = time.limit(resolve(host.clone(), 443), Trouble::of).await;
        found.names.push((host, addresses.map(|found| in_words(&found))));
    }
    let Some(here) = found.facts.told().map(|facts| facts.instance_id.clone()) else { return found };
    let imds = Imds::new(&config.imds);
    found.credentials = match &imds {
        Ok(imds) => time.limit(imds.credentials(), Trouble::of).await.map(|given| given.expires_at),
        Err(error) => Asked::Failed(Trouble::of(error)),
    };
    if found.credentials.told().is_none() {
        return found;
    }
    let bytes = time.limit(on.fetch(s3, &s3.object.key(&here)), Trouble::of_effect).await;
    let own = Second::now();
    if on.now().unix().abs_diff(own.unix()) > 60 {
        found.dates.push(Date { server: "AWS".to_owned(), said: on.now(), own });
    }
    let sealed = match &bytes {
        Asked::Told(bytes) => Some(SealedToken::parse(bytes)),
        Asked::Failed(_) | Asked::Skipped(_) => None,
    };
    if matches!(&bytes, Asked::Failed(trouble) if is_denied(trouble)) && s3.bucket_owner.is_some() {
        let anybodys = S3 { bucket_owner: None, ..s3.clone() };
        // What a stranger's bucket holds is not looked at.
        found.any_owner =
            time.limit(on.fetch(&anybodys, &s3.object.key(&here)), Trouble::of_effect).await.map(drop);
    }
    if let Some(Ok(sealed)) = &sealed {
        found.unsealed = time.limit(on.unseal(&s3.kms, sealed), Trouble::of_effect).await.map(fingerprint);
    }
    found.object = match (bytes, sealed) {
        (Asked::Told(bytes), Some(sealed)) => {
            let binding = sealed.map(|sealed| sealed.binding().clone());
            Asked::Told((bytes.len(), binding.map_err(|error| Trouble::of(&error))))
        }
        (Asked::Failed(trouble), _) => Asked::Failed(trouble),
        (Asked::Skipped(_) | Asked::Told(_), _) => Asked::Skipped("it was not asked for"),
    };
    for (s3, other) in &mut found.other_buckets {
        *other = opened(s3, &here, on, time).await;
    }
    let is_promoted = machine.state.told().and_then(state::Found::good).is_some_and(|state| state.promoted);
    if let Some(there) = config.promoted().filter(|_| !is_promoted)
        && let Some(s3) = there.s3()
    {
        found.promotion = opened(s3, &here, on, time).await;
    }
    found
}

/// The binding of what is published in a bucket, if it opens.
async fn opened(s3: &S3, here: &InstanceId, on: &Real<'_>, time: Time) -> Asked<Binding> {
    let sealed = match time.limit(on.fetch(s3, &s3.object.key(here)), Trouble::of_effect).await {
        Asked::Told(bytes) => SealedToken::parse(&bytes),
        Asked::Failed(trouble) => return Asked::Failed(trouble),
        Asked::Skipped(because) => return Asked::Skipped(because),
    };
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error) => return Asked::Failed(Trouble::of(&error)),
    };
    let binding = sealed.binding();
    match time.limit(on.unseal(&s3.kms, &sealed), Trouble::of_effect).await.map(fingerprint) {
        Asked::Told(is) if is.as_ref() == Some(&binding.fingerprint) => Asked::Told(binding.clone()),
        Asked::Told(_) => {
            let error = binding::Error::Fingerprint(binding.fingerprint.clone());
            Asked::Failed(Trouble::of(&error))
        }
        Asked::Failed(trouble) => Asked::Failed(trouble),
        Asked::Skipped(because) => Asked::Skipped(because),
    }
}

/// A no of S3 that has several possible reasons.
pub(in crate::doctor) fn is_denied(trouble: &Trouble) -> bool {
    matches!(trouble.code.as_deref(), Some("AccessDenied" | "Forbidden"))
}

/// Of what was unsealed; it is wiped with this function's end.
fn fingerprint(bytes: Zeroizing<Vec<u8>>) -> Option<Fingerprint> {
    let text = Zeroizing::new(std::str::from_utf8(&bytes).ok()?.to_owned());
    Token::new(text).ok().map(|token| token.fingerprint())
}

fn is_proxied(host: &str, outside: &impl Outside) -> bool {
    matches!(proxy::way(host, |name| outside.env(name)), Way::Through { .. })
}
