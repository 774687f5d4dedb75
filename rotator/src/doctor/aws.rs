//! S3 and KMS, with the role that a run has.

use super::{asked, some, tokens};
use crate::config::{Config, Factory};
use crate::effects::{self, Effects};
use imprint_core::aws::{ETag, Only};
use imprint_core::caller::RunId;
use imprint_core::checks::Check;
use imprint_core::error::{Class, chain};
use imprint_core::sealed::layer_key;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, Token};
use std::time::Duration;
use zeroize::Zeroizing;

/// The name of a factory that nobody has: its object is not there.
const NOBODY: &str = "imprint-rotator-doctor";

/// Adds the checks of AWS, and of what lies there.
pub(super) async fn checks<A: Effects>(
    config: &Config,
    factories: &[&Factory],
    id: &RunId,
    session: Option<&AccessToken>,
    aws: Result<&A, &effects::Error>,
    now: Second,
    checks: &mut Vec<Check>,
) {
    const NAMES: [&str; 5] = ["s3-object", "s3-list", "s3-put", "kms-encrypt", "kms-decrypt"];
    let on = match aws {
        Ok(on) => on,
        Err(error) => {
            checks.push(Check::of("region", error));
            let because = "AWS cannot be asked";
            checks.extend(NAMES.map(|name| Check::skipped(name, because)));
            checks.extend(tokens::NAMES.map(|name| Check::skipped(name, because)));
            return;
        }
    };
    let region = config.aws.region.as_deref().unwrap_or("as the environment or the profile says");
    checks.push(Check::ok("region", region));
    let Some(factory) = factories.first() else { return };
    bucket(config, factory, on, checks).await;
    key(config, factory, id, now, on, checks).await;
    tokens::checks(config, factories, session, on, checks).await;
}

/// What the role may do with the first factory's object.
async fn bucket(config: &Config, factory: &Factory, on: &impl Effects, checks: &mut Vec<Check>) {
    let (bucket, key) = (&config.aws.bucket, layer_key(&config.account, &factory.id));
    let found = match asked(on.fetch(&key)).await {
        Ok(object) => {
            checks.push(Check::ok("s3-object", format!("{bucket}/{key} can be read")));
            Some(object)
        }
        Err(super::Trouble::Effect(error)) if error.is_surely_absent() => {
            checks.push(Check::ok(
                "s3-object",
                format!("{bucket}/{key} is not there yet, and the role is told so"),
            ));
            None
        }
        Err(super::Trouble::Effect(error)) if error.is_absent() => {
            checks.push(Check::failure(
                "s3-object",
                Class::Refused,
                chain(&error),
                "allow the rotator's role s3:GetObject on factories/* and s3:ListBucket on the bucket; compare bucket and bucket_owner",
            ));
            None
        }
        Err(trouble) => {
            checks.push(Check::of("s3-object", &trouble));
            None
        }
    };
    let nobody = NOBODY.parse().map(|nobody| layer_key(&config.account, &nobody));
    let absent = match nobody {
        Ok(key) => asked(on.fetch(&key)).await,
        Err(_) => return,
    };
    checks.push(match absent {
        Err(super::Trouble::Effect(error)) if error.is_surely_absent() => {
            Check::ok("s3-list", "the role is told of an object that is not there")
        }
        Err(super::Trouble::Effect(error)) if error.is_absent() => Check::failure(
            "s3-list",
            Class::Refused,
            "an object that is not there looks forbidden, so a first token is never published",
            "allow the rotator's role s3:ListBucket on the bucket",
        ),
        Err(trouble) => Check::of("s3-list", &trouble),
        Ok(_) => Check::ok("s3-list", "the role may read objects of other factories"),
    });
    let Some(object) = found else {
        checks.push(Check::skipped("s3-put", "nothing is published that it could be tried with"));
        return;
    };
    // The condition cannot hold. Even a server that passed over it would find what is there already.
    let never = Only::IfMatch(ETag::new("\"00000000000000000000000000000000\""));
    checks.push(match asked(on.put(&key, object.bytes, &never)).await {
        Err(super::Trouble::Effect(error)) if error.is_conflict() => {
            Check::ok("s3-put", "the role may put, and S3 keeps to the condition")
        }
        Err(trouble) => Check::of("s3-put", &trouble),
        Ok(_) => Check::failure(
            "s3-put",
            Class::Protocol,
            "the bucket took a put whose condition did not hold",
            "use an S3 that knows conditional writes: two runs would overwrite each other",
        ),
    });
}

/// Whether the key seals and unseals for this factory: key policies may ask for its context.
async fn key(
    config: &Config,
    factory: &Factory,
    id: &RunId,
    now: Second,
    on: &impl Effects,
    checks: &mut Vec<Check>,
) {
    let key = &config.aws.key;
    // No token: nobody minted it.
    let Ok(probe) = Token::new(Zeroizing::new("0".repeat(48))) else { return };
    let end = now.plus(Duration::from_secs(1));
    let context = config.binding(factory, probe.fingerprint(), id.as_str(), now, end).context();
    let sealed = match asked(on.encrypt(&probe, &context)).await {
        Ok(encrypted) => {
            checks.push(Check::ok("kms-encrypt", format!("{key} seals for {}", factory.id)));
            encrypted
        }
        Err(trouble) => {
            checks.push(Check::of("kms-encrypt", &trouble));
            checks.push(Check::skipped("kms-decrypt", "nothing is sealed"));
            return;
        }
    };
    checks.push(match asked(on.decrypt(&sealed.ciphertext, &context)).await {
        Ok(opened) if opened.as_slice() == probe.expose().as_bytes() => {
            Check::ok("kms-decrypt", format!("{} unseals it again", some(&[key])))
        }
        Ok(_) => Check::failure(
            "kms-decrypt",
            Class::Protocol,
            "what was sealed opens to something else",
            "see what answers in the place of KMS",
        ),
        Err(trouble) => Check::of("kms-decrypt", &trouble),
    });
}
