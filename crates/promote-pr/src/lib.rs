#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod edit;
pub mod git;
pub mod host;
pub mod names;
pub mod value;

mod content;
mod error;
mod observer;
mod promoter;
mod request;

pub use content::{BodyTemplate, LinkTemplate, MessageTemplate, TemplateError, TitleTemplate};
pub use error::{Call, Error};
pub use git::SshIdentity;
pub use names::{BranchName, CommitId, RepoUrl};
pub use observer::{CacheUse, GitAction, GitOperation, Observer, Quota, Turn};
pub use promoter::{Options, Promoter};
pub use request::{
    Attributes, Credentials, FileChange, GitHubApp, Installation, Key, Links, MergePolicy, Promotion, Request, State,
    Templates, Withdrawn,
};
