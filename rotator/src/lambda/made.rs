//! What is made once and serves every invocation of this process, until its configuration changes.

use super::failed::Failed;
use crate::PROGRAM;
use crate::config::{self, Config, Content, Object, Place};
use crate::effects::Real;
use crate::session::Kept;
use imprint_core::caller::{Caller, RunId};
use std::cell::RefCell;
use std::rc::Rc;

/// The clients of a configuration.
pub(super) struct Made {
    pub(super) config: Rc<Config>,
    pub(super) caller: Caller,
    pub(super) on: Real,
    /// The login of earlier invocations, as long as it is good.
    pub(super) kept: Kept,
}

/// Between invocations.
#[derive(Default)]
pub(super) struct Between(RefCell<Option<Held>>);

struct Held {
    made: Rc<Made>,
    /// A configuration in S3, and what it was when the clients were made. One in a file goes with the
    /// function's package, and never changes.
    object: Option<(Rc<Object>, Content)>,
}

impl Between {
    /// What serves an invocation of this function: what there is, or anew when the configuration in S3 is
    /// another one by now. One GET an invocation, and one for each CA file that lies beside it.
    pub(super) async fn ready(&self, arn: &str, command: &str, id: &RunId) -> Result<Rc<Made>, Failed> {
        self.made(arn, command, id).await.map_err(|error| Failed::of(&error))
    }

    async fn made(&self, arn: &str, command: &str, id: &RunId) -> Result<Rc<Made>, crate::effects::Error> {
        let held = self.0.borrow().as_ref().map(|held| {
            let object = held.object.as_ref().map(|(object, _)| Rc::clone(object));
            (Rc::clone(&held.made), object)
        });
        let (config, object) = match held {
            Some((made, None)) => return Ok(made.again(command, id)),
            Some((made, Some(object))) => {
                made.caller.begin(command, id);
                let content = object.fetch().await?;
                if self.is_of(&content) {
                    return Ok(made);
                }
                log::info!("the configuration has changed");
                (content.config()?, Some((object, content)))
            }
            None => {
                let place = Place::of(None, None, account(arn), |name| std::env::var(name).ok())?;
                first(place, &Caller::new(PROGRAM, command, id)).await?
            }
        };
        let (config, caller) = (Rc::new(config), Caller::new(PROGRAM, command, id));
        config.tell_of_an_unused_key(|name| std::env::var(name).ok());
        let on = Real::new(Rc::clone(&config), &caller).await?;
        let made = Rc::new(Made { config, caller, on, kept: Kept::default() });
        *self.0.borrow_mut() = Some(Held { made: Rc::clone(&made), object });
        Ok(made)
    }

    fn is_of(&self, content: &Content) -> bool {
        let held = self.0.borrow();
        held.as_ref().and_then(|held| held.object.as_ref()).is_some_and(|(_, made_of)| made_of == content)
    }
}

impl Made {
    /// The clients outlive a run; what they tell of it does not.
    fn again(self: Rc<Self>, command: &str, id: &RunId) -> Rc<Self> {
        self.caller.begin(command, id);
        self
    }
}

type First = (Config, Option<(Rc<Object>, Content)>);

async fn first(place: Place, caller: &Caller) -> Result<First, config::Error> {
    match place {
        Place::File(path) => Ok((Config::of_file(path)?, None)),
        Place::Object { bucket, key, owner } => {
            let object = Object::new(&bucket, key, &owner, caller).await?;
            let content = object.fetch().await?;
            Ok((content.config()?, Some((Rc::new(object), content))))
        }
    }
}

/// The account of `arn:aws:lambda:REGION:ACCOUNT:function:NAME`: a function's configuration lies in its own,
/// unless the environment names another.
fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_function_it_is() {
        let check = |arn, want| assert_eq!(account(arn), want, "{arn}");
        check("arn:aws:lambda:eu-west-1:123456789012:function:rotator", Some("123456789012"));
        check("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:rotator:live", Some("123456789012"));
        check("arn:aws:lambda:eu-west-1::function:rotator", None);
        check("", None);
    }
}
