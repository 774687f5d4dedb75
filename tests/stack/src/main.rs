//! Conjur alone, over TLS on a loopback port, empty but for `admin`: for tests in other languages that load policy
//! themselves.
//!
//! `imprint-stack ACCOUNT FOLDER` writes the certificate authority (`conjur-ca.pem`) and the API key of `admin`
//! (`admin.key`, closed to others) into the folder, prints the address as one line, and serves until its standard
//! input ends.
#![expect(clippy::print_stdout, reason = "the address is for whoever started it")]

use imprint_stack::ca::Ca;
use imprint_stack::conjur::{Conjur, Version};
use imprint_stack::server::Server;
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [account, folder] = given.as_slice() else { return Err("give an ACCOUNT and a FOLDER".into()) };
    let folder = Path::new(folder);
    let conjur = Conjur::new(Version::V1_24_0, account);
    let mut key = fs::OpenOptions::new();
    key.write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("admin.key"))?
        .write_all(conjur.admin_key().as_bytes())?;
    let ca = Ca::named("Imprint stack CA");
    fs::write(folder.join("conjur-ca.pem"), ca.pem())?;
    let address = Ipv4Addr::LOCALHOST.into();
    let server = Server::start_at(address, conjur, Some(ca.leaf(&["localhost", "127.0.0.1"])));
    println!("{}", server.url());
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
