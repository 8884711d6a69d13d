//! Signed commits, as the real `git verify-commit` sees them.

use std::path::Path;
use std::process::Command;

use promote_pr::git::{Change, Error, Pushed, SigningKey};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::bed::{Bed, PROD, author, branch};

/// Runs a program and gives back what it prints.
fn run(program: &str, args: &[&str], gnupg: &Path) -> Result<String, String> {
    let output = Command::new(program).args(args).env("GNUPGHOME", gnupg).env("LC_ALL", "C").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}

async fn push(bed: &Bed, key: &str, passphrase: Option<&str>, head: &str) -> Result<Pushed, Error> {
    let signing = SigningKey { key: SecretString::from(key), passphrase: passphrase.map(SecretString::from) };
    let base = bed.fetch().await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "no key is older than the commits that it signs")]
    let when = jiff::Timestamp::now();
    let change = Change {
        files: &[(PROD, head.as_bytes())],
        message: "Promote app\n\nPromotion-Id: 1\n",
        author: &author(),
        committer: None,
        signing: Some(&signing),
        when,
    };
    bed.git.commit_and_push(&bed.remote, &base, change, &branch(head), None).await
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn with_an_ssh_key() {
    let bed = Bed::start().await;
    let folder = TempDir::new().unwrap();
    for (number, (kind, bits, passphrase)) in
        [("ed25519", "256", ""), ("ed25519", "256", "open sesame"), ("ecdsa", "384", ""), ("rsa", "2048", "x")]
            .into_iter()
            .enumerate()
    {
        let file = folder.path().join(number.to_string());
        let path = file.to_str().unwrap();
        run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", passphrase, "-C", "", "-f", path], folder.path())
            .unwrap();
        let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        let signers = folder.path().join("signers");
        std::fs::write(&signers, format!("bot@example.com namespaces=\"git\" {public}")).unwrap();
        let key = std::fs::read_to_string(&file).unwrap();

        let head = format!("signed-{number}");
        push(&bed, &key, Some(passphrase).filter(|text| !text.is_empty()), &head).await.unwrap();
        let config = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        let repo = bed.repo.path.to_str().unwrap();
        let said = run("git", &["-C", repo, "-c", &config, "verify-commit", &head], folder.path()).unwrap();
        assert!(said.contains("Good \"git\" signature for bot@example.com"), "{said}");

        std::fs::write(&signers, format!("mallory@example.com namespaces=\"git\" {public}").replace("AAAA", "AAAB"))
            .unwrap();
        run("git", &["-C", repo, "-c", &config, "verify-commit", &head], folder.path()).unwrap_err();
        if !passphrase.is_empty() {
            for wrong in [None, Some("wrong")] {
                let error = push(&bed, &key, wrong, "never").await.unwrap_err();
                assert!(matches!(error, Error::Signing { .. }), "{error:?}");
                assert_eq!(error.retry(), egress::Retry::Never);
            }
        }
    }
    assert!(!bed.repo.branches().await.unwrap().contains_key("never"));
    bed.repo.fsck().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn with_an_openpgp_key() {
    let bed = Bed::start().await;
    for (number, (algorithm, usage, subkey, passphrase)) in [
        ("ed25519", "sign", None, ""),
        ("ed25519", "cert", Some("ed25519"), "open sesame"),
        ("rsa2048", "sign", None, "x"),
        ("nistp256/ecdsa", "sign", None, ""),
        ("nistp384/ecdsa", "sign", Some("nistp521/ecdsa"), "y"),
    ]
    .into_iter()
    .enumerate()
    {
        // The agent's socket needs a short path.
        let home = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let gpg = |args: &[&str]| {
            let batch = ["--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", passphrase];
            run("gpg", &[&batch, args].concat(), home.path()).unwrap()
        };
        gpg(&["--quick-generate-key", "Bot <bot@example.com>", algorithm, usage, "never"]);
        let listed = gpg(&["--with-colons", "--list-secret-keys"]);
        let fingerprint =
            listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':');
        if let Some(subkey) = subkey {
            gpg(&["--quick-add-key", fingerprint, subkey, "sign", "never"]);
        }
        let file = home.path().join("key.asc");
        gpg(&["--armor", "--output", file.to_str().unwrap(), "--export-secret-keys", fingerprint]);
        let key = std::fs::read_to_string(&file).unwrap();

        let head = format!("signed-{number}");
        push(&bed, &key, Some(passphrase).filter(|text| !text.is_empty()), &head).await.unwrap();
        let repo = bed.repo.path.to_str().unwrap();
        let said = run("git", &["-C", repo, "verify-commit", &head], home.path()).unwrap();
        assert!(said.contains("Good signature from \"Bot <bot@example.com>\""), "{algorithm}: {said}");
        if !passphrase.is_empty() {
            let error = push(&bed, &key, Some("wrong"), "never").await.unwrap_err();
            assert!(matches!(error, Error::Signing { .. }), "{error:?}");
        }
        run("gpgconf", &["--kill", "gpg-agent"], home.path()).unwrap();
    }
    bed.repo.fsck().await.unwrap();
}
