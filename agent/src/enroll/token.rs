//! From where the token comes: the sources in their order; fetch or read, check, unseal, compare with its
//! binding. What the sources are is in `config`; what lies on the machine is read by `source`.

use super::{Error, Run};
use crate::binding::{self, Scopes};
use crate::config::{Kms, Opener, S3, Source};
use crate::effects::Effects;
use crate::facts::Facts;
use crate::journal::event;
use crate::source::{self, Held};
use crate::state::State;
use crate::store::{self, Disk};
use imprint_core::client_data::{Fact, Sealed};
use imprint_core::error::chain;
use imprint_core::sealed::{Binding, SealedToken};
use imprint_core::token::{Fingerprint, Token};
use imprint_core::{Class, Classified as _};
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// A token that may be redeemed.
pub(super) struct Unsealed {
    pub(super) token: Token,
    /// What it was sealed with; `None` for one that came in clear.
    pub(super) binding: Option<Binding>,
    /// A file that is to be removed once the host is enrolled.
    spent: Option<PathBuf>,
}

impl Unsealed {
    /// Its name in logs.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.token.fingerprint()
    }

    /// Remembers that it was redeemed.
    pub(super) fn note_in(&self, state: &mut State) {
        state.token = Some(self.fingerprint().to_string());
        if let Some(binding) = &self.binding {
            state.token_issued_at = Some(binding.issued_at);
        }
    }
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// Fetch, check, unseal. Repeated until the deadline: reads without effect, and what is absent or
    /// expired now may be published in a moment.
    pub(super) async fn token(&self, here: &Facts) -> Result<Unsealed, Error> {
        self.retry.run("fetching a token", Error::may_pass, async || self.token_once(here).await).await
    }

    /// The sources in their order; the next one when one has nothing, does not answer, or says no.
    ///
    /// What was changed by somebody ends the round, as does whatever a person must mend: going on would
    /// hide it. See ARCHITECTURE.md on what a source that fails can and cannot steer to.
    async fn token_once(&self, here: &Facts) -> Result<Unsealed, Error> {
        let mut kept: Option<Error> = None;
        let mut sources = self.config.sources.iter().peekable();
        while let Some(source) = sources.next() {
            let error = match self.token_of(source, here).await {
                Ok(unsealed) => return Ok(unsealed),
                Err(error) => error,
            };
            if !matches!(error.class(), Class::Absent | Class::Refused | Class::Transient) {
                return Err(error);
            }
            if let Some(next) = sources.peek() {
                log::warn!(
                    target: "imprint", MESSAGE_ID = event::NEXT_SOURCE, class = error.class().as_str();
                    "{source} gives no token: {}; trying {next}", chain(&error)
                );
            }
            // What may pass is worth another round, whichever source it was.
            if kept.as_ref().is_none_or(|kept| error.may_pass() && !kept.may_pass()) {
                kept = Some(error);
            }
        }
        Err(kept.unwrap_or_else(|| source::Error::None.into()))
    }

    async fn token_of(&self, from: &Source, here: &Facts) -> Result<Unsealed, Error> {
        let name = from.to_string();
        let (held, opener) = match from {
            Source::S3(s3) => return self.of_bucket(s3, here).await,
            Source::ClientData { file, opener } => {
                (Held::ClientData(source::client_data_file(file)?), opener)
            }
            Source::Credential { name: credential, directory, opener } => {
                let bytes = source::credential(directory.as_deref(), credential)?;
                (source::told(&bytes, &name)?, opener)
            }
            Source::File { file, opener, .. } => {
                (source::told(&source::closed(file, source::LARGEST)?, &name)?, opener)
            }
            Source::Stdin { opener } => (source::told(&self.on.standard_input()?, &name)?, opener),
        };
        let mut unsealed = match held {
            Held::Clear(token) => {
                let fingerprint = token.fingerprint();
                log::info!(target: "imprint", token = fingerprint.as_str(); "took token {fingerprint} from {name}");
                Unsealed { token, binding: None, spent: None }
            }
            Held::ClientData(sealed) => self.by_client_data(&sealed, opener, here).await?,
            Held::Kms(sealed) => {
                let kms = opener.kms.as_ref().ok_or(source::Error::NoKmsKey(name))?;
                self.by_kms(&sealed, kms, here, Scopes::Any).await?
            }
        };
        if let Source::File { file, remove: true, .. } = from {
            unsealed.spent = Some(file.clone());
        }
        Ok(unsealed)
    }

    /// What is published in a bucket.
    pub(super) async fn of_bucket(&self, s3: &S3, here: &Facts) -> Result<Unsealed, Error> {
        let sealed = SealedToken::parse(&self.on.fetch(s3, &s3.object.key(&here.instance_id)).await?)?;
        self.by_kms(&sealed, &s3.kms, here, s3.object.scopes()).await
    }

    async fn by_kms(
        &self,
        sealed: &SealedToken,
        kms: &Kms,
        here: &Facts,
        scopes: Scopes,
    ) -> Result<Unsealed, Error> {
        // Before unsealing, so that KMS is not asked for what is not ours; KMS then proves the binding.
        binding::check(sealed.binding(), self.config, here.here(), scopes, self.on.now())?;
        let plain = self.on.unseal(kms, sealed).await?;
        let text = std::str::from_utf8(&plain).map_err(|_| Error::NotAToken(None))?;
        let token = Token::new(Zeroizing::new(text.to_owned())).map_err(|e| Error::NotAToken(Some(e)))?;
        self.proved(sealed.binding(), token)
    }

    async fn by_client_data(
        &self,
        sealed: &Sealed,
        opener: &Opener,
        here: &Facts,
    ) -> Result<Unsealed, Error> {
        // Before a key is derived, which costs memory and time.
        binding::check(sealed.binding(), self.config, here.here(), Scopes::Any, self.on.now())?;
        let image = if sealed.facts().contains(&Fact::ImageId) { Some(self.on.image().await?) } else { None };
        let token = source::open(sealed, opener, self.config, &here.instance_id, image.as_deref())?;
        self.proved(sealed.binding(), token)
    }

    /// A token that came out of a sealed one, whose binding is authenticated by that.
    fn proved(&self, binding: &Binding, token: Token) -> Result<Unsealed, Error> {
        binding::check_token(binding, &token)?;
        log::info!(
            target: "imprint", token = binding.fingerprint.as_str(), rotation = binding.rotation_id.as_str();
            "unsealed token {} of {}, good until {}", binding.fingerprint, binding.host_factory, binding.expires_at
        );
        self.spread.set(Duration::from_secs(binding.spread_s.into()));
        Ok(Unsealed { token, binding: Some(binding.clone()), spent: None })
    }

    /// Removes the file that the token came in, where the configuration says so. The host is enrolled, and
    /// a failure does not change that.
    pub(super) fn clear_away(&self, unsealed: &Unsealed) {
        let Some(file) = &unsealed.spent else { return };
        match store::remove(self.disk, file) {
            Ok(()) => {
                log::info!(target: "imprint", "{} is removed, since its token is spent", file.display())
            }
            Err(error) => {
                log::warn!(target: "imprint", MESSAGE_ID = event::DOUBT; "the token's file stays: {}", chain(&error))
            }
        }
    }
}
