use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use egress::{Identity, Retry};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use promote_webhook::{Error, Format, deliver, schedule};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use testbed::faults::{Answer, Location};
use testbed::{Ca, Fault, Receiver, When};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::world::{ca, client, delivery, egress, now};

const STEP: Duration = Duration::from_secs(5);

/// What each fault means, and how long until the second attempt.
#[tokio::test]
async fn faults_and_what_follows_from_them() -> Result<()> {
    let (_folder, ca) = ca()?;
    let receiver = Receiver::start(&ca).await?;
    let retry_after = |status: StatusCode, text: &'static str| {
        Fault::Answer(When::After, Answer::text(status).with(http::header::RETRY_AFTER, HeaderValue::from_static(text)))
    };
    let (later, soon) = (Some(STEP), |seconds| Some(Duration::from_secs(seconds)));
    let table = [
        (Fault::Drop(When::Before), later),
        (Fault::Drop(When::After), later),
        (Fault::status(StatusCode::UNAUTHORIZED), None),
        (Fault::status(StatusCode::NOT_FOUND), None),
        (Fault::status(StatusCode::REQUEST_TIMEOUT), later),
        (Fault::status(StatusCode::CONFLICT), None),
        (Fault::status(StatusCode::GONE), None),
        (Fault::status(StatusCode::TOO_EARLY), later),
        (Fault::status(StatusCode::TOO_MANY_REQUESTS), later),
        (Fault::status(StatusCode::INTERNAL_SERVER_ERROR), later),
        (Fault::status(StatusCode::SERVICE_UNAVAILABLE), later),
        (retry_after(StatusCode::SERVICE_UNAVAILABLE, "12"), soon(12)),
        (retry_after(StatusCode::TOO_MANY_REQUESTS, "0"), later),
        (retry_after(StatusCode::TOO_MANY_REQUESTS, "86400"), soon(30)),
        (retry_after(StatusCode::TOO_MANY_REQUESTS, "99999999999999999999"), soon(30)),
        (retry_after(StatusCode::TOO_MANY_REQUESTS, "-1"), later),
        (retry_after(StatusCode::SERVICE_UNAVAILABLE, "Tue, 31 Dec 2199 23:59:59 GMT"), soon(30)),
        (retry_after(StatusCode::SERVICE_UNAVAILABLE, "Fri, 31 Dec 9999 23:59:59 GMT"), later),
        (retry_after(StatusCode::SERVICE_UNAVAILABLE, "Thu, 01 Jan 1970 00:00:00 GMT"), later),
        (retry_after(StatusCode::SERVICE_UNAVAILABLE, "whenever"), later),
        (retry_after(StatusCode::NOT_FOUND, "5"), None),
    ];
    for (fault, expect) in table {
        receiver.script([fault.clone()]);
        let error = deliver(&client(&ca)?, &delivery(receiver.url(), Format::Generic), now()).await.unwrap_err();
        let next = match error.retry() {
            Retry::Never => None,
            Retry::Later => schedule::delay(1, 0.0, None),
            Retry::After(wait) => schedule::delay(1, 0.0, Some(wait)),
        };
        assert_eq!(next, expect, "{fault:?}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_is_not_waited_for_and_a_head_is_not_waited_for_long() -> Result<()> {
    let (_folder, ca) = ca()?;
    let receiver = Receiver::start(&ca).await?;
    receiver.script([Fault::Huge(u64::MAX), Fault::Slow(Duration::from_secs(3600)), Fault::CutAnswer(1)]);
    for _ in 0..3 {
        deliver(&client(&ca)?, &delivery(receiver.url(), Format::Generic), now()).await?;
    }
    receiver.script([Fault::Delay(Duration::from_secs(3600))]);
    let mut delivery = delivery(receiver.url(), Format::Generic);
    delivery.timeout = Duration::from_millis(300);
    let error = deliver(&client(&ca)?, &delivery, now()).await.unwrap_err();
    assert!(matches!(error, Error::Send(egress::Error::Deadline { .. })), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    Ok(())
}

#[tokio::test]
async fn a_redirect_takes_nothing_anywhere() -> Result<()> {
    let (_folder, ca) = ca()?;
    let (receiver, other) = (Receiver::start(&ca).await?, Receiver::start(&ca).await?);
    let mut delivery = delivery(receiver.url(), Format::Generic);
    delivery.headers =
        vec![(HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer canary-of-the-receiver"))];
    for status in [301, 302, 303, 307, 308] {
        let status = StatusCode::from_u16(status)?;
        for location in [Location::Origin(other.url()), Location::Origin(receiver.url())] {
            let before = receiver.received().len();
            receiver.script([Fault::Redirect(status, location)]);
            let error = deliver(&client(&ca)?, &delivery, now()).await.unwrap_err();
            assert!(matches!(error, Error::Redirected { .. }), "{error:?}");
            assert_eq!((error.retry(), receiver.received().len()), (Retry::Never, before + 1));
        }
    }
    assert!(other.received().is_empty());
    Ok(())
}

/// A server whose certificate is good for `name` until `year`; its authority, and its URL.
async fn server(name: &str, year: i32) -> Result<(Vec<u8>, String)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?,
        )?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            assert!(acceptor.accept(stream).await.is_err(), "TLS was agreed on");
        }
    });
    Ok((issuer.pem().into_bytes(), url))
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_gets_nothing() -> Result<()> {
    let (_folder, stranger): (_, Ca) = ca()?;
    let egress = egress(&stranger)?;
    let check = async |name: &str, year: i32, trusted: bool, expect: &str| -> Result<()> {
        let (authority, url) = server(name, year).await?;
        let identity = Identity { ca: trusted.then_some(authority), ..Identity::default() };
        let error = deliver(&egress.client(&identity)?, &delivery(url.parse()?, Format::Generic), now()).await;
        let error = error.unwrap_err();
        let Error::Send(egress::Error::Connect { source, .. }) = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains(expect), "{source}");
        assert_eq!(error.retry(), Retry::Later);
        Ok(())
    };
    check("127.0.0.1", 2021, true, "expired").await?;
    check("other.example", 2200, true, "not valid for name").await?;
    check("127.0.0.1", 2200, false, "UnknownIssuer").await?;
    Ok(())
}

#[tokio::test]
async fn nobody_there() -> Result<()> {
    let (_folder, ca) = ca()?;
    let url = format!("https://127.0.0.1:{}/canary", testbed::ports::free()?);
    let error = deliver(&client(&ca)?, &delivery(url.parse()?, Format::Generic), now()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");

    let proxy = egress::Proxy::new(format!("http://u:canary@127.0.0.1:{}", testbed::ports::free()?).parse()?)?;
    let through = egress(&ca)?.client(&Identity { proxy: Some(proxy), ..Identity::default() })?;
    let error = deliver(&through, &delivery(url.parse()?, Format::Generic), now()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    Ok(())
}
