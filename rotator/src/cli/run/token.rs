//! `token create`, `list` and `revoke`.

use super::{Error, say, tell};
use crate::cli::Token;
use crate::config::Config;
use crate::effects::Real;
use crate::seal;
use crate::token::{create, list::List, revoke};
use imprint_core::caller::Caller;
use imprint_core::error::Class;
use std::io::Write as _;
use std::rc::Rc;

pub(super) async fn run(
    config: Rc<Config>,
    command: Token,
    caller: &dyn Fn(&str) -> Caller,
) -> Result<Option<Class>, Error> {
    match command {
        Token::Create(ask) => {
            // Conjur alone: no AWS has to be there.
            let on = seal::Real::new(&config, &caller("token-create")).await?;
            let created = create::create(&config, &ask, &on, &mut std::io::stdout()).await?;
            if ask.json {
                say(format_args!("{:#}", created.to_json()))?;
            } else if create::is_standard(&ask.out) {
                // Standard output has the tokens, and nothing else.
                let _nobody = writeln!(std::io::stderr(), "{created}");
            } else {
                say(created)?;
            }
            Ok(None)
        }
        Token::List { factories, json } => {
            let on = Real::new(Rc::clone(&config), &caller("token-list")).await?;
            let list = List::ask(&config, &factories, &on).await?;
            tell(json, || list.to_json(), &list)?;
            Ok(list.class())
        }
        Token::Revoke(ask) => {
            let on = Real::new(Rc::clone(&config), &caller("token-revoke")).await?;
            let revoked = revoke::revoke(&config, &ask, &on, seal::standard_input).await?;
            tell(ask.json, || revoked.to_json(), &revoked)?;
            Ok(revoked.class())
        }
    }
}
