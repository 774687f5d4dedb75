//! Policy by itself: what a text means, what is refused, and how the three verbs differ.

use super::super::{Conjur, Version};

const BRANCH: &str = "
- !policy
  id: app
  body:
  - !policy hosts
  - !layer
  - !layer db
  - &vars
    - !variable db-password
    - !variable { id: port, kind: number }
  - !host-factory
    id: web
    annotations: { description: web servers }
    layers: [ !layer , !layer db ]
  - !host
    id: rotator
    annotations:
      authn/api-key: true
    restricted_to: [ 10.0.0.0/8, 192.0.2.1 ]
  - !user alice
  - !group ops
  - !grant { role: !group ops, member: !user alice }
  - !grant { role: !group ops, members: [ !member { role: !user /bob, admin: true } ] }
  - !permit { role: !host rotator, privileges: [ execute ], resource: !host-factory web }
  - !permit { role: !layer , privileges: [ read, execute ], resources: *vars }
- !user bob
";

fn loaded() -> Conjur {
    let conjur = Conjur::new(Version::V1_24_0, "dev");
    conjur.load_policy("root", BRANCH).unwrap();
    conjur
}

#[test]
fn tags_anchors_and_relative_ids() {
    let conjur = Conjur::new(Version::V1_24_0, "dev");
    let created = conjur.load_policy("root", BRANCH).unwrap();
    assert_eq!(
        created.keys().collect::<Vec<_>>(),
        ["dev:host:app/rotator", "dev:user:alice@app", "dev:user:bob"]
    );
    let store = conjur.store();
    assert_eq!(store.resources["dev:host_factory:app/web"].owner, "dev:policy:app");
    assert_eq!(store.resources["dev:policy:app"].owner, "dev:user:admin");
    assert_eq!(store.resources["dev:policy:app/hosts"].owner, "dev:policy:app");
    assert_eq!(store.resources["dev:variable:app/port"].annotations["conjur/kind"].0, "number");
    assert_eq!(
        store.roles_of("dev:host_factory:app/web").collect::<Vec<_>>(),
        ["dev:layer:app", "dev:layer:app/db"]
    );
    assert!(store.memberships[&("dev:user:bob".into(), "dev:group:app/ops".into(), false)].admin_option);
    let roles = store.all_roles("dev:layer:app");
    assert!(store.allowed(&roles, "execute", "dev:variable:app/db-password"));
    assert!(!store.allowed(&roles, "update", "dev:variable:app/db-password"));
    assert_eq!(store.credentials["dev:host:app/rotator"].restricted_to.len(), 2);
}

#[track_caller]
fn refused(branch: &str, yaml: &str, expected: &str) {
    let conjur = loaded();
    let before = conjur.store().resources.len();
    let message = conjur.patch_policy(branch, yaml).unwrap_err();
    assert!(message.contains(expected), "{message}");
    assert_eq!(conjur.store().resources.len(), before, "a refused load leaves nothing behind");
}

#[test]
fn refusals_name_the_fault() {
    refused(
        "root",
        "- !layer\n  id: [oops\n",
        "did not find expected ',' or ']' while parsing a flow sequence",
    );
    refused("root", "- !hostfactory foo\n", "Unrecognized data type '!hostfactory'");
    refused(
        "root",
        "- !host-factory\n  id: broken\n  layers: [ !layer nolayer ]\n",
        "Layer 'nolayer' not found in account 'dev'",
    );
    refused(
        "root",
        "- !host-factory\n  id: nolayers\n",
        "Host factory 'nolayers' does not include any layers",
    );
    refused("root", "- !grant { role: !layer app, member: !host nosuch }\n", "Host 'nosuch' not found");
    refused("app", "- !grant { role: !layer /app, member: !host rotator }\n", "Illegal absolute id: /app");
    refused(
        "app",
        "- !permit { role: !host rotator, privilege: read, resource: !layer /app }\n",
        "Illegal absolute id",
    );
    refused("app", "- !delete { record: !host /app/rotator }\n", "Illegal absolute id");
    refused("app", "- !host a\n- !host a\n", "host 'app/a' is declared more than once");
    refused("app", "- !host { id: a, restrict: [ 10.0.0.0/8 ] }\n", "Unrecognized attribute 'restrict'");
    refused("app", "- !host { id: a, restricted_to: 10.0.0.1/8 }\n", "bits set to right of mask");
    refused("app", "- !grant { role: !layer db, member: !host ../../../x }\n", "Invalid relative reference");
    refused("nosuch", "- !host a\n", "Policy 'nosuch' not found in account 'dev'");
}

#[test]
fn post_adds_patch_updates_put_replaces() {
    let conjur = loaded();
    conjur.load_policy("app/hosts", "- !host { id: a, annotations: { k: v } }\n- !host b\n").unwrap();
    conjur.load_policy("app/hosts", "- !host { id: a, annotations: { k: w, l: x } }\n").unwrap();
    assert_eq!(
        conjur.annotations_of("app/hosts/a").into_iter().collect::<Vec<_>>(),
        [("k".into(), "v".into()), ("l".into(), "x".into())]
    );
    conjur.patch_policy("app/hosts", "- !host { id: a, annotations: { k: w } }\n").unwrap();
    assert_eq!(conjur.annotations_of("app/hosts/a")["k"], "w");
    conjur
        .apply("app/hosts", "- !host { id: a, annotations: { m: n } }\n- !host c\n", super::Verb::Put)
        .unwrap();
    assert_eq!(conjur.hosts(), ["app/hosts/a", "app/hosts/c", "app/rotator"]);
    assert_eq!(conjur.annotations_of("app/hosts/a").keys().collect::<Vec<_>>(), ["m"]);
    assert!(
        conjur
            .load_policy("app/hosts", "- !delete { record: !host a }\n")
            .unwrap_err()
            .contains("may not contain deletion")
    );
}

#[test]
fn deleting_a_branch_takes_what_it_declared() {
    let conjur = loaded();
    conjur
        .load_policy("app/hosts", "- !layer\n- !host-factory { id: f, layers: [ !layer ] }\n- !host a\n")
        .unwrap();
    conjur.patch_policy("root", "- !delete { record: !policy app/hosts }\n").unwrap();
    assert_eq!(conjur.hosts(), ["app/rotator"]);
    assert_eq!(conjur.key_of("app/hosts/a"), None);
}
