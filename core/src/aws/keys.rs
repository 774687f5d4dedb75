//! [`Kept`]: the credentials of the default chain, asked for once and kept until they are about to end.
//!
//! S3, KMS and the proof of a role sign with the same ones. The SDK's own cache serves its clients alone.

use super::Clock;
use crate::second::Second;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// So long before their end they are asked for anew. The SDK's cache, which sits on top of this one,
/// comes back ten seconds before.
const MARGIN: Duration = Duration::from_secs(60);

/// Shared by its clones.
#[derive(Clone)]
pub(super) struct Kept {
    chain: SharedCredentialsProvider,
    clock: Clock,
    held: Arc<Mutex<Option<Credentials>>>,
}

impl Kept {
    pub(super) fn new(chain: SharedCredentialsProvider, clock: Clock) -> Self {
        Self { chain, clock, held: Arc::default() }
    }

    async fn credentials(&self) -> provider::Result {
        // Whoever asks meanwhile waits for the same answer.
        let mut held = self.held.lock().await;
        if let Some(keys) = held.as_ref().filter(|keys| is_good(keys, self.clock.now())) {
            return Ok(keys.clone());
        }
        let keys = self.chain.provide_credentials().await?;
        *held = Some(keys.clone());
        Ok(keys)
    }
}

/// Those without an end, as a Lambda's environment has them, are good for as long as the process lives.
fn is_good(keys: &Credentials, now: Second) -> bool {
    keys.expiry().is_none_or(|end| {
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Second::from_unix(i64::try_from(end.as_secs()).unwrap_or(i64::MAX)) > now.plus(MARGIN)
    })
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Credentials that end so many seconds from now, and how often they were asked for.
    #[derive(Clone, Debug)]
    struct Chain(Option<u64>, Arc<AtomicU32>);

    impl ProvideCredentials for Chain {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.1.fetch_add(1, Ordering::SeqCst);
            let now = u64::try_from(Second::now().unix()).unwrap();
            let end = self.0.map(|lasts| SystemTime::UNIX_EPOCH + Duration::from_secs(now + lasts));
            future::ProvideCredentials::ready(Ok(Credentials::new(asked.to_string(), "x", None, end, "test")))
        }
    }

    #[test]
    fn they_are_asked_for_once_until_they_are_about_to_end() {
        let check = |lasts, asked| {
            let chain = Chain(lasts, Arc::default());
            let kept = Kept::new(SharedCredentialsProvider::new(chain.clone()), Clock::default());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for _ in 0..3 {
                // A clone, as S3 and KMS have one each.
                let _keys = runtime.block_on(kept.clone().provide_credentials()).unwrap();
            }
            assert_eq!(chain.1.load(Ordering::SeqCst), asked, "{lasts:?}");
            assert_eq!(format!("{kept:?}"), "Kept");
        };
        check(None, 1);
        check(Some(3600), 1);
        check(Some(65), 1);
        check(Some(30), 3);
        check(Some(0), 3);
    }
}
