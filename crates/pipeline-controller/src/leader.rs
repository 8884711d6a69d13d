//! The right to act, as long as it lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, Ready, ready};
use http::{Method, Request};
use kube::client::ClientBuilder;
use kube::client::retry::RetryPolicy;
use kube::{Client, Config};
use rustix::time::{ClockId, clock_gettime};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, Service};

use crate::lease::Moment;
use crate::metrics::ApiServer;

/// Whether this process may act, which each effect and each write of a status is asked about right before it begins. Clones are the
/// same one.
///
/// It ends by itself, without anybody having to notice: a process that stood still finds that it may not go on.
#[derive(Clone, Debug)]
pub(crate) struct Leader(Arc<AtomicU64>);

/// Somebody else may lead by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease is not certainly this process' own any more")]
pub(crate) struct NotLeading;

/// Without election.
const ALWAYS: u64 = u64::MAX;
const NEVER: u64 = 0;

/// Requests to the API server that may wait for the connection.
const QUEUE: usize = 1024;

/// The one that counts while the machine sleeps, where there is one.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Leader {
    /// The only process there is.
    pub(crate) fn alone() -> Self {
        Self(Arc::new(AtomicU64::new(ALWAYS)))
    }

    /// One that may not act before it is elected.
    pub(crate) fn elected_later() -> Self {
        Self(Arc::new(AtomicU64::new(NEVER)))
    }

    /// It may act until then.
    pub(crate) fn until(&self, moment: Moment) {
        self.0.store(u64::try_from(moment.0.as_nanos()).unwrap_or(ALWAYS - 1), Ordering::SeqCst);
    }

    /// It may not act any more.
    pub(crate) fn resign(&self) {
        self.0.store(NEVER, Ordering::SeqCst);
    }

    /// # Errors
    /// It may not act now.
    pub(crate) fn check(&self) -> Result<(), NotLeading> {
        match self.0.load(Ordering::SeqCst) {
            ALWAYS => Ok(()),
            until if now().0 < Duration::from_nanos(until) => Ok(()),
            _ => Err(NotLeading),
        }
    }

    /// What nothing leaves the process without.
    pub(crate) fn gate(&self) -> egress::Gate {
        let leader = self.clone();
        egress::Gate::new(move || leader.check().is_ok())
    }

    /// A client that reads at any time, and writes only while this process may act: asked for each try of each request.
    ///
    /// # Errors
    /// As [`Client::try_from`].
    pub(crate) fn client(&self, mut config: Config, counted: &ApiServer) -> kube::Result<Client> {
        config.default_retry = false;
        let stack = ClientBuilder::try_from(config)?
            .with_layer(counted)
            .with_layer(&Fence(self.clone()))
            .with_layer(&BufferLayer::new(QUEUE))
            .with_layer(&RetryLayer::new(RetryPolicy::server_retry()));
        Ok(stack.build())
    }
}

/// The time on the clock by which leading is measured.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(CLOCK);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Moment(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

/// Lets requests that change something through while the process may act.
struct Fence(Leader);

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { leader: self.0.clone(), inner }
    }
}

struct Fenced<S> {
    leader: Leader,
    inner: S,
}

impl<S, B> Service<Request<B>> for Fenced<S>
where
    S: Service<Request<B>, Error = BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<Ready<Result<S::Response, BoxError>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match self.leader.check() {
            Err(error) if !reads => Either::Left(ready(Err(error.into()))),
            _ => Either::Right(self.inner.call(request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn the_right_ends_by_itself() {
        assert_eq!(Leader::alone().check(), Ok(()));
        let leader = Leader::elected_later();
        let same = leader.clone();
        assert_eq!(leader.check(), Err(NotLeading));
        leader.until(now().after(Duration::from_secs(3600)));
        assert_eq!((leader.check(), same.check()), (Ok(()), Ok(())));
        leader.until(now());
        assert_eq!(leader.check(), Err(NotLeading));
        leader.until(now().after(Duration::from_secs(3600)));
        leader.resign();
        assert_eq!(leader.check(), Err(NotLeading));
    }

    #[tokio::test]
    async fn who_may_not_act_reads_and_does_not_write() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let server = tower::service_fn(move |request: Request<()>| {
            log.lock().unwrap().push(request.method().clone());
            std::future::ready(Ok::<(), BoxError>(()))
        });
        let leader = Leader::elected_later();
        let mut client = Fence(leader.clone()).layer(server);
        let mut send = async |method: Method| {
            let request = Request::builder().method(method).body(()).unwrap();
            client.ready().await.unwrap().call(request).await
        };
        send(Method::GET).await.unwrap();
        for method in [Method::PATCH, Method::POST, Method::PUT, Method::DELETE] {
            let error = send(method).await.unwrap_err();
            assert!(error.is::<NotLeading>(), "{error}");
        }
        leader.until(now().after(Duration::from_secs(3600)));
        send(Method::PATCH).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [Method::GET, Method::PATCH]);
    }
}
