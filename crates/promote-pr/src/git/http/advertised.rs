//! What a server says that it can do, remembered so that not every conversation begins with the question.
//!
//! Only what does not depend on the refs is remembered: the [capabilities of protocol version 2] for reading, and those
//! of [receive-pack] without the refs that come with them. Whoever uses them and fails forgets them and asks again.
//!
//! [capabilities of protocol version 2]: https://git-scm.com/docs/protocol-v2#_capability_advertisement
//! [receive-pack]: https://git-scm.com/docs/pack-protocol#_reference_discovery

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gix::bstr::ByteSlice as _;
use gix_packetline::PacketLineRef;
use gix_packetline::blocking_io::StreamingPeekableIter;
use gix_packetline::blocking_io::encode::{data_to_write, flush_to_write};

/// How long a server is taken at its word.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The advertisements of one repository to one user.
#[derive(Default)]
pub(in crate::git) struct Advertised(Mutex<[Option<Advertisement>; 2]>);

/// An answer to `info/refs`.
#[derive(Clone)]
pub(super) struct Advertisement {
    /// Git's header lines.
    pub(super) headers: Vec<u8>,
    pub(super) body: Bytes,
    /// The base URL that the question was redirected to.
    pub(super) redirected: Option<String>,
    since: Instant,
}

impl Advertised {
    /// What is remembered of the answer to this URL.
    pub(super) fn recall(&self, url: &str) -> Option<Advertisement> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let advertisement = remembered.get(service(url)?)?.clone()?;
        (advertisement.since.elapsed() < REMEMBERED).then_some(advertisement)
    }

    /// Remembers of an answer what holds for the next conversation too.
    pub(super) fn remember(&self, url: &str, headers: &[u8], body: &[u8], redirected: Option<&str>) {
        let body = match service(url) {
            Some(READ) if is_version_2(body) => Bytes::copy_from_slice(body),
            Some(WRITE) => match without_refs(body) {
                Some(body) => body,
                None => return,
            },
            _ => return,
        };
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = service(url).and_then(|service| remembered.get_mut(service)) {
            let redirected = redirected.map(str::to_owned);
            *place = Some(Advertisement { headers: headers.to_vec(), body, redirected, since: Instant::now() });
        }
    }

    /// Has the server asked again.
    pub(in crate::git) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = [None, None];
    }
}

const READ: usize = 0;
const WRITE: usize = 1;

fn service(url: &str) -> Option<usize> {
    match url.rsplit_once("?service=")?.1 {
        "git-upload-pack" => Some(READ),
        "git-receive-pack" => Some(WRITE),
        _ => None,
    }
}

fn is_version_2(body: &[u8]) -> bool {
    lines(body).is_some_and(|lines| lines.first().is_some_and(|line| line.trim_end() == b"version 2"))
}

/// The advertisement as it would be if there were no refs.
fn without_refs(body: &[u8]) -> Option<Bytes> {
    let first = lines(body)?.into_iter().next()?;
    let (_, capabilities) = first.split_once_str(b"\0")?;
    let mut line = b"0000000000000000000000000000000000000000 capabilities^{}\0".to_vec();
    line.extend_from_slice(capabilities);
    let mut out = Vec::new();
    data_to_write(b"# service=git-receive-pack\n", &mut out).ok()?;
    flush_to_write(&mut out).ok()?;
    data_to_write(&line, &mut out).ok()?;
    flush_to_write(&mut out).ok()?;
    Some(Bytes::from(out))
}

/// The lines of an advertisement behind the one that names the service.
fn lines(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = StreamingPeekableIter::new(body, &[PacketLineRef::Flush], false);
    let mut lines = Vec::new();
    loop {
        match reader.read_line() {
            Some(Ok(Ok(line))) => lines.push(line.as_slice()?.to_vec()),
            Some(_) => return None,
            None if lines.len() == 1 && lines.first()?.starts_with(b"# service=") => {
                lines.clear();
                reader.reset();
            }
            None => return Some(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const READ_URL: &str = "https://host/o/n/info/refs?service=git-upload-pack";
    const WRITE_URL: &str = "https://host/o/n/info/refs?service=git-receive-pack";

    fn answer(service: &str, lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        data_to_write(format!("# service={service}\n").as_bytes(), &mut out).unwrap();
        flush_to_write(&mut out).unwrap();
        for line in lines {
            data_to_write(line.as_bytes(), &mut out).unwrap();
        }
        flush_to_write(&mut out).unwrap();
        out
    }

    #[test]
    fn capabilities_are_remembered_without_refs() {
        let advertised = Advertised::default();
        let version_2 = answer("git-upload-pack", &["version 2\n", "ls-refs=unborn\n"]);
        advertised.remember(READ_URL, b"h", &version_2, Some("https://host/moved"));
        let recalled = advertised.recall(READ_URL).unwrap();
        assert_eq!((recalled.body, recalled.headers), (version_2.into(), b"h".to_vec()));
        assert_eq!(recalled.redirected.as_deref(), Some("https://host/moved"));
        assert!(advertised.recall(WRITE_URL).is_none());

        let id = "1".repeat(40);
        let refs = [format!("{id} refs/heads/a\0report-status atomic"), format!("{id} refs/heads/b\n")];
        let writes = answer("git-receive-pack", &refs.each_ref().map(String::as_str));
        advertised.remember(WRITE_URL, b"h", &writes, None);
        let zeros = "0".repeat(40);
        let expect = answer("git-receive-pack", &[&format!("{zeros} capabilities^{{}}\0report-status atomic")]);
        assert_eq!(advertised.recall(WRITE_URL).unwrap().body, expect);

        advertised.forget();
        assert!(advertised.recall(READ_URL).is_none() && advertised.recall(WRITE_URL).is_none());
    }

    #[test]
    fn an_answer_with_refs_is_no_news_for_the_next_reader() {
        let advertised = Advertised::default();
        let version_0 = answer("git-upload-pack", &["1111111111111111111111111111111111111111 HEAD\0multi_ack"]);
        advertised.remember(READ_URL, b"h", &version_0, None);
        assert!(advertised.recall(READ_URL).is_none());
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(body: Vec<u8>, cut in 0_usize..100) {
            let advertised = Advertised::default();
            advertised.remember(WRITE_URL, b"h", &body, None);
            prop_assert!(advertised.recall(WRITE_URL).is_none());
            let whole = answer("git-receive-pack", &["1111111111111111111111111111111111111111 refs/heads/a\0atomic"]);
            if cut < whole.len() {
                advertised.remember(WRITE_URL, b"h", &whole[..cut], None);
            }
        }
    }
}
