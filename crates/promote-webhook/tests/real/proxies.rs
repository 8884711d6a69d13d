use std::fs;
use std::process::Command;

use anyhow::Result;
use egress::{Identity, Proxy, Retry};
use promote_webhook::{Format, deliver};
use testbed::{Process, Receiver};
use tokio::net::TcpStream;
use url::Url;

use crate::world::{KEY, PATIENCE, ca, delivery, egress, now, program};

#[tokio::test]
#[ignore = "needs the test bed: run `cargo xtask test`"]
async fn tinyproxy_carries_a_delivery_for_who_may() -> Result<()> {
    let (folder, ca) = ca()?;
    let receiver = Receiver::start(&ca).await?;
    receiver.require_signature(KEY);
    let port = testbed::ports::free()?;
    let settings = folder.path().join("tinyproxy.conf");
    fs::write(
        &settings,
        format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 20\nAllow 127.0.0.1\nBasicAuth user pass-word\n"
        ),
    )?;
    let mut command = Command::new(program("tinyproxy")?);
    command.arg("-d").arg("-c").arg(&settings);
    let mut proxy = Process::start(&command, &folder.path().join("tinyproxy.log"))?;
    proxy.ready(PATIENCE, async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await?;

    let egress = egress(&ca)?;
    let through = async |address: &str| {
        let proxy = Proxy::new(Url::parse(address).unwrap()).unwrap();
        let client = egress.client(&Identity { proxy: Some(proxy), ..Identity::default() }).unwrap();
        deliver(&client, &delivery(receiver.url(), Format::Generic), now()).await
    };
    through(&format!("http://user:pass-word@127.0.0.1:{port}")).await?;
    assert_eq!(receiver.received().len(), 1);
    assert!(receiver.received()[0].header("proxy-authorization").is_none());

    for address in [format!("http://127.0.0.1:{port}"), format!("http://user:canary@127.0.0.1:{port}")] {
        let error = through(&address).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Later);
        let text = format!("{error} {error:?}");
        assert!(text.contains(&format!("through the proxy http://127.0.0.1:{port}")), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    proxy.stop();
    let error = through(&format!("http://user:pass-word@127.0.0.1:{port}")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert_eq!(receiver.received().len(), 1);
    Ok(())
}
