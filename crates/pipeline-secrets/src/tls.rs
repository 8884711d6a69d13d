use egress::ClientCertificate;
use secrecy::SecretString;

use crate::{Error, SecretValues};

/// The newer name, then the older one, as
/// [Flux](https://fluxcd.io/flux/components/notification/providers/#tls-authentication) has them.
const CA_KEYS: [&str; 2] = ["ca.crt", "caFile"];
const CERTIFICATE_KEYS: [&str; 2] = ["tls.crt", "certFile"];
const KEY_KEYS: [&str; 2] = ["tls.key", "keyFile"];

/// What a Secret holds for TLS; at least one of the two is there.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// A PEM bundle that is trusted instead of the platform's roots.
    pub ca: Option<Vec<u8>>,
    /// The certificate that is shown to servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
}

pub(crate) fn parse(secret: &SecretValues) -> Result<Certificates, Error> {
    let certificates = Certificates { ca: secret.ca()?, client_certificate: secret.client_certificate()? };
    if certificates.ca.is_none() && certificates.client_certificate.is_none() {
        let wanted = "`ca.crt`, or `tls.crt` and `tls.key`";
        return Err(Error::NoCredentials { secret: secret.secret(), wanted });
    }
    Ok(certificates)
}

impl SecretValues {
    pub(crate) fn ca(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some((key, pem)) = self.first(CA_KEYS)? else { return Ok(None) };
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(self.key(key, "holds no PEM certificate"));
        }
        Ok(Some(pem.as_bytes().to_vec()))
    }

    pub(crate) fn client_certificate(&self) -> Result<Option<ClientCertificate>, Error> {
        match (self.first(CERTIFICATE_KEYS)?, self.first(KEY_KEYS)?) {
            (None, None) => Ok(None),
            (Some((certificate, _)), None) => {
                Err(self.key("tls.key", format!("is missing; `{certificate}` is of no use without it")))
            }
            (None, Some((key, _))) => Err(self.key("tls.crt", format!("is missing; `{key}` is of no use without it"))),
            (Some((name, certificate)), Some((key_name, key))) => {
                if !certificate.contains("-----BEGIN CERTIFICATE-----") {
                    return Err(self.key(name, "holds no PEM certificate"));
                }
                if !key.contains("PRIVATE KEY-----") {
                    return Err(self.key(key_name, "holds no PEM private key"));
                }
                Ok(Some(ClientCertificate {
                    certificate: certificate.as_bytes().to_vec(),
                    key: SecretString::from(key),
                }))
            }
        }
    }

    /// The first of these keys that is there, and its value.
    fn first(&self, keys: [&'static str; 2]) -> Result<Option<(&'static str, &str)>, Error> {
        for key in keys {
            if let Some(text) = self.text(key)? {
                return Ok(Some((key, text)));
            }
        }
        Ok(None)
    }
}
