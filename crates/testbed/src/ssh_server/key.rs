use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process::output;

/// A key pair that `ssh-keygen` made.
#[derive(Clone, Debug)]
pub struct Key {
    /// The private key, as text.
    pub private: String,
    /// The public key without a comment: `type base64`.
    pub public: String,
    /// The certificate of the public key, if it has one.
    pub certificate: Option<String>,
}

impl Key {
    /// Makes a key with these arguments of [`ssh-keygen`](https://man.openbsd.org/ssh-keygen), without a passphrase
    /// unless they give one.
    ///
    /// # Errors
    /// `ssh-keygen` is not installed or refuses; the error holds what it says.
    pub async fn generate(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("key");
        let passphrase: &[&str] = if arguments.contains(&"-N") { &[] } else { &["-N", ""] };
        keygen(|command| command.args(["-q", "-C", "", "-f"]).arg(&path).args(passphrase).args(arguments)).await?;
        let public = fs::read_to_string(path.with_extension("pub"))?.trim().to_owned();
        Ok(Self { private: fs::read_to_string(&path)?, public, certificate: None })
    }

    /// The same key with a certificate that `authority` signed, made with these arguments of `ssh-keygen`.
    ///
    /// # Errors
    /// `ssh-keygen` refuses; the error holds what it says.
    pub async fn certified(mut self, authority: &Self, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (own, signing) = (folder.path().join("key.pub"), folder.path().join("authority"));
        fs::write(&own, &self.public)?;
        write_private(&signing, &authority.private)?;
        keygen(|command| command.args(["-q", "-I", "test", "-s"]).arg(&signing).args(arguments).arg(&own)).await?;
        self.certificate = Some(fs::read_to_string(folder.path().join("key-cert.pub"))?);
        Ok(self)
    }

    /// Writes the key into `folder` and gives the lines of `sshd_config` for it.
    pub(super) fn install(&self, folder: &Path, name: &str) -> Result<Vec<String>> {
        let path = folder.join(name);
        write_private(&path, &self.private)?;
        let mut lines = vec![format!("HostKey {}", path.display())];
        if let Some(certificate) = &self.certificate {
            let path = folder.join(format!("{name}-cert.pub"));
            fs::write(&path, certificate)?;
            lines.push(format!("HostCertificate {}", path.display()));
        }
        Ok(lines)
    }
}

/// Hashes the host names of a `known_hosts` text, as `ssh-keygen -H` does.
///
/// # Errors
/// `ssh-keygen` refuses; the error holds what it says.
pub async fn hash_known_hosts(text: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("known_hosts");
    fs::write(&path, text)?;
    keygen(|command| command.args(["-q", "-H", "-f"]).arg(&path)).await?;
    Ok(fs::read_to_string(&path)?)
}

async fn keygen(arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    arguments(&mut command);
    output(command).await.map(drop).context("`ssh-keygen` of OpenSSH's client is needed")
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
}
