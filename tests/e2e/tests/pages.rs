//! The listing of host factories, page by page, as core's client reads it: from the stand-in, and from a
//! server that plays games with it.

use imprint_core::Class;
use imprint_core::Classified as _;
use imprint_core::caller::{Caller, RunId};
use imprint_core::conjur::{Conjur, Error};
use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::error::chain;
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey};
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::{Options, Stack};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// More than two pages.
const FACTORIES: usize = 450;

fn layers() -> Vec<String> {
    (0..FACTORIES).map(|at| format!("l{at:03}")).collect()
}

/// Asks a stack of many factories for some of them, after `faults`. What came, in its order, and the
/// queries.
fn listed(faults: Vec<Fault>, wanted: impl Fn(&str) -> bool) -> (Result<Vec<String>, Error>, Vec<String>) {
    let stack = Stack::start(Options { layers: layers(), ..Options::new("imprint:host_factory") });
    let conjur = client(&stack);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = session(&stack, &conjur).await;
        faults.into_iter().for_each(|fault| stack.conjur.inject(fault));
        let listed = conjur.list_factories(&session, |id| wanted(id.as_str())).await;
        let ids = listed.map(|all| all.iter().map(|factory| factory.id.to_string()).collect());
        let pages = stack.conjur.log().into_iter().filter(|request| request.name == "list_factories");
        (ids, pages.map(|request| request.query).collect())
    })
}

fn client(stack: &Stack) -> Conjur {
    let trust = Trust::Only(CaBundle::from_pem(&stack.ca.pem()).unwrap());
    let caller = Caller::new("imprint-e2e/0.1.0", "client", &RunId::draw(Second::now()));
    let (url, account) = (stack.conjur.url().parse().unwrap(), "demo".parse().unwrap());
    Conjur::new(Door::new(&trust).unwrap(), url, account, caller)
}

async fn session(stack: &Stack, conjur: &Conjur) -> AccessToken {
    let (login, key) = stack.rotator_login();
    let key = ApiKey::new(Zeroizing::new(key)).unwrap();
    conjur.authenticate(&login, &key).await.unwrap_or_else(|e| panic!("{}", chain(&e)))
}

fn page(limit: usize, offset: usize) -> String {
    format!("limit={limit}&offset={offset}")
}

/// A page of factories that the rotator does not have.
fn rows(from: usize, count: usize) -> FaultKind {
    let row = |at: usize| format!(r#"{{"id":"demo:host_factory:x{at}","tokens":[]}}"#);
    let rows: Vec<String> = (from..from + count).map(row).collect();
    FaultKind::Body(format!("[{}]", rows.join(",")).into())
}

fn on(kind: FaultKind) -> Fault {
    Fault::on("list_factories", kind)
}

#[test]
fn all_pages_are_read_and_only_what_is_wanted_is_kept() {
    let (all, pages) = listed(Vec::new(), |_| true);
    assert_eq!(all.unwrap(), layers().iter().map(|l| format!("{l}/factory")).collect::<Vec<_>>());
    assert_eq!(pages, [page(200, 0), page(200, 200), page(200, 400)]);
    let (some, pages) = listed(Vec::new(), |id| id.starts_with("l44"));
    assert_eq!((some.unwrap().len(), pages.len()), (10, 3));
}

#[test]
fn pages_that_moved_show_some_twice_and_some_never() {
    // The second page comes from before a deletion, and one behind it from after: what it shows again is one.
    let (all, pages) = listed(vec![on(rows(0, 200)), on(rows(199, 200))], |_| true);
    let all = all.unwrap();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert_eq!((all.len(), pages.len()), (399 + 50, 3));
}

#[test]
fn a_server_may_not_show_more_than_was_asked_for() {
    let (refused, pages) = listed(vec![on(rows(0, 201))], |_| true);
    let error = refused.unwrap_err();
    assert_eq!((error.class(), pages.len()), (Class::Protocol, 1));
    assert!(error.to_string().contains("has 201 factories; at most 200 were asked for"), "{error}");
    for body in ["<html>", "{}", "[null]"] {
        let (refused, _) = listed(vec![on(FaultKind::Body(body.into())).skip(2)], |_| true);
        assert_eq!(refused.unwrap_err().class(), Class::Protocol, "{body}");
    }
}

#[test]
fn pages_without_end_come_to_an_end() {
    // It does not know of pages, and shows the first for ever.
    let (all, pages) = listed(vec![on(rows(0, 200)).forever()], |_| true);
    assert_eq!((all.unwrap().len(), pages.len()), (200, 2));
    // Or ever new ones.
    let endless = (0..150).map(|at| on(rows(at * 200, 200))).collect();
    let (all, pages) = listed(endless, |_| false);
    assert_eq!((all.unwrap().len(), pages.len()), (0, 100));
}

#[test]
fn a_page_that_is_too_large_is_asked_for_in_parts() {
    let large = || on(FaultKind::Body(vec![b' '; 5 << 20].into()));
    let (all, pages) = listed(vec![large()], |_| true);
    assert_eq!((all.unwrap().len(), &pages[..3]), (450, &[page(200, 0), page(100, 0), page(200, 100)][..]));
    // One that is too large by itself is left out, the others are not.
    let (all, pages) = listed(vec![large().times(8)], |_| true);
    assert_eq!(all.unwrap().len(), 449);
    let sizes = [page(1, 0), page(1, 1), page(2, 2), page(4, 4), page(8, 8)];
    assert_eq!(pages[7..12], sizes);
    // Nor does it go on for ever.
    let (none, pages) = listed(vec![large().forever()], |_| true);
    assert_eq!((none.unwrap().len(), pages.len()), (0, 40));
}

#[test]
fn one_factory_is_asked_for_alone() {
    let stack = Stack::start(Options::new("imprint:host_factory"));
    let conjur = client(&stack);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = session(&stack, &conjur).await;
        let ask = async |id: &str| {
            let id: FactoryId = id.parse().unwrap();
            conjur.factory(&session, &id).await.map(|found| found.map(|f| (f.id.to_string(), f.tokens.len())))
        };
        let _token = stack.conjur.service().add_token("web/factory", i64::from(i32::MAX), &[]).unwrap();
        let found = ask("web/factory").await.unwrap_or_else(|e| panic!("{}", chain(&e)));
        assert_eq!(found, Some(("web/factory".to_owned(), 1)));
        // Absent, and there but hidden, are one.
        stack.conjur.service().load_policy("root", HIDDEN).unwrap();
        assert!(ask("web/none").await.unwrap().is_none() && ask("hidden").await.unwrap().is_none());
        let name = "resource";
        stack.conjur.inject(Fault::on(name, FaultKind::Body(r#"{"id":"demo:host_factory:x"}"#.into())));
        let other = ask("web/factory").await.unwrap_err();
        assert!(other.to_string().contains("is not about host factory web/factory"), "{other}");
        stack.conjur.inject(Fault::on(name, FaultKind::Body(vec![b' '; 5 << 20].into())));
        assert_eq!(ask("web/factory").await.unwrap_err().class(), Class::Protocol);
    });
}

const HIDDEN: &str = "
- !layer hidden
- !host-factory
  id: hidden
  layers: [ !layer hidden ]
";
