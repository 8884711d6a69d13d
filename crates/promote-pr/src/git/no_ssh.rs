//! Stands in for git over SSH where the feature `ssh` is off.

use std::sync::Arc;

use egress::Egress;
use gix_transport::Service;
use gix_transport::client::blocking_io::Transport;

use super::link::Link;
use super::operation::Operation;
use super::{Error, Remote};

pub(super) struct Connections;

impl Connections {
    pub(super) fn new(_: Egress) -> Self {
        Self
    }
}

pub(super) enum Endpoint {}

impl Endpoint {
    pub(super) fn new(_: &Arc<Connections>, remote: &Remote, _: &str) -> Result<Self, Error> {
        Err(Error::NoSsh { url: remote.url.clone() })
    }

    pub(super) fn open(
        &self,
        _: &Arc<Link>,
        _: &Arc<Operation>,
        _: Service,
        _: &'static str,
    ) -> Result<(Box<dyn Transport>, Stream), Error> {
        match *self {}
    }

    pub(super) fn may_call(&self, _: &'static str) -> Result<(), Error> {
        match *self {}
    }
}

pub(super) enum Stream {}

impl Stream {
    pub(super) fn expect_pack(&self) {
        match *self {}
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        match *self {}
    }
}
