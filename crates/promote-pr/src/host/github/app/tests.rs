use egress::Retry;

use super::*;
use crate::host::tests::line;

fn app(private_key: &str) -> GitHubApp {
    GitHubApp {
        app_id: "1234".to_owned(),
        installation: Installation::Id(7),
        private_key: SecretString::from(private_key),
        api_url: None,
    }
}

#[tokio::test]
async fn a_bad_key_is_told_and_not_shown() {
    let repository = "https://github.com/fleet/config.git".parse().unwrap();
    let key = "-----BEGIN RSA PRIVATE KEY-----\nY2FuYXJ5\n-----END RSA PRIVATE KEY-----\n";
    let app = app(key);
    let error = Apps::default().token(&app, &repository, &line(&egress::Identity::default())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GitHub App 1234 cannot be used on api.github.com: its private key is no RSA key in PEM"
    );
    assert_eq!(error.retry(), Retry::Never);
    for text in [format!("{error:?}"), format!("{app:?}")] {
        assert!(!text.contains("Y2FuYXJ5"), "{text}");
    }
}

#[test]
fn another_key_is_another_app() {
    let api = Url::parse("https://api.github.com").unwrap();
    assert_eq!(key(&app("a"), &api), key(&app("a"), &api));
    assert_ne!(key(&app("a"), &api), key(&app("b"), &api));
}

#[test]
fn requests_are_as_documented() {
    let mint = mint(7);
    assert_eq!((mint.method.as_str(), mint.path.as_str()), ("POST", "/app/installations/7/access_tokens"));
    assert_eq!(installation_of("orgs", "a b").path, "/orgs/a%20b/installation");
}
