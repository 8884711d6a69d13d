use proptest::prelude::*;

use super::*;

fn key(namespace: &str, pipeline: &str, environment: &str, revision: &str, sequence: u32) -> Key {
    Key {
        namespace: namespace.to_owned(),
        pipeline: pipeline.to_owned(),
        environment: environment.to_owned(),
        revision: revision.to_owned(),
        sequence,
    }
}

#[test]
fn branches_read_well() {
    let check = |revision: &str, expect: &str| {
        let branch = key("default", "podinfo", "prod", revision, 1).branch().to_string();
        let (start, hash) = branch.split_at(branch.len() - 8);
        assert_eq!(start, format!("promotion/default/podinfo/prod/{expect}"));
        assert!(hash.bytes().all(|b| b.is_ascii_hexdigit()), "{branch}");
    };
    check("6.3.0", "6.3.0-");
    check("main@sha1:0123abcd", "main-sha1-0123abcd-");
    check("v1..2", "v1.2-");
    check("refs/heads/a.lock", "refs-heads-a.lock-");
    check("~^:?*[\\ @{", "");
    check("", "");
    check("-.x.-", "x-");
    check(&"9".repeat(253), &format!("{}-", "9".repeat(32)));
    check("größe", "gr-e-");
}

#[test]
fn the_id_of_a_key_never_changes() {
    let key = key("default", "podinfo", "prod", "6.3.0", 1);
    insta::assert_snapshot!(key.id(), @"1a9e7245-9825-547f-9844-96773476cc81");
    insta::assert_snapshot!(key.branch(), @"promotion/default/podinfo/prod/6.3.0-1a9e7245");
}

#[test]
fn parts_are_not_confused() {
    let a = key("a-b", "c", "prod", "1", 1);
    let b = key("a", "b-c", "prod", "1", 1);
    let c = key("a", "b", "c/prod", "1", 1);
    let d = key("a", "b/c", "prod", "1", 1);
    let e = key("a", "b", "prod", "1", 2);
    let f = key("a", "b", "prod", "12", 1);
    let keys = [a, b, c, d, e, f];
    for (i, one) in keys.iter().enumerate() {
        for other in &keys[i + 1..] {
            assert_ne!(one.id(), other.id());
            assert_ne!(one.branch(), other.branch());
        }
    }
}

#[test]
fn a_prefix_ends_at_a_slash() {
    let short = key("default", "app", "prod", "1", 1);
    let long = key("default", "app", "prod-eu", "1", 1);
    assert!(!long.branch().as_str().starts_with(&short.branch_prefix()));
}

/// Usual names, and whatever else may stand in a field.
fn part() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]([a-z0-9.-]{0,70}[a-z0-9])?", "(?s).{0,300}", r"[a-z./_~^:\\@{ -]{0,20}(\.lock)?"]
}

fn any_key() -> impl Strategy<Value = Key> {
    (part(), part(), part(), part(), any::<u32>()).prop_map(|(namespace, pipeline, environment, revision, sequence)| {
        Key { namespace, pipeline, environment, revision, sequence }
    })
}

proptest! {
    #[test]
    fn branches_are_valid_and_short(key in any_key()) {
        let branch = key.branch();
        prop_assert!(branch.as_str().parse::<BranchName>().is_ok(), "{branch}");
        prop_assert!(branch.as_str().len() <= 244, "{} bytes", branch.as_str().len());
        prop_assert!(branch.as_str().starts_with(&key.branch_prefix()));
        prop_assert_eq!(key.branch_prefix().matches('/').count(), 4);
    }

    #[test]
    fn equal_keys_alone_share_a_branch(a in any_key(), b in any_key()) {
        prop_assert_eq!(a == b, a.id() == b.id());
        prop_assert_eq!(a == b, a.branch() == b.branch());
    }

    #[test]
    fn equal_environments_alone_share_a_prefix(a in any_key(), b in any_key()) {
        let place = |key: &Key| (key.namespace.clone(), key.pipeline.clone(), key.environment.clone());
        prop_assert_eq!(place(&a) == place(&b), a.branch_prefix() == b.branch_prefix());
        let within = a.branch().as_str().starts_with(&b.branch_prefix());
        prop_assert_eq!(place(&a) == place(&b), within);
    }

    #[test]
    fn near_parts_are_told_apart(part in part(), extra in "[-._/ ]") {
        let one = key(&part, "app", "prod", "1", 1);
        let other = key(&format!("{part}{extra}"), "app", "prod", "1", 1);
        prop_assert_ne!(one.branch_prefix(), other.branch_prefix());
        prop_assert_ne!(one.id(), other.id());
    }
}
