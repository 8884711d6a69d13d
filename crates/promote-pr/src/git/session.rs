//! A conversation with a git server: what refs it has, and the objects of one commit.

use std::io::Read as _;
use std::num::NonZeroU32;
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice as _};
use gix::progress::Discard;
use gix_protocol::fetch::negotiate::{Action, Round, one_round};
use gix_protocol::fetch::{Arguments, Context, Negotiate, Options, Response, Shallow, Tags};
use gix_protocol::ls_refs::RefPrefixes;
use gix_protocol::{Handshake, LsRefsCommand};
use gix_transport::client::Capabilities;
use gix_transport::client::blocking_io::Transport;
use gix_transport::{Protocol, Service};

use super::Error;
use super::cache::{Store, describe};
use super::error::Cause;
use super::link::Link;
use super::operation::Operation;
use super::text::clean;
use super::wire::Wire;

/// How git servers know us in the protocol, beside the HTTP header.
pub(super) const AGENT: &str = concat!("promote-pr/", env!("CARGO_PKG_VERSION"));

pub(super) struct Session {
    pub(super) link: Arc<Link>,
    pub(super) transport: Box<dyn Transport>,
    pub(super) handshake: Handshake,
    /// Whether what the server can do is what it said in an earlier conversation. Its refs are not known then.
    pub(super) remembered: bool,
    operation: Arc<Operation>,
    wire: Wire,
    action: &'static str,
}

impl Session {
    /// Opens a conversation for reading.
    pub(super) fn read(link: &Arc<Link>, operation: &Arc<Operation>) -> Result<Self, Error> {
        let mut session = Self::open(link, operation, Service::UploadPack, "reading from the repository")?;
        if session.handshake.server_protocol_version != Protocol::V2 {
            session.handshake.capabilities =
                without_deepen_relative(&session.handshake.capabilities).map_err(|error| session.failure(&error))?;
        }
        Ok(session)
    }

    /// Opens a conversation for writing.
    pub(super) fn write(link: &Arc<Link>, operation: &Arc<Operation>) -> Result<Self, Error> {
        Self::open(link, operation, Service::ReceivePack, "writing to the repository")
    }

    fn open(
        link: &Arc<Link>,
        operation: &Arc<Operation>,
        service: Service,
        action: &'static str,
    ) -> Result<Self, Error> {
        let (mut transport, wire) = Wire::open(link, operation, service, action)?;
        let failure = |error: &gix::Error| failure(link, &wire, action, error);
        let handshake = gix_protocol::handshake(&mut transport, service, |_| Ok(None), Vec::new(), &mut Discard)
            .map_err(|error| failure(&error))?;
        let format = handshake.capabilities.capability("object-format");
        if let Some(format) = format.and_then(|format| format.value()).filter(|format| *format != "sha1") {
            let format = clean(format, &link.secrets);
            return Err(Error::ObjectFormat { url: link.url.clone(), format });
        }
        let remembered = wire.is_remembered();
        let (link, operation) = (Arc::clone(link), Arc::clone(operation));
        Ok(Self { link, operation, transport, handshake, remembered, wire, action })
    }

    /// Opens a conversation for reading and asks for the refs whose full names begin with one of `prefixes`.
    pub(super) fn list(
        link: &Arc<Link>,
        operation: &Arc<Operation>,
        prefixes: &[&str],
    ) -> Result<(Self, Vec<(BString, ObjectId)>), Error> {
        let mut session = Self::read(link, operation)?;
        let refs = match session.refs(prefixes) {
            Err(error) if session.remembered && error.may_be_of_a_changed_server() => {
                link.advertised.forget();
                session = Self::read(link, operation)?;
                session.refs(prefixes)?
            }
            refs => refs?,
        };
        Ok((session, refs))
    }

    /// The server's refs whose full names begin with one of `prefixes`, and the objects that they point to.
    pub(super) fn refs(&mut self, prefixes: &[&str]) -> Result<Vec<(BString, ObjectId)>, Error> {
        let refs = match &self.handshake.refs {
            Some(refs) => refs.clone(),
            None => {
                let mut filter = RefPrefixes::new();
                filter.extend(prefixes.iter().map(|prefix| BString::from(*prefix)));
                LsRefsCommand::new(Some(filter), &self.handshake.capabilities, ("agent", Some(AGENT.to_owned())))
                    .invoke_blocking(&mut self.transport, &mut Discard, false)
                    .map_err(|error| failure(&self.link, &self.wire, self.action, &error))?
            }
        };
        let refs = refs.iter().filter_map(|name| {
            let (name, target, _) = name.unpack();
            let wanted = prefixes.iter().any(|prefix| name.starts_with_str(prefix));
            Some((name.to_owned(), target?.to_owned())).filter(|_| wanted)
        });
        Ok(refs.collect())
    }

    /// What the ref with this full name points to.
    pub(super) fn target(&mut self, full_name: &str) -> Result<Option<ObjectId>, Error> {
        let refs = self.refs(&[full_name])?;
        Ok(refs.into_iter().find(|(name, _)| name == full_name).map(|(_, target)| target))
    }

    /// Fetches `commit` without its history into `store`.
    ///
    /// # Errors
    /// [`Error::Objects`] if the objects came, but cannot be stored.
    pub(super) fn fetch(mut self, commit: ObjectId, store: &Store) -> Result<(), Error> {
        let repository = store.repository();
        let shallow_file = repository.shallow_file().map_err(|error| store.failure(&self.link, &error))?;
        let mut wish = Wish { commit, have: store.fetched(), file: self.link.limits.file };
        let mut pack_came = false;
        let mut objects = 0;
        // Without any object there is no base for deltas to look up.
        let bases = (store.packs() > 0).then(|| repository.objects.clone());
        let pack_options = gix_pack::bundle::write::Options {
            alloc_limit_bytes: usize::try_from(self.link.limits.object).ok(),
            ..Default::default()
        };
        let limits = self.link.limits.clone();
        self.wire.expect_pack();
        let fetched = gix_protocol::fetch(
            &mut wish,
            |pack, progress, interrupt| {
                pack_came = true;
                let mut header = [0; PACK_HEADER];
                pack.read_exact(&mut header).map_err(gix::Error::from_error)?;
                objects = count(&header);
                if objects > limits.objects {
                    return Err(gix::error::message("too many objects").into());
                }
                let mut pack = header.as_slice().chain(pack);
                let written = gix_pack::Bundle::write_to_directory(
                    &mut pack,
                    Some(&store.pack_directory()),
                    progress,
                    interrupt,
                    bases,
                    gix::hash::Kind::Sha1,
                    pack_options,
                )?;
                if let Some(keep) = written.keep_path {
                    std::fs::remove_file(keep).map_err(gix::Error::from_error)?;
                }
                Ok(true)
            },
            Discard,
            self.operation.interrupt(),
            Context {
                handshake: &mut self.handshake,
                transport: &mut self.transport,
                user_agent: ("agent", Some(AGENT.to_owned())),
                trace_packetlines: false,
            },
            Options {
                shallow_file,
                shallow: &Shallow::DepthAtRemote(NonZeroU32::MIN),
                tags: Tags::None,
                reject_shallow_remote: false,
            },
        );
        match fetched {
            Ok(_) => {
                store.add_fetched(commit);
                Ok(())
            }
            Err(error) => Err(self.wire.take_failure().unwrap_or_else(|| {
                let limit = |what, name, limit| Error::Limit {
                    url: self.link.url.clone(),
                    what,
                    name,
                    limit,
                    path: String::new(),
                };
                if objects > limits.objects {
                    limit("the number of objects of a pack", "objects", limits.objects)
                } else if pack_came && error.is_resource_exhausted() {
                    limit("the length of an object", "object", limits.object)
                } else if pack_came {
                    store.failure(&self.link, &error)
                } else {
                    self.failure(&error)
                }
            })),
        }
    }

    /// What went wrong: what the connection knows of it, else what git's protocol does.
    pub(super) fn failure(&self, error: &gix::Error) -> Error {
        failure(&self.link, &self.wire, self.action, error)
    }
}

fn failure(link: &Link, wire: &Wire, action: &'static str, error: &gix::Error) -> Error {
    wire.take_failure().unwrap_or_else(|| Error::Protocol {
        url: link.url.clone(),
        action,
        source: Cause(clean(describe(error).as_bytes(), &link.secrets)),
    })
}

/// A server of protocol version 0 that offers `deepen-relative` is always asked for it, and then sends all history
/// instead of one commit. So it does not offer it.
fn without_deepen_relative(capabilities: &Capabilities) -> gix::Result<Capabilities> {
    let mut line = vec![0];
    for capability in capabilities.iter().filter(|capability| capability.name() != "deepen-relative") {
        if line.len() > 1 {
            line.push(b' ');
        }
        line.extend_from_slice(capability.name());
        if let Some(value) = capability.value() {
            line.push(b'=');
            line.extend_from_slice(value);
        }
    }
    Ok(Capabilities::from_bytes(&line)?.0)
}

/// The length of [a pack's header](https://git-scm.com/docs/gitformat-pack).
const PACK_HEADER: usize = 12;

/// How many objects a pack says that it holds.
fn count(header: &[u8; PACK_HEADER]) -> u64 {
    header.last_chunk().map_or(u64::MAX, |count| u32::from_be_bytes(*count).into())
}

/// Asks for one commit in one round, and says which ones are there already.
struct Wish {
    commit: ObjectId,
    have: Vec<ObjectId>,
    /// The longest file that is wanted, in bytes, if the server can leave out others.
    file: u64,
}

impl Negotiate for Wish {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<Action> {
        Ok(Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        arguments.want(self.commit);
        if arguments.can_use_filter() {
            arguments.filter(&format!("blob:limit={}", self.file.saturating_add(1)));
        }
        true
    }

    fn one_round(
        &mut self,
        state: &mut one_round::State,
        arguments: &mut Arguments,
        _previous: Option<&Response>,
    ) -> gix::Result<(Round, bool)> {
        for commit in &self.have {
            arguments.have(commit);
        }
        let round = Round {
            haves_sent: self.have.len(),
            in_vain: 0,
            haves_to_send: state.haves_to_send,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_capability_is_taken_away() {
        let offered = b"\0shallow deepen-since deepen-relative symref=HEAD:refs/heads/main agent=git/2.47";
        let kept = without_deepen_relative(&Capabilities::from_bytes(offered).unwrap().0).unwrap();
        assert!(!kept.contains("deepen-relative"));
        assert!(kept.contains("shallow") && kept.contains("deepen-since"));
        assert_eq!(kept.capability("symref").unwrap().value().unwrap(), "HEAD:refs/heads/main");
    }
}
