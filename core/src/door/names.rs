//! Host names are looked up on a thread of their own: the C library's look-up blocks.
//!
//! The HTTP client would do the same on a thread of the runtime's, which panics where the system gives no
//! thread (a limit on tasks, say). Here that is an error like any other, and passes.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::ToSocketAddrs as _;
use std::thread;
use tokio::sync::oneshot;

/// The system's own look-up: files, DNS, and whatever else nsswitch.conf names.
pub(super) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (tell, told) = oneshot::channel();
        let look_up = move || {
            // The port is the connection's own business.
            let _nobody_waits = tell.send((name.as_str(), 0).to_socket_addrs());
        };
        let thread = thread::Builder::new().name("names".to_owned()).spawn(look_up);
        Box::pin(async move {
            // It is not waited for at the end: a look-up can take long.
            let _detached = thread?;
            Ok(Box::new(told.await??) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_lead_to_addresses_or_to_an_error() {
        let found = Names.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(found.into_iter().all(|address| address.ip().is_loopback() && address.port() == 0));
        assert!(Names.resolve("a name that no file has.invalid".parse().unwrap()).await.is_err());
    }
}
