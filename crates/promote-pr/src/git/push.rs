//! Writes one branch: git's [send-pack](https://git-scm.com/docs/pack-protocol#_pushing_data_to_a_server), always with
//! the id that the branch is expected to have.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gix::ObjectId;
use gix_packetline::PacketLineRef;
use gix_packetline::blocking_io::StreamingPeekableIter;
use gix_packetline::blocking_io::encode::{data_to_write, flush_to_write};
use gix_transport::client::blocking_io::Transport as _;
use gix_transport::client::{MessageKind, WriteMode};

use super::Error;
use super::error::Cause;
use super::link::Link;
use super::operation::Operation;
use super::session::{AGENT, Session};
use super::text::clean;
use crate::names::BranchName;

/// When to look again at a branch that is where it was, although the server may have got all that it takes to move it.
const LATER_LOOKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// How much of the text that hooks print is kept, in bytes.
const MAX_MESSAGES: usize = 16 << 10;

/// What a branch is to become.
pub(super) struct Update {
    pub(super) branch: BranchName,
    /// What it points to now; `None` if it must not exist.
    pub(super) old: Option<ObjectId>,
    /// What it is to point to, with the pack that brings it; `None` deletes the branch.
    pub(super) new: Option<(ObjectId, Vec<u8>)>,
}

/// How an update ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The branch is as it was to become.
    Done,
    /// The branch was not as expected, and is as it was.
    Stale(Option<ObjectId>),
}

/// Updates the branch, and looks at it again when the answer leaves open what became of it.
///
/// The server itself compares the expected old id under a lock. Where its refs come with what it can do, a look at them
/// beforehand saves the attempt.
pub(super) fn push(link: &Arc<Link>, operation: &Arc<Operation>, update: &Update) -> Result<Outcome, Error> {
    let mut session = Session::write(link, operation)?;
    let full_name = update.branch.full_name();
    let new = update.new.as_ref().map(|(id, _)| *id);
    let remembered = session.remembered;
    if !remembered {
        let actual = session.target(&full_name)?;
        if actual == new {
            return Ok(Outcome::Done);
        }
        if actual != update.old {
            return Ok(Outcome::Stale(actual));
        }
    }
    let error = match send(session, update) {
        Ok(()) => return Ok(Outcome::Done),
        Err(error) => error,
    };
    let mut pauses = LATER_LOOKS.into_iter();
    let actual = loop {
        let looked = Session::list(link, operation, &[&full_name]);
        let actual = looked.map(|(_, refs)| refs.into_iter().find(|(name, _)| *name == full_name).map(|(_, id)| id));
        match (&actual, &error, pauses.next()) {
            // A server whose answer is lost may still be at work.
            (Ok(actual), Error::Network { .. }, Some(pause)) if *actual == update.old => {
                operation.wait(tokio::time::sleep(pause));
            }
            _ => break actual,
        }
    };
    match actual {
        Ok(actual) if actual == new => Ok(Outcome::Done),
        Ok(actual) if actual != update.old => Ok(Outcome::Stale(actual)),
        Ok(_) if remembered && error.may_be_of_a_changed_server() => {
            link.advertised.forget();
            push(link, operation, update)
        }
        Ok(_) | Err(_) => Err(error),
    }
}

fn send(mut session: Session, update: &Update) -> Result<(), Error> {
    let link = Arc::clone(&session.link);
    let unfit = |text: &str| Error::Protocol {
        url: link.url.clone(),
        action: "writing to the repository",
        source: Cause(text.to_owned()),
    };
    let capabilities = &session.handshake.capabilities;
    for (name, needed) in [("report-status", true), ("delete-refs", update.new.is_none())] {
        if needed && !capabilities.contains(name) {
            return Err(unfit(&format!("the server lacks the capability {name}")));
        }
    }
    let sideband = capabilities.contains("side-band-64k");
    let body = request(update, |name| capabilities.contains(name)).map_err(|error| unfit(&error.to_string()))?;

    link.may_write()?;
    let messages = Rc::new(RefCell::new(Vec::new()));
    let mut exchange = || {
        let request = session.transport.request(WriteMode::Binary, MessageKind::Flush, false);
        let (mut writer, mut reader) = request.map_err(gix::Error::from_error)?.into_parts();
        writer.write_all(&body).map_err(gix::Error::from_error)?;
        drop(writer);
        let mut report = Vec::new();
        if sideband {
            let messages = Rc::clone(&messages);
            reader.set_progress_handler(Some(Box::new(move |_is_error, text: &[u8]| {
                let mut messages = messages.borrow_mut();
                if messages.len() < MAX_MESSAGES {
                    messages.extend_from_slice(text);
                    messages.push(b'\n');
                }
                ControlFlow::Continue(())
            })));
            reader.read_to_end(&mut report).map_err(gix::Error::from_error)?;
        } else {
            while let Some(line) = reader.readline() {
                let line = line.map_err(gix::Error::from_error)??;
                let Some(data) = line.as_slice() else { break };
                data_to_write(data, &mut report).map_err(gix::Error::from_error)?;
            }
        }
        Ok(report)
    };
    let exchanged = exchange();
    let report = exchanged.map_err(|error: gix::Error| session.failure(&error))?;
    let say = |reason: &str| {
        let mut text = reason.as_bytes().to_vec();
        let messages = messages.borrow();
        if !messages.is_empty() {
            text.extend_from_slice(b": ");
            text.extend_from_slice(&messages);
        }
        clean(&text, &link.secrets)
    };
    let (url, branch) = (link.url.clone(), update.branch.clone());
    match verdict(&report, &branch.full_name()) {
        Ok(Verdict::Ok) => Ok(()),
        Ok(Verdict::Refused(reason)) => Err(Error::Refused { url, branch, text: say(&reason) }),
        Ok(Verdict::NotWritten(reason)) => Err(Error::NotWritten { url, branch, text: say(&reason) }),
        Err(reason) => Err(unfit(&say(reason))),
    }
}

/// The command line, its capabilities and the pack.
fn request(update: &Update, offered: impl Fn(&str) -> bool) -> std::io::Result<Vec<u8>> {
    let zero = ObjectId::null(gix::hash::Kind::Sha1);
    let (new, pack) = match &update.new {
        Some((id, pack)) => (*id, pack.as_slice()),
        None => (zero, &[][..]),
    };
    let agent = format!("agent={AGENT}");
    let mut line = format!("{} {new} {}\0 report-status", update.old.unwrap_or(zero), update.branch.full_name());
    for (name, capability) in [
        ("side-band-64k", "side-band-64k"),
        ("quiet", "quiet"),
        ("object-format", "object-format=sha1"),
        ("agent", agent.as_str()),
    ] {
        if offered(name) {
            line.push(' ');
            line.push_str(capability);
        }
    }
    let mut body = Vec::new();
    data_to_write(line.as_bytes(), &mut body)?;
    flush_to_write(&mut body)?;
    body.extend_from_slice(pack);
    Ok(body)
}

/// What the server says became of the branch.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// A hook or a rule is against it.
    Refused(String),
    /// It could not be done, which may pass.
    NotWritten(String),
}

/// Reads a [report-status](https://git-scm.com/docs/pack-protocol#_report_status) for one branch.
fn verdict(report: &[u8], full_name: &str) -> Result<Verdict, &'static str> {
    let mut lines = StreamingPeekableIter::new(report, &[PacketLineRef::Flush], false);
    let mut next = || match lines.read_line() {
        None => Ok(None),
        Some(Ok(Ok(line))) => match line.as_text() {
            Some(text) => Ok(Some(String::from_utf8_lossy(text.0).into_owned())),
            None => Err("the server's report is not text"),
        },
        Some(_) => Err("the server's report is cut off"),
    };
    let unpacked = next()?.ok_or("the server sent no report")?;
    match unpacked.strip_prefix("unpack ").ok_or("the server's report does not begin with unpack")? {
        "ok" => {}
        reason => return Ok(Verdict::NotWritten(reason.to_owned())),
    }
    while let Some(line) = next()? {
        if line.strip_prefix("ok ") == Some(full_name) {
            return Ok(Verdict::Ok);
        }
        let refused = line.strip_prefix("ng ").and_then(|line| line.strip_prefix(full_name));
        if let Some(reason) = refused.and_then(|reason| reason.strip_prefix(' ')) {
            // What git says when it lost a race for the ref's lock: builtin/receive-pack.c, refs/files-backend.c.
            let passing = ["failed to update ref", "failed to lock", "cannot lock ref", "transaction failed to start"];
            return Ok(if passing.iter().any(|text| reason.starts_with(text)) {
                Verdict::NotWritten(reason.to_owned())
            } else {
                Verdict::Refused(reason.to_owned())
            });
        }
    }
    Err("the server's report does not name the branch")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pkt(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            data_to_write(line.as_bytes(), &mut out).unwrap();
        }
        flush_to_write(&mut out).unwrap();
        out
    }

    #[test]
    fn reports() {
        let refused = |reason: &str| Ok(Verdict::Refused(reason.to_owned()));
        let not_written = |reason: &str| Ok(Verdict::NotWritten(reason.to_owned()));
        for (lines, expect) in [
            (&["unpack ok\n", "ok refs/heads/b\n"][..], Ok(Verdict::Ok)),
            (&["unpack ok", "ok refs/heads/a", "ok refs/heads/b"], Ok(Verdict::Ok)),
            (&["unpack ok\n", "ng refs/heads/b hook declined\n"], refused("hook declined")),
            (&["unpack ok", "ng refs/heads/b failed to update ref"], not_written("failed to update ref")),
            (
                &["unpack index-pack abnormal exit", "ng refs/heads/b unpacker error"],
                not_written("index-pack abnormal exit"),
            ),
            (&["unpack ok", "ok refs/heads/bb"], Err("the server's report does not name the branch")),
            (&["hello"], Err("the server's report does not begin with unpack")),
            (&[], Err("the server sent no report")),
        ] {
            assert_eq!(verdict(&pkt(lines), "refs/heads/b"), expect, "{lines:?}");
        }
        assert_eq!(verdict(b"", "refs/heads/b"), Err("the server's report is cut off"));
        assert_eq!(verdict(b"00ffunp", "refs/heads/b"), Err("the server's report is cut off"));
    }

    #[test]
    fn requests() {
        let id = |digit: &str| ObjectId::from_hex(digit.repeat(40).as_bytes()).unwrap();
        let mut update = Update { branch: "b".parse().unwrap(), old: None, new: Some((id("1"), b"PACK".to_vec())) };
        let zeros = "0".repeat(40);
        let body = request(&update, |name| name == "side-band-64k").unwrap();
        let ones = "1".repeat(40);
        let expect = format!("007f{zeros} {ones} refs/heads/b\0 report-status side-band-64k0000PACK");
        assert_eq!(String::from_utf8(body).unwrap(), expect);

        update.old = update.new.take().map(|(id, _)| id);
        let body = request(&update, |_| false).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), format!("0071{ones} {zeros} refs/heads/b\0 report-status0000"));
    }

    proptest! {
        #[test]
        fn no_report_is_too_strange(report: Vec<u8>) {
            let _verdict = verdict(&report, "refs/heads/b");
        }

        #[test]
        fn only_ok_is_ok(lines in prop::collection::vec("(unpack |ok |ng |)(ok|refs/heads/b|x| )*", 0..4)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
            let ok = verdict(&pkt(&lines), "refs/heads/b") == Ok(Verdict::Ok);
            prop_assert!(!ok || (lines.first() == Some(&"unpack ok") && lines.contains(&"ok refs/heads/b")));
        }
    }
}
