//! Checks a kubeconfig that came out of a Secret. Pure.
//!
//! Who may write such a Secret may not thereby run a program in this process, make it read files of its machine or weaken
//! its TLS, all of which kube's client would do for
//! [the fields of a kubeconfig](https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use kube::config::{
    AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError, NamedAuthInfo, NamedCluster, NamedContext,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// More than any tool writes for the one context that is used.
const MAX_BYTES: usize = 256 * 1024;

/// A name for the only cluster, user and context that are left.
const ONLY: &str = "target";

const READS_A_FILE: &str =
    "names a file, which would be read on the controller's machine; put its content into the kubeconfig";
const RUNS_A_PROGRAM: &str = "would run a program or a login flow; use a token or a client certificate";
const IMPERSONATES: &str = "would impersonate someone else; use credentials of their own";

/// Why a kubeconfig is not used. Names the field, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(crate) struct Refused {
    /// Path of the field, for example `users[0].user.exec`.
    pub(crate) field: String,
    pub(crate) problem: String,
}

/// Reads a kubeconfig and keeps of it the current context, with its cluster and user, and of those the fields that are
/// safe: `server`, `tls-server-name` and the inline certificates, keys, token and password. Whatever else the text holds
/// does not reach the result.
///
/// # Errors
/// When a field is set that could run or read something here, weaken TLS or act as someone else; when the server is not
/// `https`; and when something that is needed is missing or cannot be used.
pub(crate) fn parse(text: &str) -> Result<Kubeconfig, Refused> {
    if text.len() > MAX_BYTES {
        return Err(refused("kubeconfig", format!("is larger than {} KiB", MAX_BYTES / 1024)));
    }
    let whole = Kubeconfig::from_yaml(text).map_err(|error| not_a_kubeconfig(&error))?;
    let current = filled(whole.current_context).ok_or_else(|| missing("current-context"))?;
    let (at, context) = named(whole.contexts, |context| context.name == current)
        .ok_or_else(|| refused("current-context", "names no entry of contexts"))?;
    let at = format!("contexts[{at}].context");
    let context = context.context.ok_or_else(|| missing(&at))?;

    let user = filled(context.user).ok_or_else(|| missing(&format!("{at}.user")))?;
    let (index, cluster) = named(whole.clusters, |cluster| cluster.name == context.cluster)
        .ok_or_else(|| refused(&format!("{at}.cluster"), "names no entry of clusters"))?;
    let cluster = checked_cluster(&format!("clusters[{index}].cluster"), cluster.cluster)?;
    let (index, user) = named(whole.auth_infos, |candidate| candidate.name == user)
        .ok_or_else(|| refused(&format!("{at}.user"), "names no entry of users"))?;
    let user = checked_user(&format!("users[{index}].user"), user.auth_info)?;
    Ok(only(cluster, user))
}

fn only(cluster: Cluster, user: AuthInfo) -> Kubeconfig {
    let context = Context { cluster: ONLY.to_owned(), user: Some(ONLY.to_owned()), ..Context::default() };
    Kubeconfig {
        current_context: Some(ONLY.to_owned()),
        contexts: vec![NamedContext { name: ONLY.to_owned(), context: Some(context), ..NamedContext::default() }],
        clusters: vec![NamedCluster { name: ONLY.to_owned(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: ONLY.to_owned(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        ..Kubeconfig::default()
    }
}

fn checked_cluster(at: &str, cluster: Option<Cluster>) -> Result<Cluster, Refused> {
    // Without `..`: a field that kube learns to read must be judged here first.
    let Cluster {
        server,
        insecure_skip_tls_verify,
        certificate_authority,
        certificate_authority_data,
        proxy_url,
        disable_compression: _,
        tls_server_name,
        extensions: _,
        other: _,
    } = cluster.ok_or_else(|| missing(at))?;
    refuse(
        at,
        &[
            (
                insecure_skip_tls_verify == Some(true),
                "insecure-skip-tls-verify",
                "would trust any server; use certificate-authority-data",
            ),
            (filled(certificate_authority).is_some(), "certificate-authority", READS_A_FILE),
            (filled(proxy_url).is_some(), "proxy-url", "would send the connection through another host"),
        ],
    )?;
    let authority = filled(certificate_authority_data)
        .map(|data| {
            let field = format!("{at}.certificate-authority-data");
            let pem = decoded(&field, &data)?;
            certificates(&field, &pem)?;
            Ok(BASE64_STANDARD.encode(pem))
        })
        .transpose()?;
    Ok(Cluster {
        server: Some(https_server(&format!("{at}.server"), server)?),
        certificate_authority_data: authority,
        tls_server_name: filled(tls_server_name),
        ..Cluster::default()
    })
}

fn https_server(field: &str, server: Option<String>) -> Result<String, Refused> {
    let server = filled(server).ok_or_else(|| missing(field))?;
    let not_https = || refused(field, "is not an https:// URL");
    let url = Url::parse(server.trim()).map_err(|_may_quote_the_value| not_https())?;
    if url.scheme() != "https" {
        return Err(not_https());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(field, "holds user info; credentials belong into users"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused(field, "holds a query or a fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn checked_user(at: &str, user: Option<AuthInfo>) -> Result<AuthInfo, Refused> {
    let AuthInfo {
        username,
        password,
        token,
        token_file,
        client_certificate,
        client_certificate_data,
        client_key,
        client_key_data,
        impersonate,
        impersonate_uid,
        impersonate_groups,
        impersonate_user_extra,
        extensions: _,
        auth_provider,
        exec,
        other: _,
    } = user.ok_or_else(|| missing(at))?;
    refuse(
        at,
        &[
            (exec.is_some(), "exec", RUNS_A_PROGRAM),
            (auth_provider.is_some(), "auth-provider", RUNS_A_PROGRAM),
            (filled(token_file).is_some(), "tokenFile", READS_A_FILE),
            (filled(client_certificate).is_some(), "client-certificate", READS_A_FILE),
            (filled(client_key).is_some(), "client-key", READS_A_FILE),
            (filled(impersonate).is_some(), "as", IMPERSONATES),
            (filled(impersonate_uid).is_some(), "as-uid", IMPERSONATES),
            (impersonate_groups.is_some_and(|groups| !groups.is_empty()), "as-groups", IMPERSONATES),
            (impersonate_user_extra.is_some_and(|extra| !extra.is_empty()), "as-user-extra", IMPERSONATES),
        ],
    )?;

    let token = token.map(|token| bearer(&format!("{at}.token"), &token)).transpose()?.flatten();
    let password = password.filter(|password| !password.expose_secret().is_empty());
    let username = filled(username);
    if password.is_some() && username.is_none() {
        return Err(refused(&format!("{at}.username"), "is missing; password needs it"));
    }
    let certificate = filled(client_certificate_data);
    let key = client_key_data.filter(|key| !key.expose_secret().trim().is_empty());
    let (certificate, key) = client_certificate_pair(at, certificate, key)?;
    if token.is_none() && password.is_none() && key.is_none() {
        return Err(refused(
            at,
            "holds no credentials: it needs token, or client-certificate-data and client-key-data",
        ));
    }
    Ok(AuthInfo {
        username,
        password,
        token,
        client_certificate_data: certificate,
        client_key_data: key,
        ..AuthInfo::default()
    })
}

/// The token without the line break that comes with pasting; `None` when nothing is left.
fn bearer(field: &str, token: &SecretString) -> Result<Option<SecretString>, Refused> {
    let token = token.expose_secret().trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused(field, "is not printable ASCII without blanks, as a token is"));
    }
    Ok((!token.is_empty()).then(|| SecretString::from(token)))
}

fn client_certificate_pair(
    at: &str,
    certificate: Option<String>,
    key: Option<SecretString>,
) -> Result<(Option<String>, Option<SecretString>), Refused> {
    let fields = [format!("{at}.client-certificate-data"), format!("{at}.client-key-data")];
    let [certificate_field, key_field] = &fields;
    match (certificate, key) {
        (None, None) => Ok((None, None)),
        (Some(_), None) => Err(refused(key_field, "is missing; client-certificate-data needs it")),
        (None, Some(_)) => Err(refused(certificate_field, "is missing; client-key-data needs it")),
        (Some(certificate), Some(key)) => {
            let certificate = decoded(certificate_field, &certificate)?;
            certificates(certificate_field, &certificate)?;
            let key = decoded(key_field, key.expose_secret())?;
            PrivateKeyDer::from_pem_slice(&key)
                .map_err(|_may_quote_the_value| refused(key_field, "holds no PEM private key"))?;
            Ok((Some(BASE64_STANDARD.encode(certificate)), Some(SecretString::from(BASE64_STANDARD.encode(key)))))
        }
    }
}

/// The PEM that `data` encodes, ending with a line break: kube appends another PEM to it.
fn decoded(field: &str, data: &str) -> Result<Vec<u8>, Refused> {
    let data: String = data.split_ascii_whitespace().collect();
    let mut pem = BASE64_STANDARD.decode(data).map_err(|_quotes_a_byte| refused(field, "is not base64"))?;
    pem.push(b'\n');
    Ok(pem)
}

fn certificates(field: &str, pem: &[u8]) -> Result<(), Refused> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(()),
        _ => Err(refused(field, "holds no PEM certificate")),
    }
}

fn refuse(at: &str, rules: &[(bool, &str, &str)]) -> Result<(), Refused> {
    match rules.iter().find(|(violated, ..)| *violated) {
        Some((_, field, problem)) => Err(refused(&format!("{at}.{field}"), *problem)),
        None => Ok(()),
    }
}

fn not_a_kubeconfig(error: &KubeconfigError) -> Refused {
    // The parser's own text would quote the line that it stumbled over.
    let location = match error {
        KubeconfigError::Parse(error) => error.location(),
        _ => None,
    };
    let place = location.map_or_else(String::new, |at| format!(" (line {}, column {})", at.line(), at.column()));
    refused("kubeconfig", format!("is not the YAML of a kubeconfig{place}"))
}

fn named<T>(entries: Vec<T>, is_it: impl Fn(&T) -> bool) -> Option<(usize, T)> {
    entries.into_iter().enumerate().find(|(_, entry)| is_it(entry))
}

/// An empty field is an absent one, as for kubectl.
fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn missing(field: &str) -> Refused {
    refused(field, "is missing")
}

fn refused(field: &str, problem: impl Into<String>) -> Refused {
    Refused { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
