//! The certificate authority that all servers of a bed share.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// The names that [`Ca::server_certificate`] is good for.
pub const SERVER_NAMES: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// A certificate authority made for one bed, and the one server certificate that it signed.
///
/// Its private key is thrown away: whoever attaches to a bed can serve under [`SERVER_NAMES`] and nothing else.
#[derive(Clone, Debug)]
pub struct Ca {
    certificate: String,
    server: ServerCertificate,
    folder: PathBuf,
}

/// A server's certificate and private key, both as PEM.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate").finish_non_exhaustive()
    }
}

impl Ca {
    /// Makes an authority and writes its files into `folder`, which is created.
    pub fn generate(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "pipeline-controller test bed");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut params = CertificateParams::new(SERVER_NAMES.map(String::from))?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // etcd's gateway presents its own serving certificate to itself as a client.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;

        let ca = Self {
            certificate: issuer.pem(),
            server: ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() },
            folder: folder.to_owned(),
        };
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        for (path, text) in [
            (ca.certificate_path(), &ca.certificate),
            (ca.server_certificate_path(), &ca.server.certificate),
            (ca.server_key_path(), &ca.server.key),
        ] {
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(ca)
    }

    /// Reads an authority that [`Ca::generate`] wrote into `folder`.
    pub fn load(folder: &Path) -> Result<Self> {
        let read = |path: PathBuf| fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()));
        let mut ca = Self {
            certificate: String::new(),
            server: ServerCertificate { certificate: String::new(), key: String::new() },
            folder: folder.to_owned(),
        };
        ca.certificate = read(ca.certificate_path())?;
        ca.server.certificate = read(ca.server_certificate_path())?;
        ca.server.key = read(ca.server_key_path())?;
        Ok(ca)
    }

    /// The authority's certificate as PEM: what a client has to trust.
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// The folder that holds the PEM files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with [`Ca::pem`], as for git's `http.sslCAInfo`.
    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The file with the server certificate.
    pub fn server_certificate_path(&self) -> PathBuf {
        self.folder.join("tls.crt")
    }

    /// The file with the server certificate's private key.
    pub fn server_key_path(&self) -> PathBuf {
        self.folder.join("tls.key")
    }

    /// The certificate for [`SERVER_NAMES`].
    pub fn server_certificate(&self) -> &ServerCertificate {
        &self.server
    }

    /// How an in-process server speaks TLS under [`SERVER_NAMES`], HTTP/1.1 only.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>> {
        let certificate = CertificateDer::from_pem_slice(self.server.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A client that trusts this authority and nothing else, keeps no connection open (so that it may outlive the
    /// runtime of one test), follows no redirect and uses no proxy.
    pub fn http_client(&self) -> Result<reqwest::Client> {
        #[expect(clippy::disallowed_methods, reason = "tests watch the servers from outside of the code under test")]
        let builder = reqwest::Client::builder();
        let root = reqwest::Certificate::from_pem(self.certificate.as_bytes())?;
        Ok(builder
            .tls_certs_only([root])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(std::time::Duration::from_secs(30))
            .build()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::generate(folder.path()).unwrap();
        let loaded = Ca::load(folder.path()).unwrap();
        assert_eq!(loaded.pem(), ca.pem());
        assert_eq!(loaded.server_certificate().key, ca.server_certificate().key);
        loaded.server_config().unwrap();
        loaded.http_client().unwrap();
        assert!(!format!("{ca:?}").contains("PRIVATE KEY"));
    }
}
