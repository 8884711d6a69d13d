use proptest::prelude::*;

use super::*;

#[track_caller]
fn check_url(text: &str, expect: Result<&str, &str>) {
    match (text.parse::<RepoUrl>(), expect) {
        (Ok(url), Ok(expect)) => assert_eq!(url.to_string(), expect),
        (Err(error), Err(expect)) => {
            assert!(error.to_string().contains(expect), "{text:?}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{text:?}: {error}");
        }
        (got, expect) => panic!("{text:?}: {got:?}, expected {expect:?}"),
    }
}

#[test]
fn repository_urls() {
    check_url("https://github.com/org/fleet.git", Ok("https://github.com/org/fleet.git"));
    check_url("HTTPS://GitHub.COM:443/org/fleet/", Ok("https://github.com/org/fleet"));
    check_url("https://host:8443/a/b/c.git", Ok("https://host:8443/a/b/c.git"));
    check_url("https://[::1]:8443/o/n", Ok("https://[::1]:8443/o/n"));
    check_url("https://host/a/../o/n", Ok("https://host/o/n"));
    check_url("http://host/o/n", Ok("http://host/o/n"));
    check_url("ssh://git@GitHub.com:22/org/fleet.git", Ok("ssh://git@github.com/org/fleet.git"));
    check_url("ssh://host:2222/org/fleet.git", Ok("ssh://host:2222/org/fleet.git"));

    check_url("https://user:hunter2@host/o/n", Err("credentials"));
    check_url("https://hunter2@host/o/n", Err("credentials"));
    check_url("ssh://git:hunter2@host/o/n", Err("credentials"));
    check_url("file:///srv/git/n.git", Err("scheme"));
    check_url("git://host/o/n", Err("scheme"));
    check_url("ext::sh -c hunter2", Err("blank"));
    check_url("git@github.com:org/fleet.git", Err("with its scheme"));
    check_url("/srv/git/n.git", Err("with its scheme"));
    check_url("https://host/o/n?x=hunter2", Err("query"));
    check_url("https://host/o/n#hunter2", Err("query"));
    check_url("https://host/o/\nn", Err("control"));
    check_url("https:\\\\host\\o", Err("backslash"));
    check_url("https://host/", Err("path"));
    check_url("https://host/../..", Err("path"));
    check_url("https://host/o//n", Err("path"));
    check_url("https:///", Err("not a repository URL"));
    check_url("ssh:///o/n", Err("host"));
    check_url(&format!("https://host/{}", "n".repeat(2048)), Err("2048"));
}

#[test]
fn owner_and_name() {
    for (text, expect) in [
        ("https://github.com/org/fleet.git", Some(("org", "fleet"))),
        ("https://gitlab.com/group/sub/fleet", Some(("group/sub", "fleet"))),
        ("https://host/fleet.git", None),
        ("https://host/org/.git", None),
    ] {
        assert_eq!(text.parse::<RepoUrl>().unwrap().owner_and_name(), expect, "{text}");
    }
}

#[test]
fn branch_names() {
    for good in ["main", "release/1.2", "promotion/ns/app/prod/1.2.3-0a1b2c3d", "a@b", "ünïcode", "x.y", "a-b_c+d=e,f"]
    {
        assert_eq!(good.parse::<BranchName>().unwrap().as_str(), good);
    }
    for bad in [
        "",
        "@",
        "HEAD",
        "-x",
        ".x",
        "a/.b",
        "a//b",
        "/a",
        "a/",
        "a.",
        "a.lock",
        "a.lock/b",
        "a..b",
        "a@{b",
        "a b",
        "a~b",
        "a^b",
        "a:b",
        "a?b",
        "a*b",
        "a[b",
        "a\\b",
        "a\nb",
        "a\x7fb",
        "refs/heads/main",
    ] {
        assert!(bad.parse::<BranchName>().is_err(), "{bad:?}");
    }
    assert_eq!("main".parse::<BranchName>().unwrap().full_name(), "refs/heads/main");
}

#[test]
fn commit_ids() {
    let hex = "0123456789abcdef0123456789ABCDEF01234567";
    assert_eq!(hex.parse::<CommitId>().unwrap().to_string(), hex.to_lowercase());
    for bad in [
        "",
        "0123",
        "g123456789abcdef0123456789abcdef01234567",
        &"0".repeat(64),
        "ä12345678 abcdef0123456789abcdef0123456",
    ] {
        assert!(bad.parse::<CommitId>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn a_parsed_url_parses_to_itself(text in "(https|ssh|http)://([a-zA-Z0-9.:@/%\\[\\]-]|\\PC){0,40}") {
        if let Ok(url) = text.parse::<RepoUrl>() {
            prop_assert_eq!(url.as_str().parse::<RepoUrl>(), Ok(url.clone()));
            prop_assert!(url.as_url().password().is_none());
            prop_assert!(!url.host().is_empty());
        }
    }

    #[test]
    fn branch_names_agree_with_gix(text in "([a-z./@{*-]|\\PC){0,12}") {
        let full = format!("refs/heads/{text}");
        let gix = gix::validate::reference::name(full.as_str().into()).is_ok();
        if text.parse::<BranchName>().is_ok() {
            prop_assert!(gix, "{:?}", text);
        } else {
            let ours_alone = text.starts_with("refs/") || text.starts_with('-') || text == "@" || text == "HEAD";
            prop_assert!(!gix || ours_alone, "{:?}", text);
        }
    }

    #[test]
    fn ids_round_trip(bytes: [u8; 20]) {
        let id = CommitId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse::<CommitId>(), Ok(id));
    }
}
