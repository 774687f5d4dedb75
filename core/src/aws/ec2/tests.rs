//! The call over a real socket, to a stand-in that checks every signature.

use super::*;
use crate::aws::{Aws, Clock, Credentials};
use crate::door::Trust;
use crate::error::{Class, Classified, chain};
use imprint_stack::aws::{self as stand_in, Policy};
use imprint_stack::clock::Clock as Time;
use imprint_stack::ec2::{Ec2 as StandIn, Ec2Instance};
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::server::Server;
use jiff::SignedDuration;
use zeroize::Zeroizing;

struct Lab {
    time: Time,
    credentials: stand_in::Credentials,
    server: Server<StandIn>,
}

impl Lab {
    fn new() -> Self {
        let time = Time::new();
        let credentials = stand_in::Credentials::new("123456789012", time.clone());
        credentials.set_policy("fleet", Policy::none().allow(&["ec2:DescribeInstances"], "*"));
        credentials.set_policy("nobody", Policy::none());
        let server = Server::start(StandIn::new(credentials.clone(), "eu-west-1"));
        Self { time, credentials, server }
    }

    fn aws(&self, role: &str, region: &str) -> Aws {
        let keys = self.credentials.session(role, "a-run", SignedDuration::from_hours(24));
        let (caller, clock) = (crate::aws::tests::caller(), Clock::default());
        let aws = block_on(Aws::on_instance(region, &Trust::Public, &caller, &clock)).unwrap();
        aws.hold(&Credentials {
            access_key_id: keys.access_key,
            secret_access_key: Zeroizing::new(keys.secret),
            session_token: keys.session_token.map(Zeroizing::new),
            expires_at: None,
        });
        aws
    }

    fn ec2(&self, role: &str, region: &str) -> Ec2 {
        Ec2::new(self.aws(role, region).query("ec2", "EC2").reading(reply::LARGEST).at(&self.server.url()))
    }

    fn ids(&self, filters: &[(&str, Vec<String>)]) -> Result<Vec<String>, Error> {
        let filters = filters.iter().cloned().map(|(name, values)| Filter { name: name.to_owned(), values });
        let filters: Vec<Filter> = filters.collect();
        let found = block_on(self.ec2("fleet", "eu-west-1").instances(&filters))?;
        Ok(found.into_iter().map(|instance| instance.id.to_string()).collect())
    }
}

fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

#[test]
fn every_page_is_read_and_every_filter_told() {
    let lab = Lab::new();
    for n in 0..450 {
        let mut instance = Ec2Instance::running(&format!("i-{n:03}"), "10.0.0.1");
        instance.tags.insert("Role & more".to_owned(), if n % 2 == 0 { "web+1" } else { "db" }.to_owned());
        lab.server.service().put(instance);
    }
    lab.server.service().set_state("i-004", "terminated");
    assert_eq!(lab.ids(&[]).unwrap().len(), 450);
    assert_eq!(lab.server.log().len(), 3, "three pages");
    let some = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    let of = |filters: &[(&str, Vec<String>)]| lab.ids(filters).unwrap().join(" ");
    assert_eq!(of(&[("instance-id", some(&["i-002", "i-003", "i-999"]))]), "i-002 i-003");
    let web = ("tag:Role & more", some(&["web+1"]));
    let four = ("instance-id", some(&["i-002", "i-003", "i-004"]));
    assert_eq!(of(&[four.clone(), web.clone()]), "i-002 i-004");
    assert_eq!(of(&[four, web, ("instance-state-name", some(&["running"]))]), "i-002");
    assert_eq!(of(&[("instance-id", some(&["i-999"]))]), "");
}

#[test]
fn a_failed_page_fails_the_whole_list() {
    let lab = Lab::new();
    for n in 0..250 {
        lab.server.service().put(Ec2Instance::running(&format!("i-{n:03}"), "10.0.0.1"));
    }
    let check = |fault: FaultKind, class: Class, say: &str| {
        lab.server.inject(Fault::on("ec2:DescribeInstances", fault).skip(1));
        let error = lab.ids(&[]).unwrap_err();
        assert_eq!(error.class(), class, "{}", chain(&error));
        assert!(chain(&error).contains(say), "{}", chain(&error));
    };
    let status =
        |code, body: &'static [u8]| FaultKind::Status { code, headers: Vec::new(), body: body.into() };
    let limited = b"<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>";
    check(status(503, limited), Class::Transient, "RequestLimitExceeded (HTTP 503)");
    check(status(500, b"<html>busy</html>"), Class::Transient, "Unknown (HTTP 500)");
    check(FaultKind::Body(b"<html>hello</html>"[..].into()), Class::Protocol, "not the XML that EC2 writes");
    check(FaultKind::Truncate(300), Class::Transient, "ec2:DescribeInstances");
    check(FaultKind::Reset, Class::Transient, "ec2:DescribeInstances");
}

#[test]
fn who_may_not_and_whom_nobody_knows() {
    let lab = Lab::new();
    let check = |role: &str, region: &str, class: Class, code: &str, hint: &str| {
        let error = block_on(lab.ec2(role, region).instances(&[])).unwrap_err();
        assert_eq!((error.class(), error.code()), (class, Some(code)), "{}", chain(&error));
        assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
    };
    check("nobody", "eu-west-1", Class::Refused, "UnauthorizedOperation", "ec2:DescribeInstances");
    check("fleet", "eu-west-2", Class::Refused, "SignatureDoesNotMatch", "clock");
    lab.time.advance(SignedDuration::from_hours(30));
    let keys = lab.aws("fleet", "eu-west-1");
    lab.time.advance(SignedDuration::from_hours(30));
    let ec2 = Ec2::new(keys.query("ec2", "EC2").at(&lab.server.url()));
    let expired = block_on(ec2.instances(&[])).unwrap_err();
    assert_eq!((expired.class(), expired.code()), (Class::Transient, Some("RequestExpired")));
}

#[test]
fn a_clock_that_is_off_is_corrected() {
    let lab = Lab::new();
    lab.time.advance(SignedDuration::from_hours(3));
    assert_eq!(lab.ids(&[]).unwrap(), [""; 0]);
    assert_eq!(lab.server.log().len(), 2, "refused once, with the time in the answer");
}

#[test]
fn whose_account_it_is_needs_no_permission() {
    let lab = Lab::new();
    let aws = lab.aws("nobody", "eu-west-1");
    let query = aws.query("sts", "STS").at(&lab.server.url());
    let body = block_on(query.call("sts:GetCallerIdentity", "2011-06-15", &[])).unwrap();
    assert_eq!(reply::account(&body).as_deref(), Ok("123456789012"));
}
