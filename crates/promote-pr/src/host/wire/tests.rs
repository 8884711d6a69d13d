use std::time::Duration;

use egress::Retry;
use http::Response;

use super::*;

fn site() -> Site {
    let repository = "https://git.example.com/fleet/config.git".parse().unwrap();
    let api = Url::parse("https://git.example.com/api/v1").unwrap();
    Site::new(Provider::Gitea, &repository, ("fleet", "config"), &api, SecretString::from("s3cret")).unwrap()
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let ask = Ask::get("create a pull request", "/repos/fleet/config/pulls".to_owned());
    site().answer(&ask, response.body(Bytes::from(body.to_owned())).unwrap())
}

#[test]
fn failures_say_when_to_come_back() {
    let check = |status: u16, headers: &[(&str, &str)], body: &str, expect: Retry| {
        let error = answer(status, headers, body).success().map(drop).unwrap_err();
        assert_eq!(error.retry(), expect, "{status} {headers:?} {body}");
    };
    let date = ("date", "Mon, 23 Nov 2026 10:00:00 GMT");
    let minute = Retry::After(Duration::from_secs(60));
    check(401, &[], "", Retry::Never);
    check(403, &[], r#"{"message":"Resource not accessible by personal access token"}"#, Retry::Never);
    check(404, &[], "", Retry::Never);
    check(422, &[], "", Retry::Never);
    check(301, &[("location", "https://elsewhere.example.com/")], "", Retry::Never);
    check(408, &[], "", Retry::Later);
    check(500, &[], "", Retry::Later);
    check(503, &[("retry-after", "7")], "", Retry::After(Duration::from_secs(7)));
    check(429, &[], "", minute);
    check(429, &[("retry-after", "0")], "", Retry::After(Duration::from_secs(1)));
    check(429, &[("retry-after", "99999999999")], "", Retry::After(Duration::from_secs(3600)));
    check(429, &[("retry-after", "Mon, 23 Nov 2026 10:00:09 GMT"), date], "", Retry::After(Duration::from_secs(9)));
    check(429, &[("retry-after", "soon")], "", minute);
    check(403, &[("retry-after", "5")], "", Retry::After(Duration::from_secs(5)));
    check(403, &[], r#"{"message":"You have exceeded a secondary rate limit."}"#, minute);
    let reset = ("x-ratelimit-reset", "1795428030");
    check(403, &[("x-ratelimit-remaining", "0"), reset, date], "", Retry::After(Duration::from_secs(30)));
    check(403, &[("x-ratelimit-remaining", "12"), reset, date], "", Retry::Never);
}

#[test]
fn failures_tell_what_the_host_said() {
    let check = |status: u16, body: &str, expect: &str| {
        let error = answer(status, &[], body).success().map(drop).unwrap_err();
        let start = "cannot create a pull request in fleet/config on git.example.com: the host answered ";
        assert_eq!(error.to_string().strip_prefix(start), Some(expect), "{error}");
    };
    check(403, r#"{"message":"no way"}"#, "403: no way; give the credential the right to do that");
    check(
        403,
        r#"{"message":"Repository was archived so is read-only."}"#,
        "403: Repository was archived so is read-only.; unarchive the repository, or promote to another one",
    );
    check(410, "", "410; the repository was deleted or renamed, or the credential does not see it");
    check(500, "", "500");
    check(502, "<html><body>Bad gateway</body></html>", "502");
    check(500, "plain\n\u{1b}[31m text ", "500: plain [31m text");
    check(401, r#"{"message":"token s3cret is revoked"}"#, "401: token *** is revoked; renew the credential");
    check(
        422,
        r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","field":"base","code":"invalid"},{"message":"x"},"y",7]}"#,
        "422: Validation Failed: base is invalid; x; y",
    );
    check(422, &"x".repeat(1000), &format!("422: {}…", "x".repeat(300)));
    check(307, "", "307, so the repository was renamed or moved: update its URL");
}

#[test]
fn an_answer_that_is_not_json_is_no_answer() {
    let error = answer(200, &[], "<html>").json::<Vec<u8>>().unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
}

#[test]
fn lists_go_on_while_the_host_says_so() {
    let check = |links: &[(&str, &str)], expect: bool| assert_eq!(answer(200, links, "[]").has_next(), expect);
    check(&[], false);
    check(&[("link", "<https://x/?page=2>; rel=\"next\", <https://x/?page=9>; rel=\"last\"")], true);
    check(&[("link", "<https://x/?page=1>; rel=\"prev\"")], false);
}

#[test]
fn bases_are_checked() {
    let check = |given: &str, expect: Result<&str, &str>| {
        let base = base(Some(&Url::parse(given).unwrap()), "");
        match (base, expect) {
            (Ok(base), Ok(expect)) => assert_eq!(base.as_str(), expect),
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            (base, expect) => panic!("{given}: {base:?}, expected {expect:?}"),
        }
    };
    check("https://ghe.example.com/api/v3/", Ok("https://ghe.example.com/api/v3"));
    check("https://api.example.com", Ok("https://api.example.com/"));
    check("https://user:hunter2@ghe.example.com/", Err("`ghe.example.com` cannot be the base of an API: it contains"));
    check("https://ghe.example.com/?x=1", Err("it has a query"));
    check("ssh://ghe.example.com/api", Err("it is no https URL"));
    assert_eq!(base(None, "https://a.example/api/v1").unwrap().as_str(), "https://a.example/api/v1");
}

#[test]
fn repositories_need_plain_names() {
    let repository = "https://git.example.com/fleet/config.git".parse().unwrap();
    let api = Url::parse("https://git.example.com/api/v1").unwrap();
    let check = |owner: &str, name: &str, expect: bool| {
        let site = Site::new(Provider::Gitea, &repository, (owner, name), &api, SecretString::from("x"));
        assert_eq!(site.is_ok(), expect, "{owner}/{name}");
    };
    check("fleet", "config", true);
    check("Fleet-1", "c.o_n", true);
    check("..", "config", false);
    check("fleet", ".", false);
    check("a/b", "config", false);
    check("fleet", "r%3Fy=", false);
    check("", "config", false);
}

#[test]
fn paths_are_escaped() {
    assert_eq!(escape_path("promotion/a/1.0-x_y~"), "promotion/a/1.0-x_y~");
    assert_eq!(escape_path("a#b%c?d é"), "a%23b%25c%3Fd%20%C3%A9");
    assert_eq!(escape_segment("o:a/b"), "o%3Aa%2Fb");
}

#[test]
fn tokens_are_trimmed() {
    let secret = |text: &str| Some(SecretString::from(text));
    let check = |token: Option<&str>, password: Option<&str>, expect: Option<&str>| {
        let credentials = Credentials {
            token: token.and_then(secret),
            password: password.and_then(secret),
            ..Credentials::default()
        };
        let token = super::token(&credentials);
        assert_eq!(token.as_ref().map(|token| token.expose_secret()), expect);
    };
    check(Some("abc\n"), None, Some("abc"));
    check(Some("abc"), Some("def"), Some("abc"));
    check(None, Some("def"), Some("def"));
    check(Some(" \n"), None, None);
    check(None, None, None);
}
