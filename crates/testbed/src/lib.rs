#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod bed;
pub mod control_plane;
pub mod flux;
pub mod gitea;
pub mod helm;

pub mod forge;
pub mod git_server;
pub mod github;
pub mod github_schema;
pub mod receiver;
pub mod ssh_server;

pub mod faults;
mod https;
pub mod recorded;
pub mod tcp_proxy;

pub mod ca;
mod folder;
pub mod ports;
pub mod process;
pub mod tools;

pub use bed::{Testbed, VARIABLE, shared};
pub use ca::Ca;
pub use control_plane::ControlPlane;
pub use faults::{Fault, Hold, Rule, When};
pub use forge::Forge;
pub use git_server::{GitServer, RepoHandle};
pub use gitea::Gitea;
pub use github::GitHub;
pub use helm::Helm;
pub use process::Process;
pub use receiver::Receiver;
pub use ssh_server::SshServer;
pub use tcp_proxy::TcpProxy;

/// A short name that nobody else has: letters and digits, fit for names of repositories, users and namespaces.
pub fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:010x}", RandomState::new().hash_one(std::process::id()) >> 24)
}
